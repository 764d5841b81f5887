"""What poolmgr tells about itself as numbers, whoever listens.

`Stats` is what the rest of poolmgr sees. `Recorder` makes samples of it by the table of names, for those who send or
show them: to a statsd server (`sender`), on the page for Prometheus (`board`). `NullStats` is for who tells nobody. No
method raises or waits; all are thread-safe.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import Enum
from typing import Protocol, TypeVar

from poolmgr.errors import ConfigError
from poolmgr.observe import names
from poolmgr.observe.api_name import ApiCall
from poolmgr.observe.census import Census, FleetFacts
from poolmgr.observe.names import Metric
from poolmgr.observe.sample import Sample, Sink
from poolmgr.observe.sender import DEFAULT_PORT, StatsdSink
from poolmgr.runtime.clock import Clock

S = TypeVar("S", bound=Enum)


class Stats(Protocol):
    """What poolmgr tells. Durations are seconds."""

    def census(self, census: Census) -> None:
        """Gauges of nodes and requests of the whole system; for the leader of the stats election."""

    def fleet(self, facts: FleetFacts) -> None:
        """What launchers agree on, and what all nodes use; for the leader of the stats election."""

    def pool_limits(self, limits: Mapping[tuple[str, str], Mapping[str, float | None]]) -> None:
        """By (provider, pool) of this process the configured limits by resource; None or infinity: not sent."""

    def quota(self, provider: str, limits: Mapping[str, float]) -> None:
        """What the cloud allows the provider's project, by resource."""

    def pools_paused(self, provider: str, why: Mapping[str, str]) -> None:
        """Why pools of the provider take nothing now, by the pool; those that are open are left out."""

    def listed(self, provider: str, at: float) -> None:
        """The cloud gave a complete list of its servers at `at` (epoch seconds)."""

    def configuration(self, daemon: str, hostname: str, digest: str) -> None:
        """Which files are in force: `digest` is the same for the same text."""

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

    def fleet(self, facts: FleetFacts) -> None: ...

    def pool_limits(self, limits: Mapping[tuple[str, str], Mapping[str, float | None]]) -> None: ...

    def quota(self, provider: str, limits: Mapping[str, float]) -> None: ...

    def pools_paused(self, provider: str, why: Mapping[str, str]) -> None: ...

    def listed(self, provider: str, at: float) -> None: ...

    def configuration(self, daemon: str, hostname: str, digest: str) -> None: ...

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


class Recorder:
    """Makes samples of what is told, and gives them to each of `sinks`: everything is told and counted here, once."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = tuple(sinks)

    def census(self, census: Census) -> None:
        samples = _by_state(names.NODES, census.nodes)
        for provider, counts in census.provider_nodes.items():
            samples += _by_state(names.PROVIDER_NODES, counts, provider=provider)
        for label, counts in census.label_nodes.items():
            samples += _by_state(names.LABEL_NODES, counts, label=label)
        for (provider, pool), count in census.addressable.items():
            samples += _samples(names.ADDRESSABLE, count, provider=provider, pool=pool)
        samples += _by_state(names.REQUESTS, census.requests)
        self._take_group("census", samples)

    def fleet(self, facts: FleetFacts) -> None:
        samples = _samples(names.PEERS, facts.peers)
        samples += _by_state(names.OLDEST_REQUEST, facts.oldest)
        for (provider, pool), use in facts.use.items():
            for resource, amount in use.items():
                if pool is None:
                    samples += _samples(names.PROVIDER_USED, amount, provider=provider, resource=resource)
                else:
                    samples += _samples(
                        names.POOL_USED, amount, provider=provider, pool=pool, resource=resource
                    )
        for provider, owner in facts.owners.items():
            samples += _samples(names.OWNED, int(owner is not None), provider=provider)
            if owner:
                samples += _samples(names.OWNER, 1, provider=provider, hostname=owner)
        for provider, count in facts.alarms.items():
            samples += _samples(names.ALARMS, count, provider=provider)
        for (provider, kind), count in facts.held_back.items():
            samples += _samples(names.HELD_BACK, count, provider=provider, kind=kind)
        self._take_group("fleet", samples)

    def pool_limits(self, limits: Mapping[tuple[str, str], Mapping[str, float | None]]) -> None:
        samples: list[Sample] = []
        for (provider, pool), resources in limits.items():
            for resource, limit in resources.items():
                samples += _samples(names.POOL_LIMIT, limit, provider=provider, pool=pool, resource=resource)
        self._take_group("pool_limits", samples)

    def quota(self, provider: str, limits: Mapping[str, float]) -> None:
        samples: list[Sample] = []
        for resource, limit in limits.items():
            samples += _samples(names.QUOTA, limit, provider=provider, resource=resource)
        self._take_group(f"quota {provider}", samples)

    def pools_paused(self, provider: str, why: Mapping[str, str]) -> None:
        samples: list[Sample] = []
        for pool, reason in why.items():
            samples += _samples(names.POOL_PAUSED, 1, provider=provider, pool=pool, reason=reason)
        self._take_group(f"pools_paused {provider}", samples)

    def listed(self, provider: str, at: float) -> None:
        self._take(_samples(names.LAST_LISTING, int(at), provider=provider))

    def configuration(self, daemon: str, hostname: str, digest: str) -> None:
        self._take_group(
            "configuration", _samples(names.CONFIG, 1, daemon=daemon, hostname=hostname, hash=digest)
        )

    def max_servers(self, limits: Mapping[str, float | None]) -> None:
        samples: list[Sample] = []
        for provider, limit in limits.items():
            samples += _samples(names.MAX_SERVERS, limit, provider=provider)
        self._take_group("max_servers", samples)

    def provider_orders(self, modes: Mapping[str, int], limits: Mapping[str, float | None]) -> None:
        samples: list[Sample] = []
        for provider, mode in modes.items():
            samples += _samples(names.PROVIDER_MODE, mode, provider=provider)
        for provider, limit in limits.items():
            samples += _samples(names.PROVIDER_LIMIT, limit, provider=provider)
        self._take_group("provider_orders", samples)

    def reload_failed(self, daemon: str, hostname: str, failed: bool) -> None:
        self._take(_samples(names.RELOAD_FAILED, int(failed), daemon=daemon, hostname=hostname))

    def tenant_limits(self, limits: Mapping[str, Mapping[str, float | None]]) -> None:
        samples: list[Sample] = []
        for tenant, resources in limits.items():
            for resource, limit in resources.items():
                samples += _samples(names.TENANT_LIMIT, limit, tenant=tenant, resource=resource)
        self._take_group("tenant_limits", samples)

    def queues(self, hostname: str, lengths: Mapping[str, int]) -> None:
        samples: list[Sample] = []
        for queue, length in lengths.items():
            samples += _samples(names.QUEUE, length, hostname=hostname, queue=queue)
        self._take(samples)

    def deferred(self, provider: str, counts: Mapping[tuple[str, str], int]) -> None:
        samples: list[Sample] = []
        for (pool, reason), count in counts.items():
            samples += _samples(names.DEFERRED, count, provider=provider, pool=pool, reason=reason)
        self._take_group(f"deferred {provider}", samples)

    def cycle(self, provider: str, seconds: float) -> None:
        self._take(_samples(names.CYCLE, seconds, provider=provider))

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
        samples = _samples(names.LAUNCH, seconds, result=result)
        samples += _samples(names.LAUNCH_PROVIDER, seconds, provider=provider, result=result)
        if zone:
            samples += _samples(names.LAUNCH_ZONE, seconds, provider=provider, zone=zone, result=result)
        if requestor:
            samples += _samples(names.LAUNCH_REQUESTOR, seconds, requestor=requestor, result=result)
        if image:
            samples += _samples(names.LAUNCH_IMAGE, seconds, image=image, result=result)
        self._take(samples)

    def leaked(self, provider: str, kind: str, count: int = 1) -> None:
        self._take(_samples(names.LEAKED, count, provider=provider, kind=kind))

    def request_finished(self, outcome: str, seconds: float) -> None:
        self._take(_samples(names.REQUEST_FINISHED, seconds, outcome=outcome))

    def static_hosts(self, provider: str, up: Mapping[str, bool]) -> None:
        down = sum(not each for each in up.values())
        samples = _samples(names.HOSTS_DOWN, down, provider=provider)
        for host, is_up in up.items():
            samples += _samples(names.HOST_DOWN, 0 if is_up else 1, provider=provider, host=host)
        self._take_group(f"hosts {provider}", samples)

    def api_call(self, prefix: str, call: ApiCall) -> None:
        parts = {
            "prefix": prefix,
            "service": call.service.replace(".", "_"),
            "method": call.method.upper(),
            "call": call.name,
        }
        samples = _samples(names.API_ATTEMPTED, 1, **parts)
        if call.status is None:
            samples += _samples(names.API_FAILED, 1, **parts)
        else:
            samples += _samples(names.API_STATUS, call.seconds, status=str(call.status), **parts)
            if call.seconds > 1.0:
                samples += _samples(names.API_SLOW, 1, **parts)
        self._take(samples)

    def build_ended(
        self, image: str, *, rc: int, seconds: float, at: float, good: bool, sizes: Mapping[str, int]
    ) -> None:
        samples = _samples(names.BUILD_RC, rc, image=image)
        samples += _samples(names.BUILD_DURATION, seconds, image=image)
        samples += _samples(names.BUILD_LAST, int(at), image=image)
        if good:
            samples += _samples(names.BUILD_LAST_GOOD, int(at), image=image)
        for image_format, size in sizes.items():
            samples += _samples(names.BUILD_SIZE, size, image=image, format=image_format)
        self._take(samples)

    def upload_ended(self, image: str, provider: str, *, good: bool, seconds: float, size: int) -> None:
        metric = names.IMAGE_UPDATE if good else names.UPLOAD_FAILED
        samples = _samples(metric, seconds, image=image, provider=provider)
        if good:
            samples += _samples(names.UPLOAD_SIZE, size, image=image, provider=provider)
        self._take(samples)

    def image_requests(self, pending: Mapping[str, bool]) -> None:
        samples = _samples(names.BUILD_REQUESTS, sum(pending.values()))
        for image, waits in pending.items():
            samples += _samples(names.IMAGE_BUILD_REQUESTS, int(waits), image=image)
        self._take_group("image_requests", samples)

    def builder_states(
        self, builder: str, builds: Mapping[str, int], uploads: Mapping[tuple[str, str], int]
    ) -> None:
        samples: list[Sample] = []
        for image, state in builds.items():
            samples += _samples(names.BUILD_STATE, state, builder=builder, image=image)
        for (image, provider), state in uploads.items():
            samples += _samples(names.UPLOAD_STATE, state, builder=builder, image=image, provider=provider)
        self._take_group(f"builder_states {builder}", samples)

    def builder_work(
        self, builder: str, *, builds: int, uploads: int, build_workers: int, upload_workers: int
    ) -> None:
        samples = _samples(names.BUILDER_BUILDS, builds, builder=builder)
        samples += _samples(names.BUILDER_UPLOADS, uploads, builder=builder)
        samples += _samples(names.BUILDER_BUILD_WORKERS, build_workers, builder=builder)
        samples += _samples(names.BUILDER_UPLOAD_WORKERS, upload_workers, builder=builder)
        self._take(samples)

    def image_ages(self, ages: Mapping[tuple[str, str], float]) -> None:
        samples: list[Sample] = []
        for (image, provider), age in ages.items():
            samples += _samples(names.UPLOAD_AGE, int(age), image=image, provider=provider)
        self._take_group("image_ages", samples)

    def image_leaked(self, provider: str, kind: str, count: int = 1) -> None:
        self._take(_samples(names.IMAGE_LEAKED, count, provider=provider, kind=kind))

    def close(self) -> None:
        for sink in self._sinks:
            sink.close()

    def _take(self, samples: Sequence[Sample]) -> None:
        for sink in self._sinks:
            sink.take(samples)

    def _take_group(self, group: str, samples: Sequence[Sample]) -> None:
        for sink in self._sinks:
            sink.take_group(group, samples)


class StatsdStats(Recorder):
    """Sends to a statsd server, and tells nobody else."""

    def __init__(
        self,
        host: str = "localhost",
        port: int = DEFAULT_PORT,
        *,
        escape_all: bool = False,
        clock: Clock | None = None,
    ) -> None:
        super().__init__([StatsdSink(host, port, escape_all=escape_all, clock=clock)])


def _by_state(metric: Metric, counts: Mapping[S, float], **parts: str) -> list[Sample]:
    samples: list[Sample] = []
    for state, count in counts.items():
        samples += _samples(metric, count, state=state.value, **parts)
    return samples


def _samples(metric: Metric, value: float | None, **parts: str) -> list[Sample]:
    """`value` is seconds where it is a timer; no sample for no number."""
    if value is None or not math.isfinite(value):
        return []
    return [Sample(metric, tuple(parts[name] for name in metric.parts), value)]


def stats_from(
    environ: Mapping[str, str],
    *,
    escape_all: bool = False,
    clock: Clock | None = None,
    sinks: Sequence[Sink] = (),
) -> Stats:
    """What tells `sinks`, and the statsd server that STATSD_HOST and STATSD_PORT in `environ` ask for.

    `NullStats` when there is neither. Raises ConfigError when the port is not a number.
    """
    host, port = environ.get("STATSD_HOST"), environ.get("STATSD_PORT")
    if not host and not port:
        return Recorder(sinks) if sinks else NullStats()
    with suppress(ValueError):
        number = int(port or DEFAULT_PORT)
        if 0 < number < 65536:
            sender = StatsdSink(host or "localhost", number, escape_all=escape_all, clock=clock)
            return Recorder([sender, *sinks])
    raise ConfigError(f"STATSD_PORT must be a port number, not {port!r}")
