"""Keys that files of earlier releases still hold, and what happens to each (`spec/config.md` section 11).

A key is only warned about when leaving it out changes nothing that runs today; where dropping it in silence
could upload, launch or leave out something unwanted, it is refused with what to write instead.
"""

from __future__ import annotations

from poolmgr.config.shape import OldKey


def _ignored(advice: str) -> OldKey:
    return OldKey(advice=f"ignored: {advice}")


def _refused(advice: str) -> OldKey:
    return OldKey(advice=advice, refused=True)


_VERSION_2 = "it belongs to Nodepool 2 and has no successor here"

TOP_LEVEL = {
    "targets": _refused(f"{_VERSION_2}: requests name the labels they want; remove it"),
    "jenkins": _refused(f"{_VERSION_2}: nodes are not registered with Jenkins; remove it"),
    "cron": _refused(
        f"{_VERSION_2}: 'rebuild-age' and 'rebuild-cron' of a disk image say when it is built; remove it"
    ),
    "script-dir": _refused(f"{_VERSION_2}: set nodes up in the elements of a disk image; remove it"),
    "dburi": _refused(f"{_VERSION_2}: all state is in ZooKeeper; remove it"),
    "gearman-servers": _refused(f"{_VERSION_2}: requests come through ZooKeeper; remove it"),
    "zmq-publishers": _refused(f"{_VERSION_2}: requests come through ZooKeeper; remove it"),
    "worker-map-ttl": _refused(f"{_VERSION_2}: nodes are owned by request, not by worker; remove it"),
}

_NODESETS = "node sets were before version 3"

LABEL = {
    "image": _refused(
        f"{_NODESETS}: name the image in the label of each pool (providers[].pools[].labels[])"
    ),
    "providers": _refused(f"{_NODESETS}: list the label in the pools of those providers"),
    "subnodes": _refused(f"{_NODESETS}: a request names every node it wants"),
    "ready-script": _refused(f"{_NODESETS}: set nodes up in the elements of the disk image"),
}

_SSH_SETUP = "nodes are not logged in to when they are made; set them up in the disk image"

IMAGE = {
    "private-key": _ignored(_SSH_SETUP),
    "user-home": _ignored(_SSH_SETUP),
    "setup": _ignored(_SSH_SETUP),
    "reset": _ignored(_SSH_SETUP),
    "base-image": _refused("snapshot images are gone: build a disk image, or list the image in cloud-images"),
    "snapshot-image": _refused("snapshot images are gone: build a disk image, or list it in cloud-images"),
}

_CREDENTIALS = "credentials are in clouds.yaml: move it there and name that cloud in 'cloud'"
_IN_POOL = "it belongs into the provider's pools[]"
_ADDRESSES = "which address is used is set in clouds.yaml (networks, force_ipv4)"

OPENSTACK_PROVIDER = {
    "nodepool-id": _ignored("servers are told apart by provider and node id"),
    "hostname-format": _ignored("a server's host name comes from its node"),
    "image-type": _refused("the upload format is 'image_format' of the cloud in clouds.yaml"),
    "keypair": _refused("write it as 'key-name' into the labels of the pools"),
    "images": _refused("it is 'diskimages' now"),
    "max-servers": _refused(_IN_POOL),
    "availability-zones": _refused(_IN_POOL),
    "networks": _refused(_IN_POOL),
    "labels": _refused(_IN_POOL),
    "ipv6-preferred": _ignored(_ADDRESSES),
    "template-hostname": _ignored("there are no template servers any more"),
    "subnode-hostname": _ignored("there are no subnodes any more"),
    "use-floating-ip": _ignored("'auto-floating-ip' of a pool decides"),
    "api-timeout": _ignored("it is 'api_timeout' of the cloud in clouds.yaml"),
    "username": _refused(_CREDENTIALS),
    "password": _refused(_CREDENTIALS),
    "auth-url": _refused(_CREDENTIALS),
    "project-id": _refused(_CREDENTIALS),
    "project-name": _refused(_CREDENTIALS),
    "service-type": _refused(_CREDENTIALS),
    "service-name": _refused(_CREDENTIALS),
}

POOL_LABEL = {"name-filter": _refused("it is 'flavor-name' now")}

STATIC_NODE = {"ssh-port": OldKey(advice="write 'connection-port'", becomes="connection-port")}

NETWORK_MAP_KEYS = frozenset({"name", "net-id", "net-label", "public"})  # of an entry in `networks`
