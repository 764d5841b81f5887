"""Stores for the suites that hold for every store: over memory, and over a real ZooKeeper."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from poolmgr.store.tree_store import TreeStore
from tests.sites import MemorySite, Site, ZooKeeperSite


@pytest.fixture(params=["memory", "zookeeper"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    made: Site
    if request.param == "memory":
        made = MemorySite()
    else:
        made = ZooKeeperSite(request.getfixturevalue("zookeeper_hosts"))
    yield made
    made.close()


@pytest.fixture
def store(site: Site) -> TreeStore:
    return site.store()


@pytest.fixture
def other(site: Site) -> TreeStore:
    """As another process would have."""
    return site.store()
