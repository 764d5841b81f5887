"""Where a daemon's web server listens, and what becomes of a port that is taken."""

import socket

import pytest

from poolmgr.config.settings import Settings, WebApp
from poolmgr.errors import ConfigError
from poolmgr.observe.board import Board
from poolmgr.runtime.clock import SystemClock
from poolmgr.store.memory import MemoryStore, MemoryTree
from poolmgr.wiring.web import DaemonSource, serve_web
from tests.zookeeper import free_port


def source():
    return DaemonSource(
        store=MemoryStore(MemoryTree()),
        settings_in_force=lambda: Settings(images_dir="/images", build_log_dir="/logs"),
        ready=lambda: None,
        live=lambda: None,
        board=Board(),
        builds=True,
    )


def serve(shown, port, *, address="127.0.0.1", needed=True):
    place = WebApp(port=port, listen_address=address)
    return serve_web(
        shown, SystemClock(), place, fqdn="host.example.org", setting="builder-webapp", needed=needed
    )


@pytest.mark.parametrize(("address", "host"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "host.example.org")])
def test_its_url_names_a_host_that_others_can_ask(address, host):
    shown, port = source(), free_port()
    server = serve(shown, port, address=address)
    assert shown.url == f"http://{host}:{port}"
    assert server.stop(10.0)


def test_a_port_that_is_taken_ends_the_daemon_only_where_it_was_asked_for(caplog):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port, shown = other.getsockname()[1], source()
        with pytest.raises(ConfigError, match="`builder-webapp` in the configuration"):
            serve(shown, port)
        assert serve(shown, port, needed=False) is None
    assert shown.url is None
    assert "Going on without web server" in caplog.text
