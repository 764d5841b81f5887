"""Every path in a ZooKeeper tree, read with a connection of its own: for the demo and for tests."""

from __future__ import annotations

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NoNodeError
from kazoo.handlers.threading import KazooTimeoutError

from poolmgr.errors import StoreUnavailable


def all_paths(hosts: str, *, timeout: float = 10.0) -> list[str]:
    """All paths below the chroot of `hosts` (plaintext), sorted. Raises StoreUnavailable."""
    client = KazooClient(hosts)
    try:
        client.start(timeout)
        return sorted(_below(client, ""))
    except (KazooException, KazooTimeoutError) as error:
        raise StoreUnavailable(f"ZooKeeper at {hosts}: {error}") from error
    finally:
        client.stop()
        client.close()


def _below(client: KazooClient, path: str) -> list[str]:
    try:
        names = client.get_children(path or "/")
    except NoNodeError:  # gone since its parent was listed
        return []
    children = [f"{path}/{name}" for name in names]
    return children + [found for child in children for found in _below(client, child)]
