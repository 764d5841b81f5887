"""A whole site broken on purpose, by two short plans with most kinds of faults; and the wires it hangs on."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress

import pytest

from tests.chaos.place import Place, site_plan
from tests.chaos.plan import Fault, make_plan
from tests.chaos.proxy import Loop, Proxy, Wire
from tests.chaos.run import Run

pytestmark = pytest.mark.integration

PROCESSES = frozenset(
    {
        Fault.KILL, Fault.RESTART, Fault.FREEZE, Fault.CLOCK, Fault.CLOCK_BACK, Fault.LOG_FULL, Fault.RELOAD,
        Fault.BAD_FILE, Fault.ROLLING,
    }
)  # fmt: skip
#: Time for most kinds of faults once.
SECONDS = 45.0


@pytest.mark.parametrize(("seed", "faults"), [(1, PROCESSES), (1, frozenset(Fault) - PROCESSES)])
def test_every_promise_is_kept(tmp_path, seed, faults):
    place = Place(tmp_path, site_plan(5, seed), 3, 3)
    plan = make_plan(
        seed,
        seconds=SECONDS,
        launchers=[f"launcher{n}" for n in (1, 2, 3)],
        zookeepers=[f"zookeeper{n}" for n in (1, 2, 3)],
        clouds=[cloud.name for cloud in place.plan.clouds],
        faults=faults,
        pause=2.0,
    )
    run = Run(place, plan, SECONDS, seed, 3.0, 20, print)
    try:
        run.go()
    finally:
        place.stop()
    summary = run.summary()
    assert summary["violations"] == [], json.dumps(summary, indent=1)
    assert summary["requests"]["fulfilled"] >= 10
    assert len(summary["faults"]) >= 5


class Echo:
    """A server that says back what it is told."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection):
        with connection, suppress(ConnectionError):
            while data := connection.recv(100):
                connection.sendall(data)

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def wire():
    echo, loop = Echo(), Loop()
    proxy = Proxy(loop, echo.port)
    yield proxy
    proxy.close()
    loop.close()
    echo.close()


def ask(connection, words=b"hello", within=5.0):
    connection.settimeout(within)
    connection.sendall(words)
    return connection.recv(100)


def connect(proxy):
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=5.0)


def test_a_whole_wire_carries_both_ways_and_remembers_the_first_answer(wire):
    with connect(wire) as connection:
        assert ask(connection) == b"hello"
        assert wire.connected
    assert wire.greeting == b"hello"


def test_a_cut_wire_breaks_and_takes_nobody_until_it_is_whole_again(wire):
    with connect(wire) as connection:
        ask(connection)
        wire.set(Wire.CUT)
        with pytest.raises(ConnectionError):
            ask(connection)
    with pytest.raises(ConnectionError), connect(wire) as connection:
        ask(connection)
    wire.set(Wire.WHOLE)
    with connect(wire) as connection:
        assert ask(connection) == b"hello"


def test_a_stalled_wire_keeps_what_it_is_told_for_later(wire):
    with connect(wire) as connection:
        wire.set(Wire.STALLED)
        with pytest.raises(TimeoutError):
            ask(connection, within=0.3)
        wire.set(Wire.WHOLE)
        connection.settimeout(5.0)
        assert connection.recv(100) == b"hello"


def test_a_reset_breaks_what_there_is_and_nothing_else(wire):
    with connect(wire) as connection:
        ask(connection)
        wire.reset()
        with pytest.raises(ConnectionError):
            ask(connection)
    with connect(wire) as connection:
        assert ask(connection) == b"hello"
