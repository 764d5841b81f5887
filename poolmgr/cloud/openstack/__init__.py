"""The OpenStack layer: `poolmgr.cloud.api.Cloud` on keystoneauth1 and requests (cloud.md)."""

from poolmgr.cloud.openstack.cloud import OpenStackCloud

__all__ = ["OpenStackCloud"]
