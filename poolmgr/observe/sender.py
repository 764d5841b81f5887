"""Metrics on the wire: plain statsd over UDP, related lines batched in datagrams of at most 512 bytes (metrics.md 1).

Metrics that cannot be delivered are lost.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import statsd

from poolmgr.observe.sample import Sample
from poolmgr.runtime.clock import Clock, SystemClock

log = logging.getLogger(__name__)

DEFAULT_PORT = 8125
MAX_DATAGRAM = 512
#: Seconds between attempts to resolve a host name that did not resolve.
RESOLVE_AGAIN = 60.0


class _Line(NamedTuple):
    """One value under one name and type, before it is written."""

    name: str
    type: str
    value: float


class StatsdSink:
    """Sends to a statsd server. With `escape_all`, dots in values that fill names become `_` (names.py)."""

    def __init__(
        self,
        host: str = "localhost",
        port: int = DEFAULT_PORT,
        *,
        escape_all: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._escape_all = escape_all
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()  # of all below
        self._client: statsd.StatsClient | None = None
        self._resolve_at = -math.inf  # monotonic; not before
        self._closed = False
        self._last: dict[str, frozenset[str]] = {}  # by group of gauges, the names sent last

    def take(self, samples: Sequence[Sample]) -> None:
        self._send(self._lines(samples))

    def take_group(self, group: str, samples: Sequence[Sample]) -> None:
        """What was among them last time and is not now gets a last zero: statsd would keep its value for ever."""
        lines = self._lines(samples)
        present = frozenset(line.name for line in lines)
        with self._lock:
            gone = self._last.get(group, frozenset()) - present
            self._last[group] = present
        self._send([*lines, *(_Line(name, "g", 0) for name in sorted(gone))])

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._client is not None:
                self._client.close()
            self._client = None

    def _lines(self, samples: Iterable[Sample]) -> list[_Line]:
        """One line for each type of a sample's metric."""
        lines = []
        for metric, values, value in samples:
            parts = dict(zip(metric.parts, values, strict=True))
            name = metric.name(escape_all=self._escape_all, **parts)
            counted = 1.0 if "ms" in metric.types else value
            lines += [_Line(name, t, round(value * 1000) if t == "ms" else counted) for t in metric.types]
        return lines

    def _send(self, lines: Sequence[_Line]) -> None:
        with self._lock:
            client = self._connected()
            if client is None:
                return
            # The lock is held while sending, which never blocks for long on UDP: close() must not come between.
            with client.pipeline() as pipe:
                for line in lines:
                    _write(pipe, line)

    def _connected(self) -> statsd.StatsClient | None:
        """The client, which exists as soon as the host's name has been resolved once."""
        if self._client is not None or self._closed or self._clock.monotonic() < self._resolve_at:
            return self._client
        try:
            self._client = statsd.StatsClient(self._host, self._port, maxudpsize=MAX_DATAGRAM)
        except (OSError, UnicodeError) as error:
            self._resolve_at = self._clock.monotonic() + RESOLVE_AGAIN
            log.warning(
                "No metrics for now: cannot find the statsd server %s:%s: %s", self._host, self._port, error
            )
        return self._client


def _write(client: statsd.StatsClient, line: _Line) -> None:
    value = int(line.value) if float(line.value).is_integer() else line.value
    match line.type:
        case "g":
            client.gauge(line.name, value)
        case "c":
            client.incr(line.name, value)
        case "ms":
            client.timing(line.name, value)
