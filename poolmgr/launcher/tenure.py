"""Our owning of one provider, from getting its lock until it goes or is lost; and what its owner tells the fleet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from poolmgr.model.fleet import ProviderStatus
from poolmgr.store.api import Lock, Store

#: Seconds between two writes of what an owner tells.
PUBLISH_INTERVAL = 1.0


class Tenure:
    """`lock`: that of `Store.lock_provider`. Whoever acts for the provider asks first whether this is `valid`."""

    def __init__(
        self,
        provider: str,
        lock: Lock,
        *,
        owner: str,
        hostname: str,
        since: float,
        before: ProviderStatus | None = None,
    ) -> None:
        """`owner`: our `Peer.id`. `since`: epoch seconds. `before`: what the last owner told, if there was one.

        What the fuse has held back stays held, whoever owns the provider.
        """
        self.provider = provider
        self.lock = lock
        self.status = ProviderStatus(
            provider=provider,
            owner=owner,
            hostname=hostname,
            since=since,
            held_back=before.held_back if before else {},
            held_since=before.held_since if before else None,
        )

    @property
    def valid(self) -> bool:
        """Whether the provider is ours, for all that we have heard."""
        return self.lock.valid


class StatusBoard:
    """What one owner tells; only the provider's worker uses it."""

    def __init__(self, store: Store, tenure: Tenure) -> None:
        self._store = store
        self._tenure = tenure
        self._wanted = tenure.status
        self._next = 0.0
        self._alarms: dict[str, str] = {}

    def alarm(self, topic: str, line: str | None) -> None:
        """Have `line` among the alarms as long as nothing else is said on `topic`; None: nothing is wrong with it."""
        before = dict(self._alarms)
        if line is None:
            self._alarms.pop(topic, None)
        else:
            self._alarms[topic] = line
        if self._alarms != before:
            self.set(alarms=tuple(self._alarms[topic] for topic in sorted(self._alarms)))

    def set(self, **changes: Any) -> None:
        """Let these fields of the `ProviderStatus` be so from now on."""
        self._wanted = replace(self._wanted, **changes)

    def publish(self, now: float) -> float:
        """Write what has changed, at most once in PUBLISH_INTERVAL; returns when to look again (monotonic seconds).

        Raises LockLost, StoreUnavailable.
        """
        tenure = self._tenure
        if self._wanted == tenure.status:
            return float("inf")
        if now < self._next:
            return self._next
        self._next = now + PUBLISH_INTERVAL
        self._wanted = tenure.status = self._store.save_provider_status(self._wanted, tenure.lock)
        return float("inf")
