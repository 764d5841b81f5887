"""A site that is broken on purpose: real launchers, real ZooKeeper servers, pretend clouds. See `tools/chaos`."""
