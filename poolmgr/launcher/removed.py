"""Providers that a reload no longer finds (`on-remove`): remembered as long as they are to be drained.

They are known to the processes that saw them go only: a configuration says what is there, not what was. Whoever starts
later can but tell of nodes that no launcher has a provider for.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping

from poolmgr.config.settings import OnRemove, OpenStackProvider, Settings
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.orders import configured_elsewhere, is_drained, unserved

log = logging.getLogger(__name__)

#: So many nodes are named in a message.
_NAMED = 20


class Removed:
    """Those of one launcher. Used by one thread at a time."""

    def __init__(self) -> None:
        self._providers: dict[str, OpenStackProvider] = {}

    @property
    def names(self) -> frozenset[str]:
        """All that are remembered, whoever drains them."""
        return frozenset(self._providers)

    def note(self, before: Settings, after: Settings) -> None:
        """The settings change: remember what is to be drained, forget what is there again."""
        drains = after.on_remove is OnRemove.DRAIN
        for name in [n for n in self._providers if n in after.providers or not drains]:
            log.info("provider %s: not drained any more", name)
            del self._providers[name]
        for name, provider in before.providers.items():
            if name in after.providers:
                continue
            if drains and isinstance(provider, OpenStackProvider):
                log.warning("provider %s: removed from the configuration, it is drained (on-remove)", name)
                self._providers[name] = provider
            else:
                log.info("provider %s: removed from the configuration, its nodes stay", name)

    def to_drain(self, snapshot: Snapshot, me: str) -> Mapping[str, OpenStackProvider]:
        """What is to be drained from here now; what is empty is forgotten. `me`: our `Peer.id`.

        What another launcher still has in its configuration is that one's: perhaps it reads its file a moment later.
        """
        for name in [n for n in self._providers if is_drained(snapshot, n)]:
            log.info("provider %s: drained, no node of it is left", name)
            del self._providers[name]
        return {
            name: provider
            for name, provider in self._providers.items()
            if not configured_elsewhere(snapshot, name, me)
        }


def tell_unserved(
    snapshot: Snapshot, configured: Collection[str], *, told: Mapping[str, int]
) -> Mapping[str, int]:
    """Warn of nodes that nobody will ever delete, as no configuration has their provider; returns what is so now.

    Nodes by provider. `configured`: names of ours. `told`: what this returned last; each provider is told once.
    """
    found = unserved(snapshot, configured)
    for provider, count in found.items():
        if provider in told:
            continue
        ids = sorted(node.id for node in snapshot.nodes_of(provider))
        more = f" and {count - _NAMED} more" if count > _NAMED else ""
        log.warning(
            "no launcher has provider %s, of which %d nodes are left: %s%s; put it back into the configuration, or "
            "delete their servers by hand",
            provider,
            count,
            ", ".join(ids[:_NAMED]),
            more,
        )
    return found
