"""The real store, as the configuration names it."""

from __future__ import annotations

from poolmgr.config.settings import Settings
from poolmgr.store.api import Store
from poolmgr.store.zookeeper import TlsFiles, ZooKeeperStore


def open_store(settings: Settings) -> Store:
    """The store that `settings` name, not started yet."""
    zookeeper = settings.zookeeper
    tls = zookeeper.tls
    return ZooKeeperStore(
        zookeeper.hosts,
        timeout=zookeeper.timeout,
        tls=TlsFiles(cert=tls.cert, key=tls.key, ca=tls.ca) if tls else None,
    )
