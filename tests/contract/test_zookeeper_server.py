"""A private ZooKeeper comes up, keeps its data and its port, and says why when it cannot."""

from __future__ import annotations

import socket

import pytest

from poolmgr.errors import ProcessFailed
from poolmgr.model.node import Node
from poolmgr.runtime.zookeeper_server import ZooKeeperServer
from poolmgr.store.zookeeper import ZooKeeperStore


def test_it_keeps_port_and_data_over_a_restart_and_a_crash(tmp_path):
    server = ZooKeeperServer(tmp_path / "zookeeper")
    server.start()
    server.start()
    hosts = server.hosts
    store = ZooKeeperStore(hosts)
    store.start()
    _, node = store.create_node(Node(provider="north"))
    store.close()
    for end in (server.stop, server.kill):
        end()
        end()
        assert not server.running
        server.start()
        assert server.hosts == hosts
        again = ZooKeeperStore(hosts)
        again.start()
        assert again.read_node(node.id) == node
        again.close()
    server.stop()


def test_it_says_why_it_does_not_come_up(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = ZooKeeperServer(tmp_path / "zookeeper")
        server.port = taken.getsockname()[1]
        with pytest.raises(ProcessFailed, match="BindException"):
            server.start()
    assert not server.running
