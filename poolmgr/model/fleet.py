"""What launchers of this software agree on: who is alive, who has which provider, what operators order.

All of it lives under `/poolmgr`, where nodepool-launcher and Zuul never look. Times are epoch seconds (UTC).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """One launcher process, as long as its session lives. `znode` is the record's name, "" before it is announced."""

    znode: str = field(default="", metadata={"stored": False})
    id: str = ""  # 32 hex, new at each start; what providers are spread by
    hostname: str = ""
    pid: int = 0
    version: str | None = None  # of the software
    started_at: float = 0.0
    providers: tuple[str, ...] = ()  # that its configuration has and that it could serve, sorted
    offers: Mapping[str, Any] = field(
        default_factory=dict
    )  # provider -> pool -> labels, all that it has configured
    min_ready: Mapping[str, int] = field(default_factory=dict)  # label -> nodes, those above 0
    draining: bool = False  # stopping: takes no provider any more
    stat_version: int = field(default=-1, compare=False, metadata={"stored": False})
    zxid: int = field(default=-1, compare=False, metadata={"stored": False})
    extra: Mapping[str, Any] = field(default_factory=dict, metadata={"stored": False})


class ProviderMode(enum.Enum):
    """What a provider is to do. `PAUSED` and `DRAINING` are ordered by operators, or follow from `on-remove`."""

    RUNNING = "running"
    PAUSED = "paused"  # takes no request and launches nothing; what it has lives on, ready nodes too
    DRAINING = "draining"  # the same, and free ready nodes are deleted: in the end it has none


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderOrder:
    """What an operator has ordered for a provider at run time; without one it runs as configured."""

    provider: str = field(default="", metadata={"stored": False})
    mode: ProviderMode = ProviderMode.RUNNING
    max_servers: int | None = (
        None  # over all its pools, below what the configuration says; None: as configured
    )
    since: float = 0.0
    until: float | None = None  # it stands until then; None: until it is withdrawn
    by: str | None = None  # user@host
    reason: str | None = None
    version: int = field(default=-1, compare=False, metadata={"stored": False})
    zxid: int = field(default=-1, compare=False, metadata={"stored": False})
    extra: Mapping[str, Any] = field(default_factory=dict, metadata={"stored": False})

    def stands(self, now: float) -> bool:
        """Whether it has not expired. `now`: epoch seconds."""
        return self.until is None or now < self.until


@dataclass(frozen=True, kw_only=True, slots=True)
class ReclaimApproval:
    """An operator has looked at what the fuse held back, and lets it go: once, for one provider."""

    provider: str = field(default="", metadata={"stored": False})
    at: float = 0.0
    up_to: int = 0  # things that may go, as many as the operator was shown
    by: str | None = None
    version: int = field(default=-1, compare=False, metadata={"stored": False})
    zxid: int = field(default=-1, compare=False, metadata={"stored": False})
    extra: Mapping[str, Any] = field(default_factory=dict, metadata={"stored": False})


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderStatus:
    """What the owner of a provider has to tell the fleet; written by it alone, and only when it changes."""

    provider: str = field(default="", metadata={"stored": False})
    owner: str = ""  # `Peer.id`
    hostname: str = ""  # of the owner
    since: float = 0.0  # when it became the owner
    mode: ProviderMode = ProviderMode.RUNNING
    held_back: Mapping[str, int] = field(default_factory=dict)  # what the fuse holds, kind -> how many
    held_since: float | None = None
    alarms: tuple[str, ...] = ()  # one line each, for `list` and the status page
    version: int = field(default=-1, compare=False, metadata={"stored": False})
    zxid: int = field(default=-1, compare=False, metadata={"stored": False})
    extra: Mapping[str, Any] = field(default_factory=dict, metadata={"stored": False})


@dataclass(frozen=True, kw_only=True, slots=True)
class TenantPromises:
    """What launchers have promised to the requests of one tenant that has limits, before its nodes can be seen.

    Whoever takes such a request adds it here first, on condition that nobody else has meanwhile.
    """

    tenant: str = field(default="", metadata={"stored": False})
    promised: Mapping[str, Any] = field(default_factory=dict)  # request -> {"at": time, "resources": amounts}
    version: int = field(default=-1, compare=False, metadata={"stored": False})
    zxid: int = field(default=-1, compare=False, metadata={"stored": False})
    extra: Mapping[str, Any] = field(default_factory=dict, metadata={"stored": False})
