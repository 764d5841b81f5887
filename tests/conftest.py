"""Fixtures for all tests."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.zookeeper import running_server


@pytest.fixture(scope="session")
def zookeeper_server() -> Iterator[str]:
    """`host:port` of a real ZooKeeper server, one for each test process."""
    with running_server() as address:
        yield address


@pytest.fixture
def zookeeper_hosts(zookeeper_server: str) -> str:
    """A connection string with a chroot that only this test uses; it does not exist yet."""
    return f"{zookeeper_server}/{uuid.uuid4().hex}"
