"""Metrics on the wire: plain statsd over UDP, related lines batched in datagrams of at most 512 bytes (metrics.md 1).

`Stats` is what the rest of poolmgr sees; `StatsdStats` sends, `NullStats` is for a process without statsd.
Sending never raises and never waits: metrics that cannot be delivered are lost. All methods are thread-safe.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeVar

import statsd

from poolmgr.errors import ConfigError
from poolmgr.observe import names
from poolmgr.observe.api_name import ApiCall
from poolmgr.observe.census import Census
from poolmgr.observe.names import Metric
from poolmgr.runtime.clock import Clock, SystemClock

log = logging.getLogger(__name__)

S = TypeVar("S", bound=Enum)

DEFAULT_PORT = 8125
MAX_DATAGRAM = 512
#: Seconds between attempts to resolve a host name that did not resolve.
RESOLVE_AGAIN = 60.0


class Stats(Protocol):
    """What poolmgr tells statsd. Durations are seconds."""

    def census(self, census: Census) -> None:
        """Gauges of nodes and requests of the whole system; for the leader of the stats election."""

    def max_servers(self, limits: Mapping[str, float | None]) -> None:
        """Per provider of this process the sum over its pools; None or infinity: unlimited, not sent."""

    def provider_orders(self, modes: Mapping[str, int], limits: Mapping[str, float | None]) -> None:
        """Per provider of this process its mode (0 running, 1 paused, 2 draining), and the servers it may have."""

    def reload_failed(self, daemon: str, hostname: str, failed: bool) -> None:
        """Whether the last reading of the configuration of `daemon` (launcher, builder) failed."""

    def tenant_limits(self, limits: Mapping[str, Mapping[str, float | None]]) -> None:
        """Per tenant the configured limits by resource name; None or infinity: unlimited, not sent."""

    def queues(self, hostname: str, lengths: Mapping[str, int]) -> None:
        """Queue lengths by the tail of their name, such as `zk.node_cache.event_queue` (`Store.queues`)."""

    def deferred(self, provider: str, counts: Mapping[tuple[str, str], int]) -> None:
        """How many requests the provider's pools let wait now, by (pool, reason)."""

    def cycle(self, provider: str, seconds: float) -> None:
        """One cycle of the provider's worker took so long."""

    def launch(
        self,
        result: str,
        *,
        provider: str,
        zone: str | None,
        requestor: str | None,
        seconds: float,
        image: str | None = None,
    ) -> None:
        """A launch attempt ended. `result` is `ready` or `error.<cause>` (metrics.md 2.3).

        `seconds` runs from the first step of the first attempt. `zone` is None until the server is active. `image` is
        the disk image or cloud image, by its name in the configuration.
        """

    def leaked(self, provider: str, kind: str, count: int = 1) -> None:
        """`count` leaked resources were removed; `kind` is `instances`, `ports`, `floatingips` or `volumes`."""

    def request_finished(self, outcome: str, seconds: float) -> None:
        """A request ended as `fulfilled` or `failed`, so long after its creation."""

    def static_hosts(self, provider: str, up: Mapping[str, bool]) -> None:
        """Which hosts of a static provider are up, by name."""

    def api_call(self, prefix: str, call: ApiCall) -> None:
        """A call of a cloud's API ended. `prefix` is that of `api_prefix`."""

    def build_ended(
        self, image: str, *, rc: int, seconds: float, at: float, good: bool, sizes: Mapping[str, int]
    ) -> None:
        """A build ended at `at` (epoch seconds); `sizes`: bytes on disk by format, of a good one."""

    def upload_ended(self, image: str, provider: str, *, good: bool, seconds: float, size: int) -> None:
        """An upload ended, its hook and trial included; `size` in bytes."""

    def image_requests(self, pending: Mapping[str, bool]) -> None:
        """By image, whether a manual request waits for its build to begin."""

    def builder_states(
        self, builder: str, builds: Mapping[str, int], uploads: Mapping[tuple[str, str], int]
    ) -> None:
        """This builder's state (0 idle, 1 building, 2 uploading, 3 paused) by image, and by (image, provider)."""

    def builder_work(
        self, builder: str, *, builds: int, uploads: int, build_workers: int, upload_workers: int
    ) -> None:
        """What this builder does now, and how much it could do at once."""

    def image_ages(self, ages: Mapping[tuple[str, str], float]) -> None:
        """Seconds since the newest ready upload became so, by (image, provider)."""

    def image_leaked(self, provider: str, kind: str, count: int = 1) -> None:
        """`count` images (`images`) or staged objects (`objects`) without a record were removed."""

    def close(self) -> None:
        """Send nothing more."""


class NullStats:
    """Tells nobody."""

    def census(self, census: Census) -> None: ...

    def max_servers(self, limits: Mapping[str, float | None]) -> None: ...

    def provider_orders(self, modes: Mapping[str, int], limits: Mapping[str, float | None]) -> None: ...

    def reload_failed(self, daemon: str, hostname: str, failed: bool) -> None: ...

    def tenant_limits(self, limits: Mapping[str, Mapping[str, float | None]]) -> None: ...

    def queues(self, hostname: str, lengths: Mapping[str, int]) -> None: ...

    def deferred(self, provider: str, counts: Mapping[tuple[str, str], int]) -> None: ...

    def cycle(self, provider: str, seconds: float) -> None: ...

    def launch(
        self,
        result: str,
        *,
        provider: str,
        zone: str | None,
        requestor: str | None,
        seconds: float,
        image: str | None = None,
    ) -> None: ...

    def leaked(self, provider: str, kind: str, count: int = 1) -> None: ...

    def request_finished(self, outcome: str, seconds: float) -> None: ...

    def static_hosts(self, provider: str, up: Mapping[str, bool]) -> None: ...

    def api_call(self, prefix: str, call: ApiCall) -> None: ...

    def build_ended(
        self, image: str, *, rc: int, seconds: float, at: float, good: bool, sizes: Mapping[str, int]
    ) -> None: ...

    def upload_ended(self, image: str, provider: str, *, good: bool, seconds: float, size: int) -> None: ...

    def image_requests(self, pending: Mapping[str, bool]) -> None: ...

    def builder_states(
        self, builder: str, builds: Mapping[str, int], uploads: Mapping[tuple[str, str], int]
    ) -> None: ...

    def builder_work(
        self, builder: str, *, builds: int, uploads: int, build_workers: int, upload_workers: int
    ) -> None: ...

    def image_ages(self, ages: Mapping[tuple[str, str], float]) -> None: ...

    def image_leaked(self, provider: str, kind: str, count: int = 1) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Line:
    """One value under one name and type, before it is written."""

    name: str
    type: str
    value: float


class StatsdStats:
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

    def census(self, census: Census) -> None:
        lines = self._by_state(names.NODES, census.nodes)
        for provider, counts in census.provider_nodes.items():
            lines += self._by_state(names.PROVIDER_NODES, counts, provider=provider)
        for label, counts in census.label_nodes.items():
            lines += self._by_state(names.LABEL_NODES, counts, label=label)
        for (provider, pool), count in census.addressable.items():
            lines += self._lines(names.ADDRESSABLE, count, provider=provider, pool=pool)
        lines += self._by_state(names.REQUESTS, census.requests)
        self._send_gauges("census", lines)

    def max_servers(self, limits: Mapping[str, float | None]) -> None:
        lines = []
        for provider, limit in limits.items():
            lines += self._lines(names.MAX_SERVERS, limit, provider=provider)
        self._send_gauges("max_servers", lines)

    def provider_orders(self, modes: Mapping[str, int], limits: Mapping[str, float | None]) -> None:
        lines = []
        for provider, mode in modes.items():
            lines += self._lines(names.PROVIDER_MODE, mode, provider=provider)
        for provider, limit in limits.items():
            lines += self._lines(names.PROVIDER_LIMIT, limit, provider=provider)
        self._send_gauges("provider_orders", lines)

    def reload_failed(self, daemon: str, hostname: str, failed: bool) -> None:
        self._send(self._lines(names.RELOAD_FAILED, int(failed), daemon=daemon, hostname=hostname))

    def tenant_limits(self, limits: Mapping[str, Mapping[str, float | None]]) -> None:
        lines = []
        for tenant, resources in limits.items():
            for resource, limit in resources.items():
                lines += self._lines(names.TENANT_LIMIT, limit, tenant=tenant, resource=resource)
        self._send_gauges("tenant_limits", lines)

    def queues(self, hostname: str, lengths: Mapping[str, int]) -> None:
        lines = []
        for queue, length in lengths.items():
            lines += self._lines(names.QUEUE, length, hostname=hostname, queue=queue)
        self._send(lines)

    def deferred(self, provider: str, counts: Mapping[tuple[str, str], int]) -> None:
        lines = []
        for (pool, reason), count in counts.items():
            lines += self._lines(names.DEFERRED, count, provider=provider, pool=pool, reason=reason)
        self._send_gauges(f"deferred {provider}", lines)

    def cycle(self, provider: str, seconds: float) -> None:
        self._send(self._lines(names.CYCLE, seconds, provider=provider))

    def launch(
        self,
        result: str,
        *,
        provider: str,
        zone: str | None,
        requestor: str | None,
        seconds: float,
        image: str | None = None,
    ) -> None:
        lines = self._lines(names.LAUNCH, seconds, result=result)
        lines += self._lines(names.LAUNCH_PROVIDER, seconds, provider=provider, result=result)
        if zone:
            lines += self._lines(names.LAUNCH_ZONE, seconds, provider=provider, zone=zone, result=result)
        if requestor:
            lines += self._lines(names.LAUNCH_REQUESTOR, seconds, requestor=requestor, result=result)
        if image:
            lines += self._lines(names.LAUNCH_IMAGE, seconds, image=image, result=result)
        self._send(lines)

    def leaked(self, provider: str, kind: str, count: int = 1) -> None:
        self._send(self._lines(names.LEAKED, count, provider=provider, kind=kind))

    def request_finished(self, outcome: str, seconds: float) -> None:
        self._send(self._lines(names.REQUEST_FINISHED, seconds, outcome=outcome))

    def static_hosts(self, provider: str, up: Mapping[str, bool]) -> None:
        down = sum(not each for each in up.values())
        lines = self._lines(names.HOSTS_DOWN, down, provider=provider)
        for host, is_up in up.items():
            lines += self._lines(names.HOST_DOWN, 0 if is_up else 1, provider=provider, host=host)
        self._send_gauges(f"hosts {provider}", lines)

    def api_call(self, prefix: str, call: ApiCall) -> None:
        parts = {
            "prefix": prefix,
            "service": call.service.replace(".", "_"),
            "method": call.method.upper(),
            "call": call.name,
        }
        lines = self._lines(names.API_ATTEMPTED, 1, **parts)
        if call.status is None:
            lines += self._lines(names.API_FAILED, 1, **parts)
        else:
            lines += self._lines(names.API_STATUS, call.seconds, status=str(call.status), **parts)
            if call.seconds > 1.0:
                lines += self._lines(names.API_SLOW, 1, **parts)
        self._send(lines)

    def build_ended(
        self, image: str, *, rc: int, seconds: float, at: float, good: bool, sizes: Mapping[str, int]
    ) -> None:
        lines = self._lines(names.BUILD_RC, rc, image=image)
        lines += self._lines(names.BUILD_DURATION, seconds, image=image)
        lines += self._lines(names.BUILD_LAST, int(at), image=image)
        if good:
            lines += self._lines(names.BUILD_LAST_GOOD, int(at), image=image)
        for image_format, size in sizes.items():
            lines += self._lines(names.BUILD_SIZE, size, image=image, format=image_format)
        self._send(lines)

    def upload_ended(self, image: str, provider: str, *, good: bool, seconds: float, size: int) -> None:
        metric = names.IMAGE_UPDATE if good else names.UPLOAD_FAILED
        lines = self._lines(metric, seconds, image=image, provider=provider)
        if good:
            lines += self._lines(names.UPLOAD_SIZE, size, image=image, provider=provider)
        self._send(lines)

    def image_requests(self, pending: Mapping[str, bool]) -> None:
        lines = self._lines(names.BUILD_REQUESTS, sum(pending.values()))
        for image, waits in pending.items():
            lines += self._lines(names.IMAGE_BUILD_REQUESTS, int(waits), image=image)
        self._send_gauges("image_requests", lines)

    def builder_states(
        self, builder: str, builds: Mapping[str, int], uploads: Mapping[tuple[str, str], int]
    ) -> None:
        lines = []
        for image, state in builds.items():
            lines += self._lines(names.BUILD_STATE, state, builder=builder, image=image)
        for (image, provider), state in uploads.items():
            lines += self._lines(names.UPLOAD_STATE, state, builder=builder, image=image, provider=provider)
        self._send_gauges(f"builder_states {builder}", lines)

    def builder_work(
        self, builder: str, *, builds: int, uploads: int, build_workers: int, upload_workers: int
    ) -> None:
        lines = self._lines(names.BUILDER_BUILDS, builds, builder=builder)
        lines += self._lines(names.BUILDER_UPLOADS, uploads, builder=builder)
        lines += self._lines(names.BUILDER_BUILD_WORKERS, build_workers, builder=builder)
        lines += self._lines(names.BUILDER_UPLOAD_WORKERS, upload_workers, builder=builder)
        self._send(lines)

    def image_ages(self, ages: Mapping[tuple[str, str], float]) -> None:
        lines = []
        for (image, provider), age in ages.items():
            lines += self._lines(names.UPLOAD_AGE, int(age), image=image, provider=provider)
        self._send_gauges("image_ages", lines)

    def image_leaked(self, provider: str, kind: str, count: int = 1) -> None:
        self._send(self._lines(names.IMAGE_LEAKED, count, provider=provider, kind=kind))

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._client is not None:
                self._client.close()
            self._client = None

    def _by_state(self, metric: Metric, counts: Mapping[S, int], **parts: str) -> list[_Line]:
        lines = []
        for state, count in counts.items():
            lines += self._lines(metric, count, state=state.value, **parts)
        return lines

    def _lines(self, metric: Metric, value: float | None, **parts: str) -> list[_Line]:
        """One line for each type of `metric`. `value` is seconds where it is a timer; no line for no number."""
        if value is None or not math.isfinite(value):
            return []
        name = metric.name(escape_all=self._escape_all, **parts)
        counted = 1.0 if "ms" in metric.types else value
        return [_Line(name, t, round(value * 1000) if t == "ms" else counted) for t in metric.types]

    def _send_gauges(self, group: str, lines: list[_Line]) -> None:
        """Send all of a group's gauges; what was among them last time and is not now gets a last zero."""
        present = frozenset(line.name for line in lines)
        with self._lock:
            gone = self._last.get(group, frozenset()) - present
            self._last[group] = present
        self._send([*lines, *(_Line(name, "g", 0) for name in sorted(gone))])

    def _send(self, lines: Iterable[_Line]) -> None:
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


def stats_from(environ: Mapping[str, str], *, escape_all: bool = False, clock: Clock | None = None) -> Stats:
    """The sender that STATSD_HOST and STATSD_PORT in `environ` ask for; `NullStats` when neither is set.

    Raises ConfigError when the port is not a number.
    """
    host, port = environ.get("STATSD_HOST"), environ.get("STATSD_PORT")
    if not host and not port:
        return NullStats()
    with suppress(ValueError):
        number = int(port or DEFAULT_PORT)
        if 0 < number < 65536:
            return StatsdStats(host or "localhost", number, escape_all=escape_all, clock=clock)
    raise ConfigError(f"STATSD_PORT must be a port number, not {port!r}")
