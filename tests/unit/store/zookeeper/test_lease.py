"""Until when a session is proven to have lived."""

from __future__ import annotations

from kazoo.protocol.connection import PING_XID

from poolmgr.store.zookeeper.client import Lease
from tests.fakes import FakeClock


def test_what_counts_is_when_it_was_sent_that_was_answered():
    clock = FakeClock()
    lease = Lease(clock, 10.0)
    lease.granted(4.0, asked_at=0.0)
    assert (lease.timeout, lease.proven_at) == (4.0, 0.0)
    clock.advance(1.0)
    lease.asking(5)
    clock.advance(1.0)
    lease.asking(9)  # the first is not answered yet
    clock.advance(60.0)  # the process stood still; the answers have waited meanwhile
    lease.answered(4)
    assert lease.proven_at == 0.0
    lease.answered(5)
    lease.answered(9)
    assert lease.proven_at == 1.0
    lease.asking(10)
    lease.answered(10)
    assert lease.proven_at == 62.0


def test_a_ping_proves_as_much_as_a_request_and_a_watch_nothing():
    clock = FakeClock()
    lease = Lease(clock, 10.0)
    lease.granted(10.0, asked_at=0.0)
    clock.advance(3.0)
    lease.answered(-1)
    assert lease.proven_at == 0.0
    lease.pinging()
    clock.advance(1.0)
    lease.asking(1)
    lease.answered(1)
    assert lease.proven_at == 4.0
    lease.answered(PING_XID)  # older news
    assert lease.proven_at == 4.0
    lease.pinging()
    clock.advance(1.0)
    lease.answered(PING_XID)
    assert lease.proven_at == 4.0
    lease.pinging()
    lease.answered(PING_XID)
    assert lease.proven_at == 5.0


def test_what_an_old_connection_was_asked_proves_nothing():
    clock = FakeClock()
    lease = Lease(clock, 10.0)
    lease.asking(7)
    lease.pinging()
    clock.advance(5.0)
    lease.granted(10.0, asked_at=4.0)
    lease.answered(7)
    lease.answered(PING_XID)
    assert lease.proven_at == 4.0
