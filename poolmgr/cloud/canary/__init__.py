"""Fresh images are tried out before they serve: a server from each, and a command on it."""

from poolmgr.cloud.canary.canary import OpenStackCanary

__all__ = ["OpenStackCanary"]
