"""Rendered answers, kept for a second: many clients that poll cost one rendering, and never much memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rendered:
    """One answer. `modified`: the whole second since which the body is this one."""

    body: bytes
    modified: int


class AnswerCache:
    """At most `size` answers, each for `lifetime` seconds; thread-safe. Asked for the same thing, others wait for one.

    An answer that is made again and has not changed keeps its `modified`; since it is never made twice in a second,
    what has changed always has a later one.
    """

    def __init__(self, *, size: int = 64, lifetime: float = 1.0) -> None:
        self._size = size
        self._lifetime = lifetime
        self._lock = threading.Lock()
        self._answers: OrderedDict[Hashable, tuple[float, Rendered]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: Hashable, render: Callable[[], bytes], *, now: float) -> Rendered:
        """The answer under `key`, made by `render` when there is none or it is too old. `now`: epoch seconds."""
        with self._lock:
            made_at, old = self._answers.get(key, (0.0, None))
            if old is not None and 0.0 <= now - made_at < self._lifetime:
                return old
            body = render()
            new = old if old is not None and old.body == body else Rendered(body, int(now))
            self._answers[key] = (now, new)
            self._answers.move_to_end(key)
            while len(self._answers) > self._size:
                self._answers.popitem(last=False)
            return new
