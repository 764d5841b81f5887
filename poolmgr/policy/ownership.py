"""Which launcher is to have which provider.

Every launcher judges alone, from what all of them see: who is alive, and who has what. The provider's lock decides when
two of them judge differently for a moment; so nothing here has to be right for safety, only for being settled soon.

- A free provider goes to the launcher that has fewest, among those that can serve it; among equals to the one with the
  highest hash of provider and launcher (rendezvous hashing: who joins or leaves changes nothing for the others). That
  one takes it at once; the others only when it has stayed free for `takeover_grace`.
- An owner parts with a provider when it stops, or to balance: it has most of all and some other has two fewer. One
  provider moves at a time, and only to a launcher that has been there for `peer_settle` seconds, so that launchers
  which start one after another do not throw providers about.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from poolmgr.model.fleet import Peer
from poolmgr.policy.tuning import Tuning


@dataclass(frozen=True, slots=True)
class Acquire:
    """Try to get its lock now."""

    reason: str


@dataclass(frozen=True, slots=True)
class Keep:
    """It is ours, and stays."""

    reason: str = "ours"


@dataclass(frozen=True, slots=True)
class HandOver:
    """It is ours and goes to the launcher with the id `to`, which takes it once its lock is free; None: to nobody."""

    to: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Leave:
    """Not ours to have now; `until`: monotonic seconds at which that may change by itself."""

    reason: str
    until: float = float("inf")


Verdict = Acquire | Keep | HandOver | Leave


@dataclass(frozen=True, kw_only=True)
class View:
    """What one launcher knows of the fleet. Monotonic seconds, of that launcher."""

    me: str  # our `Peer.id`
    peers: Sequence[Peer]  # that live, ourselves included once we are announced
    owners: Mapping[str, str]  # provider -> `Peer.id` of its owner; "": someone has its lock, nobody said who
    seen_since: Mapping[str, float] = field(default_factory=dict)  # by `Peer.id`
    free_since: Mapping[str, float] = field(default_factory=dict)  # by provider
    moving: Collection[str] = ()  # of ours, those that are being handed over
    refused: Collection[tuple[str, str]] = ()  # (provider, `Peer.id`): did not take what was handed over


def verdicts(view: View, now: float, tuning: Tuning) -> dict[str, Verdict]:
    """What to do about each provider that some live launcher can serve or that is ours."""
    eligible = {name: _eligible(name, view.peers) for name in _providers(view)}
    preferred = assignment(view.owners, eligible)
    move = _balance(view, eligible, now, tuning)
    found: dict[str, Verdict] = {}
    for name, peers in eligible.items():
        owner = view.owners.get(name)
        if owner == view.me:
            found[name] = _ours(name, peers, view, move)
        elif owner is not None:
            found[name] = Leave("owned by another")
        elif not any(peer.id == view.me for peer in peers):
            found[name] = Leave("not for us")
        else:
            found[name] = _free(name, preferred[name], view, now, tuning)
    return found


def successor(provider: str, view: View) -> str | None:
    """The launcher that would have `provider` if we went; None if nobody could."""
    others = [peer for peer in _eligible(provider, view.peers) if peer.id != view.me]
    return _best(provider, others, Counter(view.owners.values())) if others else None


def assignment(owners: Mapping[str, str], eligible: Mapping[str, Sequence[Peer]]) -> dict[str, str]:
    """Which launcher is preferred for each provider that is free, one after the other in order of their names."""
    load = Counter(owners.values())
    preferred: dict[str, str] = {}
    for name in sorted(eligible):
        if name not in owners and eligible[name]:
            best = preferred[name] = _best(name, eligible[name], load)
            load[best] += 1
    return preferred


def weight(provider: str, peer_id: str) -> bytes:
    """What two launchers are compared by: the higher one is preferred for the provider."""
    return hashlib.sha256(f"{provider}\0{peer_id}".encode()).digest()


def _best(provider: str, peers: Iterable[Peer], load: Mapping[str, int]) -> str:
    return max((peer.id for peer in peers), key=lambda one: (-load.get(one, 0), weight(provider, one)))


def _providers(view: View) -> set[str]:
    served = {name for peer in view.peers for name in peer.providers}
    return served | {name for name, owner in view.owners.items() if owner == view.me}


def _eligible(provider: str, peers: Iterable[Peer]) -> list[Peer]:
    return [peer for peer in peers if provider in peer.providers and not peer.draining]


def _free(name: str, preferred: str, view: View, now: float, tuning: Tuning) -> Verdict:
    if preferred == view.me:
        return Acquire("preferred")
    until = view.free_since.get(name, now) + tuning.takeover_grace
    return Acquire("nobody else took it") if now >= until else Leave("preferred elsewhere", until)


def _ours(name: str, eligible: Sequence[Peer], view: View, move: tuple[str, str] | None) -> Verdict:
    if all(peer.id != view.me for peer in view.peers):
        return Keep("not announced")
    if any(peer.id == view.me for peer in eligible):
        return HandOver(move[1], "balance") if move is not None and move[0] == name else Keep()
    if not eligible:
        known = any(peer.id == view.me and name in peer.providers for peer in view.peers)
        return Keep("nobody else can serve it") if known else HandOver(None, "we serve it no longer")
    return HandOver(_best(name, eligible, Counter(view.owners.values())), "we serve it no longer")


def _balance(
    view: View, eligible: Mapping[str, Sequence[Peer]], now: float, tuning: Tuning
) -> tuple[str, str] | None:
    """The one move that is due in the whole fleet: a provider and who gets it; None if all is well or in motion."""
    if view.moving or any(peers and name not in view.owners for name, peers in eligible.items()):
        return None
    load = Counter(view.owners.values())
    moves = [
        (load[owner] - load[peer.id], weight(name, peer.id), name, peer.id)
        for name, owner in view.owners.items()
        for peer in eligible.get(name, ())
        if load[owner] - load[peer.id] >= 2
        and owner
        and now - view.seen_since.get(peer.id, now) >= tuning.peer_settle
        and (name, peer.id) not in view.refused
    ]
    if not moves:
        return None
    _, _, name, to = max(moves)
    return (name, to) if view.owners[name] == view.me else None
