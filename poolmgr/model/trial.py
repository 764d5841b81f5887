"""Whose trial of a fresh image something in a cloud belongs to, and until when: told by the id in its mark.

What belongs to a trial bears the mark of the library (`model.server.LIBRARY`): launchers leave it alone, and
`poolmgr cloud clean` knows it. Descriptions of ports and floating IPs have room for an id and nothing else, so the id
says the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

from poolmgr.model.server import LIBRARY, Owner

_PREFIX = "trial"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialMark:
    """`until`: epoch seconds at which the trial gives up; `call` tells it from all others, and has no dot."""

    deployment: str
    until: int
    call: str

    def owner(self, provider: str) -> Owner:
        """What everything of the trial is marked with."""
        node_id = f"{_PREFIX}.{self.deployment}.{self.until}.{self.call}"
        return Owner(provider=provider, node_id=node_id, deployment=LIBRARY, attempt=1)


def trial_of(owner: Owner | None) -> TrialMark | None:
    """The trial that an owner names, None for any other owner."""
    if owner is None or owner.deployment != LIBRARY:
        return None
    parts = owner.node_id.split(".")
    if len(parts) < 4 or parts[0] != _PREFIX or not (parts[-2].isascii() and parts[-2].isdecimal()):
        return None
    return TrialMark(deployment=".".join(parts[1:-2]), until=int(parts[-2]), call=parts[-1])
