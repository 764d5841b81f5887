"""What is said when there is no ZooKeeper to start."""

from __future__ import annotations

import pytest

from poolmgr.errors import ConfigError
from poolmgr.runtime import zookeeper_server
from poolmgr.runtime.zookeeper_server import ServerTls, ZooKeeperServer


def test_missing_jars_are_named_with_the_package_that_has_them(tmp_path):
    with pytest.raises(ConfigError, match=r"zookeeper\.jar.*apt-get install zookeeper"):
        ZooKeeperServer(tmp_path / "data", jars=tmp_path).start()
    assert not (tmp_path / "data").exists()


def test_tls_needs_more_jars(tmp_path):
    (tmp_path / "zookeeper.jar").touch()
    tls = ServerTls(key_and_cert=tmp_path / "x", ca=tmp_path / "y")
    with pytest.raises(ConfigError, match=r"netty-codec\.jar"):
        ZooKeeperServer(tmp_path / "data", jars=tmp_path, tls=tls).start()


def test_missing_java_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(zookeeper_server.shutil, "which", lambda _name: None)
    with pytest.raises(ConfigError, match="default-jre-headless"):
        ZooKeeperServer(tmp_path).start()


def test_stopping_what_does_not_run_is_fine(tmp_path):
    server = ZooKeeperServer(tmp_path)
    server.stop()
    server.kill()
    assert not server.running
