"""What stands in for agents and hardware in the local OpenStack; every other line of its services is stock."""
