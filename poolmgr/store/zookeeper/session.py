"""A client's session with ZooKeeper: a `tree.Session` over kazoo.

Threads. kazoo's own reads the socket; it only numbers what arrives and passes it on, and never waits for
anything of ours. One thread works through that sequence (`zookeeper-cache`); one makes everything current
again after each new connection (`zookeeper-restore`) and may make blocking calls. Callers' threads wait for
their own answers only.
"""

from __future__ import annotations

import itertools
import logging
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from kazoo.exceptions import KazooException
from kazoo.protocol.states import KazooState

from poolmgr.errors import StoreError, StoreUnavailable
from poolmgr.runtime.clock import Clock
from poolmgr.runtime.executor import ThreadExecutor
from poolmgr.store.tree import (
    Answer,
    Children,
    EventKind,
    Get,
    Listener,
    OnChildren,
    OnData,
    Queued,
    Refused,
    Stat,
    Write,
)
from poolmgr.store.zookeeper import wire
from poolmgr.store.zookeeper.client import AddWatch, Client
from poolmgr.store.zookeeper.sockets import Handler

log = logging.getLogger(__name__)

_EVENTS = {kind.value: kind for kind in EventKind}
#: Items of the sequence worked through before those who listen are told.
_BURST = 256
#: Seconds between attempts to make everything current over a connection that stands.
_RETRY = 1.0

Item = Callable[[], None]


class ZooKeeperSession:
    """`timeout` is the session's, in seconds."""

    def __init__(self, hosts: str, *, timeout: float, handler: Handler, clock: Clock) -> None:
        self.up = False
        self.connection = 0
        self.writes = 0
        self._client = Client(
            hosts,
            timeout=timeout,
            handler=handler,
            clock=clock,
            on_event=self._on_event,
            on_state=self._on_state,
        )
        self._chroot: str = self._client.chroot
        self._clock = clock
        # An answer may take as long as it takes to find out that the connection is gone.
        self._patience = 2 * timeout
        self._counting = threading.Lock()
        self._places = itertools.count()
        self._sequence: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._listener: Listener | None = None
        self._closing = threading.Event()
        self._threads = [ThreadExecutor("zookeeper-cache", 1), ThreadExecutor("zookeeper-restore", 1)]

    # Life

    def open(self, listener: Listener) -> None:
        """Connect, and go on trying to; returns at once."""
        self._listener = listener
        self._threads[0].submit(self._work)
        self._client.start_async()

    def close(self) -> None:
        """Never raises; may take some seconds while there is no connection."""
        if self._closing.is_set():
            return
        self._closing.set()
        try:
            self._client.stop()
            self._client.close()
        except Exception as error:  # kazoo raises plain ones here; there is nothing more to do with it
            log.warning("closing the connection to ZooKeeper: %s", error)
        self.up = False
        self._sequence.put(None)
        for thread in self._threads:
            thread.stop()

    def set_hosts(self, hosts: str) -> None:
        """Use these servers from the next connection on. Raises ValueError if the chroot is another one."""
        try:
            self._client.set_hosts(hosts)
        except KazooException as error:
            raise ValueError(str(error)) from error

    @property
    def trouble(self) -> str:
        """What kazoo said last about why there is no connection; "" if nothing."""
        return self._client.journal.last

    # tree.Session

    @property
    def timeout(self) -> float:
        return self._client.lease.timeout

    @property
    def proven_at(self) -> float:
        return self._client.lease.proven_at

    @property
    def id(self) -> int:
        return self._client.session_id

    def queues(self) -> Queued:
        return Queued(requests=self._client.queued, told=self._sequence.qsize())

    def place(self) -> int:
        return next(self._places)

    def commit(self, write: Write, *reads: Get | Children) -> list[Answer]:
        self._require()
        with self._counting:
            self.writes += 1
        self.listener.begin(write)
        done = wire.WriteReply(write, self._reached, self._chroot)
        self._client.submit(wire.transaction(write.operations, self._chroot), done)
        answers = [self._submit(wire.reading(read, self._chroot)) for read in reads]
        with suppress(KazooException):  # `write.error` says the same in our words
            done.wait(self._patience)
        self.listener.settle(write)
        if write.error is not None:
            raise write.error
        return [self._answer(read, reply) for read, reply in zip(reads, answers, strict=True)]

    def get(self, path: str) -> tuple[bytes, Stat]:
        answer = self._ask(Get(path))
        assert isinstance(answer, tuple)
        return answer

    def children(self, path: str) -> list[str]:
        answer = self._ask(Children(path))
        assert isinstance(answer, list)
        return answer

    def fetch(self, path: str, then: OnData) -> None:
        self._require()

        def arrived(value: Any) -> None:
            found = None if value is None else wire.data_of(value)
            place = next(self._places)
            self._sequence.put(lambda: then(place, found))

        self._client.submit(wire.reading(Get(path), self._chroot), wire.ReadReply(arrived))

    def fetch_children(self, path: str, then: OnChildren) -> None:
        self._require()

        def arrived(value: Any) -> None:
            place = next(self._places)
            self._sequence.put(lambda: then(place, value))

        self._client.submit(wire.reading(Children(path), self._chroot), wire.ReadReply(arrived))

    def watch(self, path: str) -> None:
        self._require()
        self._raw(AddWatch(self._chroot + path))

    # What kazoo's thread tells

    def _on_event(self, kind: int, path: str) -> None:
        event = _EVENTS.get(kind)
        if event is not None:
            place, below = next(self._places), path[len(self._chroot) :]
            self._sequence.put(lambda: self.listener.event(place, event, below))

    def _reached(self, write: Write) -> None:
        write.place = next(self._places)
        self._sequence.put(lambda: self.listener.reached(write))

    def _on_state(self, state: str) -> None:
        self.up = state == KazooState.CONNECTED
        self.connection += 1
        connection = self.connection
        if self._closing.is_set():
            return
        if self.up:
            log.info("connected to ZooKeeper, session %#x", self.id)
            self._threads[1].submit(lambda: self._restore(connection))
            return
        self.listener.suspended()
        if state == KazooState.LOST:
            log.warning("the session with ZooKeeper is lost")
            self.listener.lost()
        else:
            log.warning("the connection to ZooKeeper is broken: %s", self.trouble)
        self._sequence.put(lambda: self.listener.disconnected(connection))

    # Our threads

    def _work(self) -> None:
        while True:
            items = [self._sequence.get()]
            with suppress(queue.Empty):
                while len(items) < _BURST:
                    items.append(self._sequence.get_nowait())
            for item in items:
                if item is None:
                    return
                self._run(item)
            self._run(self.listener.flush)

    def _run(self, item: Item) -> None:
        try:
            item()
        except Exception:  # a bug about one znode must not end the cache
            log.exception("cannot apply what ZooKeeper sent")

    def _restore(self, connection: int) -> None:
        while self._stands(connection) and not self._closing.is_set():
            try:
                self._make_chroot()
                self.listener.restore()
            except StoreError as error:
                if self._stands(connection):
                    log.warning("cannot read the store, trying again: %s", error)
            except Exception:  # a bug must not leave us without a snapshot for ever
                log.exception("cannot read the store, trying again")
            else:
                self._sequence.put(self.listener.flush)
                return
            self._clock.wait(self._closing, _RETRY)

    def _stands(self, connection: int) -> bool:
        return self.up and self.connection == connection

    def _make_chroot(self) -> None:
        """As every client of a tree does when it is the first there."""
        if not self._chroot or self._raw(wire.exists(self._chroot)):
            return
        path = ""
        for name in self._chroot.strip("/").split("/"):
            path = f"{path}/{name}"
            with suppress(Refused):
                self._raw(wire.create(path))

    # Requests and answers

    @property
    def listener(self) -> Listener:
        assert self._listener is not None
        return self._listener

    def _require(self) -> None:
        if not self.up:
            raise StoreUnavailable("there is no connection to ZooKeeper")

    def _submit(self, request: Any) -> wire.Reply:
        reply = wire.Reply()
        self._client.submit(request, reply)
        return reply

    def _raw(self, request: Any) -> Any:
        """The answer, as kazoo has it, to a request with its path complete. Raises Refused."""
        try:
            return self._submit(request).wait(self._patience)
        except KazooException as error:
            raise wire.translated(error, request.path, 0) from error

    def _ask(self, read: Get | Children) -> Answer:
        self._require()
        answer = self._answer(read, self._submit(wire.reading(read, self._chroot)))
        if isinstance(answer, Refused):
            raise answer
        return answer

    def _answer(self, read: Get | Children, reply: wire.Reply) -> Answer:
        try:
            value = reply.wait(self._patience)
        except KazooException as error:
            ours = wire.translated(error, read.path, 0)
            if isinstance(ours, Refused):
                return ours
            raise ours from error
        return wire.data_of(value) if isinstance(read, Get) else list(value)
