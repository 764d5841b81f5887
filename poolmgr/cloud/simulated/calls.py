"""One API call to a pretend cloud: counted, and with what goes wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TypeVar

from poolmgr.cloud.simulated.errors import no_answer, raise_unanswered, translated
from poolmgr.errors import NotFound
from poolmgr.simcloud import world as sim

R = TypeVar("R")


class Calls:
    """The calls that one `SimulatedCloud` sends."""

    def __init__(self, cloud: sim.SimCloud) -> None:
        self._cloud = cloud
        self._sent: Counter[str] = Counter()

    def counts(self) -> Mapping[str, int]:
        """Calls sent so far by operation."""
        return dict(self._sent)

    def ask(self, operation: str, act: Callable[[sim.Trouble], R], *, subject: str = "") -> R:
        """What `act` returns, which carries the call out; it gets the faults that are its own to heed.

        `operation` is `<service>.<METHOD>.<name>`, `subject` the id or name that faults may be meant for.
        """
        service, method, _ = operation.split(".", 2)
        creates = method == "POST" and service != "identity" and not operation.endswith("_action")
        with self._cloud.lock:
            self._sent[operation] += 1
            trouble = self._cloud.call(operation, subject)
            raise_unanswered(trouble, self._cloud.throttled(), creates=creates, operation=operation)
            with translated():
                result = act(trouble)
        if trouble.of(sim.FaultKind.LOST_ANSWER):
            raise no_answer(operation, creates=creates)
        return result

    def delete(self, operation: str, thing_id: str, act: Callable[[str, sim.Trouble], None]) -> None:
        """As `ask`; what is gone already is deleted."""
        try:
            self.ask(operation, lambda trouble: act(thing_id, trouble), subject=thing_id)
        except NotFound:
            return
