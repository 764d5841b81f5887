"""How many nodes min-ready is short of (launcher.md 8)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from poolmgr.config.settings import Label
from poolmgr.model.request import NodeRequest, RequestState
from poolmgr.model.snapshot import Snapshot


def shortfalls(labels: Iterable[Label], snapshot: Snapshot) -> dict[str, int]:
    """How many min-ready requests to make now, by label; labels that lack nothing are left out.

    Counted over the whole fleet, so that several launchers don't overshoot: free ready nodes, and min-ready
    requests of anyone, whatever their state. One that failed counts until its maker has dealt with it, which
    keeps a full pool from churning. A node whose request is gone counts as free already: of the two writes that
    end a min-ready request we may see the second one first (zookeeper.md 15.9). Labels that no registered
    pool offers are left out.
    """
    wanted = {label.name: label.min_ready for label in labels if label.min_ready > 0}
    if not wanted:
        return {}
    coming = Counter(r.labels[0] for r in snapshot.requests() if r.is_min_ready and len(r.labels) == 1)
    coming.update(label for node in snapshot.orphans() for label in set(node.labels))
    offered = {label for pool in snapshot.pools() for label in pool.supported_labels}
    missing = {
        name: count - len(snapshot.ready(name)) - coming[name]
        for name, count in wanted.items()
        if name in offered
    }
    return {name: count for name, count in missing.items() if count > 0}


def is_settled(request: NodeRequest) -> bool:
    """Whether it has run its course, so that its maker has to deal with it."""
    return request.state in (RequestState.FULFILLED, RequestState.FAILED)
