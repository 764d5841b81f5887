"""The store on ZooKeeper 3.6 or newer, over kazoo."""

from poolmgr.store.zookeeper.sockets import TlsFiles
from poolmgr.store.zookeeper.store import ZooKeeperStore

__all__ = ["TlsFiles", "ZooKeeperStore"]
