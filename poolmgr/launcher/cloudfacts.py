"""What a worker knows about its cloud besides listings: limits, flavors, zones; and what it has learnt the hard way.

Refreshed in the background; a cloud that does not answer leaves the last knowledge in place and is asked again
with growing pauses.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from poolmgr.cloud.api import CloudInfo
from poolmgr.config.settings import Pool, PoolLabel
from poolmgr.errors import CloudUnavailable, PoolmgrError
from poolmgr.launcher.context import Context
from poolmgr.launcher.jobs import Outcome
from poolmgr.model.resources import Resources
from poolmgr.model.server import Flavor, Quota
from poolmgr.policy.capacity import NetworkPrices, unmanaged_network
from poolmgr.policy.flavors import choose_flavor, network_price, price
from poolmgr.policy.growth import doubling
from poolmgr.policy.requests import LabelFacts
from poolmgr.policy.zones import Shortage, no_room

log = logging.getLogger(__name__)

#: Times without room in a row, and never any before, that look like a mistake in the cloud's settings.
SUSPICIOUS = 3


@dataclass(frozen=True, kw_only=True)
class Known:
    """One answer of the cloud to everything we need to know before launching."""

    info: CloudInfo
    limits: Resources
    quotas: tuple[Quota, ...] | None  # of ports and floating IPs; None: not known now
    plugs: Mapping[tuple[str, ...], Resources]  # by networks of labels: what a server on them takes of those
    flavors: tuple[Flavor, ...]
    zones: tuple[str, ...]


class CloudFacts:
    """The worker's knowledge of its cloud."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._known: Known | None = None
        self._error: PoolmgrError | None = None
        self._in_flight = False
        self._next = 0.0
        self._failures = 0
        self._quotas: tuple[Quota, ...] = ()  # of ports and floating IPs, as last told
        self._unmanaged_network: Resources = {}
        self._quota_until = 0.0  # no launches before, after a quota error
        self._broken: dict[str, tuple[str, float]] = {}  # labels the cloud has rejected: why, and until when
        self._image_until: dict[str, float] = {}  # labels whose image is not there
        self._shortages: dict[str, dict[str | None, Shortage]] = {}  # flavor id -> zone
        self._had_room: set[tuple[str, str | None]] = set()  # (flavor id, zone), since this process began

    @property
    def zones(self) -> tuple[str, ...]:
        return self._known.zones if self._known else ()

    @property
    def limits(self) -> Resources:
        """Of everything, ports and floating IPs included."""
        network = {q.resource: q.limit for q in self._quotas if q.limit is not None}
        return {**(self._known.limits if self._known else {}), **network}

    @property
    def unmanaged_network(self) -> Resources:
        """What others had of ports and floating IPs when the cloud was asked."""
        return self._unmanaged_network

    def refresh(self, now: float) -> float:
        """Ask the cloud if that is due; returns when it is due next (monotonic seconds)."""
        if self._in_flight or now < self._next:
            return float("inf") if self._in_flight else self._next
        self._in_flight = True
        cloud, volumes = self._context.cloud, self._context.boots_from_volumes()
        wanted = self._networks()

        def job() -> Known:
            info = cloud.connect()
            try:
                limits = cloud.limits(volumes=volumes)
            except CloudUnavailable as error:
                if not volumes:
                    raise
                # Perhaps only Block Storage is away: labels without volumes need not suffer for that.
                limits = cloud.limits()
                log.info("%s: the limits of volumes are not known now: %s", self._context.name, error)
            quotas, plugs = self._ask_for_network(wanted)
            return Known(
                info=info,
                limits=limits,
                quotas=quotas,
                plugs=plugs,
                flavors=cloud.flavors(),
                zones=cloud.zones(),
            )

        self._context.jobs.run(self._context.parts.api, job, self._answered)
        return float("inf")

    def _networks(self) -> frozenset[tuple[str, ...]]:
        """The networks of each label whose nodes count against the cloud's quota."""
        pools = self._context.config.provider.pools.values()
        counted = [pool for pool in pools if not pool.ignore_provider_quota]
        return frozenset(label.networks for pool in counted for label in pool.labels.values())

    def _ask_for_network(
        self, wanted: Iterable[tuple[str, ...]]
    ) -> tuple[tuple[Quota, ...] | None, Mapping[tuple[str, ...], Resources]]:
        """On a thread of the provider's. Labels need not suffer when only the Network service is away."""
        cloud = self._context.cloud
        try:
            quotas = cloud.network_quotas()
            return quotas, {names: cloud.network_price(names) for names in wanted} if quotas else {}
        except CloudUnavailable as error:
            log.info(
                "%s: the quota of ports and floating IPs is not known now: %s", self._context.name, error
            )
            return None, {}

    def _answered(self, outcome: Outcome[Known]) -> None:
        context = self._context
        self._in_flight = False
        now = context.clock.monotonic()
        if outcome.value is None:
            self._failures += 1
            tuning = context.tuning
            self._next = now + doubling(tuning.facts_retry, self._failures - 1, tuning.facts_retry_max)
            if str(outcome.error) != str(self._error):
                log.error("%s: the cloud does not serve us: %s", context.name, outcome.error)
            self._error = outcome.error
            return
        if self._failures or self._known is None:
            log.info("%s: cloud %s answers", context.name, outcome.value.info.cloud)
        self._failures, self._error = 0, None
        known, before = outcome.value, self._known
        self._known = (
            known if known.quotas is not None or before is None else replace(known, plugs=before.plugs)
        )
        context.info = outcome.value.info
        self._count_others(outcome.value)
        context.stats.quota(context.name, self.limits)
        self._next = now + context.tuning.quota_refresh

    def _count_others(self, told: Known) -> None:
        """Where the quota of ports and floating IPs was not told, the last answer holds."""
        if told.quotas is None:
            return
        self._quotas = told.quotas
        with self._context.store.reading() as snapshot:
            self._unmanaged_network = unmanaged_network(
                told.quotas, self._context.name, snapshot, self.network_prices()
            )

    # What launches teach

    def quota_hit(self, now: float) -> None:
        """The cloud refused for quota: launch nothing for a while and ask for the limits again."""
        self._quota_until = now + self._context.tuning.quota_cooldown
        self._next = min(self._next, now)

    def room_made(self) -> None:
        """One of our servers is gone: a quota error of before means nothing any more."""
        self._quota_until = 0.0

    def label_rejected(self, label: str, reason: str, now: float) -> None:
        """The cloud refuses the label's settings as they are: off until they change, or the cloud may have."""
        pause = self._context.tuning.broken_retry
        if label not in self._broken:  # told once, not each time that it is tried again
            log.error("%s: label %s is off for %.0f s: %s", self._context.name, label, pause, reason)
        self._broken[label] = (reason, now + pause)

    def image_missing(self, label: str, now: float) -> None:
        self._image_until[label] = now + self._context.tuning.image_retry

    def no_room(self, flavor: Flavor, zone: str | None, reason: str, now: float) -> None:
        """The zone had no room for a server of the flavor: nothing new is tried there for a while."""
        shortages = self._shortages.setdefault(flavor.id, {})
        before = shortages.get(zone)
        after = shortages[zone] = no_room(before, now=now, tuning=self._context.tuning)
        if after == before:
            return
        where = f"flavor {flavor.name} in zone {zone}" if zone else f"flavor {flavor.name}"
        log.warning(
            "%s: no room for %s, left alone for %.0f s: %s",
            self._context.name,
            where,
            after.until - now,
            reason,
        )
        if after.failures == SUSPICIOUS and (flavor.id, zone) not in self._had_room:
            log.error(
                "%s: there never was room for %s since this launcher began: check the flavor's extra specs, the zone",
                self._context.name,
                where,
            )

    def had_room(self, flavor: Flavor, zone: str | None) -> None:
        """A server of the flavor came up in the zone."""
        self._had_room.add((flavor.id, zone))
        self._shortages.get(flavor.id, {}).pop(zone, None)

    def full_zones(self, flavor: Flavor, now: float) -> frozenset[str | None]:
        """The zones that had no room for the flavor lately."""
        shortages = self._shortages.get(flavor.id, {})
        return frozenset(zone for zone, shortage in shortages.items() if now < shortage.until)

    def forget_broken(self) -> None:
        """The configuration has changed: every label gets another chance."""
        self._broken.clear()
        self._image_until.clear()
        self._shortages.clear()
        if self._known and self._quotas and not self._networks() <= self._known.plugs.keys():
            self._next = 0.0  # it names networks that the cloud was not asked about

    # What policies ask

    def paused(self, now: float) -> str | None:
        """Why nothing can be launched now, or None."""
        if self._known is None:
            return "cloud"
        if self._context.servers.failures >= 3 or self._failures >= 3:
            return "cloud"
        return "quota" if now < self._quota_until else None

    def flavor(self, label: PoolLabel) -> Flavor | None:
        return choose_flavor(self._known.flavors, label) if self._known else None

    def label(self, label: PoolLabel, pool: Pool, zones: Sequence[str], now: float) -> LabelFacts:
        """What is known about launching `label` of `pool` in one of `zones`, apart from its disk image."""
        reason, until = self._broken.get(label.name, (None, 0.0))
        broken = reason if now < until else None
        if self._known is None:
            return LabelFacts(broken=broken, waiting="cloud")
        flavor = self.flavor(label)
        if not self._known.flavors:  # a list without any is no answer
            return LabelFacts(broken=broken, waiting="cloud")
        if flavor is None:
            return LabelFacts(broken=broken or "no flavor fits")
        waiting = "image" if now < self._image_until.get(label.name, 0.0) else None
        if flavor.id in self._shortages and self.full_zones(flavor, now).issuperset(zones or (None,)):
            waiting = waiting or "capacity"
        network = self._network_price(label, pool)
        return LabelFacts(need={**price(flavor, label), **network}, broken=broken, waiting=waiting)

    def network_prices(self) -> NetworkPrices:
        """What a node takes of ports and floating IPs; empty where the cloud has no limits of them."""
        if not self._quotas:
            return {}
        return {
            (pool.name, label.name): self._network_price(label, pool)
            for pool in self._context.config.provider.pools.values()
            for label in pool.labels.values()
        }

    def _network_price(self, label: PoolLabel, pool: Pool) -> Resources:
        plugs = self._known.plugs if self._known else {}
        return network_price(plugs.get(label.networks, {}), auto_floating_ip=pool.auto_floating_ip)
