"""Which providers this launcher owns: obeys `policy.ownership`, and holds their locks.

A provider is ours from getting its lock until that is let go or lost. It is let go only when nothing of ours acts for
it any more: so whoever gets the lock is alone.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from poolmgr.errors import LockBusy, LockLost, RecordGone, StoreError, StoreUnavailable
from poolmgr.launcher.tenure import Tenure
from poolmgr.model.fleet import Peer
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy import ownership as policy
from poolmgr.policy.ownership import Acquire, HandOver, Leave, View
from poolmgr.policy.tuning import Tuning
from poolmgr.runtime.clock import Clock
from poolmgr.store.api import Store

log = logging.getLogger(__name__)

#: At least so often everything is looked at again, in seconds.
IDLE_CYCLE = 1.0
#: The same while something of ours is coming to its end.
ENDING_CYCLE = 0.1


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What this launcher could do, as its peers are told."""

    providers: frozenset[str]
    min_ready: Mapping[str, int]
    offers: Mapping[str, Mapping[str, list[str]]] = field(default_factory=dict)  # provider -> pool -> labels


class Crew(Protocol):
    """Those who work for what we own. None of these waits."""

    def offer(self) -> Offer: ...

    def begin(self, tenure: Tenure) -> None:
        """Start to work for its provider."""

    def let_go(self, provider: str) -> None:
        """End that, and leave everything as it is to the next owner."""

    def busy(self, provider: str) -> bool:
        """Whether anything of ours acts for it, or is about to."""


class Ownership:
    """This launcher's part in the fleet. Used by one thread at a time."""

    def __init__(self, store: Store, clock: Clock, tuning: Tuning, crew: Crew, peer: Peer) -> None:
        """`peer`: who we are; what we offer is filled in."""
        self._store = store
        self._clock = clock
        self._tuning = tuning
        self._crew = crew
        self._peer = peer
        self._draining = False
        self._tenures: dict[str, Tenure] = {}
        self._ending: dict[str, str | None] = {}  # of those: to whom they go
        self._handed: dict[str, tuple[str, float]] = {}  # what we let go last: to whom, and when
        self._refused: dict[tuple[str, str], float] = {}  # (provider, peer) that did not take it, until when
        self._peers_since: dict[str, float] = {}
        self._free_since: dict[str, float] = {}
        self.settled = False  # whether there was one whole look at the fleet

    @property
    def id(self) -> str:
        """Our `Peer.id`."""
        return self._peer.id

    def tenure(self, provider: str) -> Tenure | None:
        """Our owning of it, None if it is not ours (any more)."""
        tenure = self._tenures.get(provider)
        return tenure if tenure is not None and tenure.valid and provider not in self._ending else None

    def cycle(self) -> float:
        """Get, keep and let go of providers; returns the seconds until it wants to look again."""
        now = self._clock.monotonic()
        for name, tenure in self._tenures.items():
            if not tenure.valid and name not in self._ending:
                log.warning("provider %s: lost", name)
                self._ending[name] = None
                self._crew.let_go(name)
        self._end(now)
        if not self._store.connected:
            return IDLE_CYCLE
        try:
            self._announce()
            self._obey(now)
        except StoreUnavailable as error:
            log.warning("the store is away: %s", error)
        return ENDING_CYCLE if self._ending else IDLE_CYCLE

    def drain(self) -> None:
        """Take nothing any more; hand over what someone else can have."""
        self._draining = True

    def withdraw(self) -> None:
        """Let go of everything, once nobody of ours acts any more, and leave the fleet."""
        for name in self._tenures:
            self._ending.setdefault(name, None)
        self._end(self._clock.monotonic())
        if self._peer.znode:
            self._store.retract(self._peer)

    def describe(self) -> list[str]:
        """A line for each provider that we or others own, for dumps; from any thread."""
        with self._store.reading() as snapshot:
            owners = self._owners(snapshot)
            hosts = {peer.id: peer.hostname for peer in snapshot.peers()}
        lines = []
        for name, owner in sorted(owners.items()):
            whose = (
                "ours"
                if owner == self.id
                else f"owned by another ({hosts.get(owner, 'who has not said his name')})"
            )
            lines.append(f"provider {name}: {whose}{', ending' if name in self._ending else ''}")
        return lines

    # Ending

    def _end(self, now: float) -> None:
        for name, to in list(self._ending.items()):
            if self._crew.busy(name):
                continue
            tenure = self._tenures.pop(name)
            del self._ending[name]
            if tenure.valid:
                self._store.unlock(tenure.lock)
                log.info("provider %s: let go%s", name, f" for launcher {to[:8]}" if to else "")
            if to is not None:
                self._handed[name] = (to, now)

    # Looking

    def _announce(self) -> None:
        offer = self._crew.offer()
        wanted = replace(
            self._peer,
            providers=tuple(sorted(offer.providers)),
            min_ready=dict(offer.min_ready),
            offers={name: dict(pools) for name, pools in offer.offers.items()},
            draining=self._draining,
        )
        if not self._peer.znode:
            self._peer = self._store.announce(wanted)
        elif wanted != self._peer:
            try:
                self._peer = self._store.update_peer(wanted)
            except RecordGone:
                self._peer = self._store.announce(wanted)

    def _owners(self, snapshot: Snapshot) -> dict[str, str]:
        """Provider -> `Peer.id` of its owner; "" where someone has the lock and has not said who he is."""
        peers = snapshot.peers()
        live = {peer.id for peer in peers} - {self.id}
        owners = dict.fromkeys(list(self._tenures), self.id)
        for name in {name for peer in peers for name in peer.providers} - owners.keys():
            if snapshot.provider_owned(name):
                status = snapshot.provider_status(name)
                owners[name] = status.owner if status and status.owner in live else ""
        return owners

    def _view(self, snapshot: Snapshot, now: float) -> View:
        peers = list(snapshot.peers())
        live = {peer.id for peer in peers}
        self._peers_since = {one: self._peers_since.get(one, now) for one in live}
        owners = self._owners(snapshot)
        names = {name for peer in peers for name in peer.providers}
        free = names - owners.keys()
        self._free_since = {name: self._free_since.get(name, now) for name in free}
        self._refused = {pair: until for pair, until in self._refused.items() if until > now}
        return View(
            me=self.id,
            peers=peers,
            owners=owners,
            seen_since=self._peers_since,
            free_since=self._free_since,
            moving=frozenset(self._ending),
            refused=frozenset(self._refused),
        )

    # Acting

    def _obey(self, now: float) -> None:
        with self._store.reading() as snapshot:
            verdicts = policy.verdicts(self._view(snapshot, now), now, self._tuning)
        for name, verdict in sorted(verdicts.items()):
            if name in self._ending:
                continue
            match verdict:
                case Acquire(reason=reason):
                    self._acquire(name, reason, now)
                case HandOver(to=to, reason=reason):
                    whom = f"launcher {to[:8]}" if to else "nobody"
                    log.info("provider %s: goes to %s (%s)", name, whom, reason)
                    self._ending[name] = to
                    self._crew.let_go(name)
                case Leave(reason="owned by another"):
                    self._handed.pop(name, None)
        self.settled = True

    def _acquire(self, name: str, reason: str, now: float) -> None:
        store = self._store
        if self._crew.busy(name):  # what we had before a session was lost has not ended yet
            return
        try:
            lock = store.lock_provider(name)
        except LockBusy:
            return
        with store.reading() as snapshot:
            before = snapshot.provider_status(name)
        tenure = Tenure(
            name, lock, owner=self.id, hostname=self._peer.hostname, since=self._clock.time(), before=before
        )
        try:
            tenure.status = store.save_provider_status(tenure.status, lock)
        except LockLost:
            return
        except StoreError:
            store.unlock(lock)
            raise
        to, _ = self._handed.pop(name, (None, 0.0))
        if to is not None:
            log.warning("provider %s: launcher %s did not take it", name, to[:8])
            self._refused[name, to] = now + self._tuning.handover_retry
        self._tenures[name] = tenure
        log.info("provider %s: ours (%s)", name, reason)
        self._crew.begin(tenure)
