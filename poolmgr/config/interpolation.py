"""`%(NODEPOOL_name)` in a file's text, replaced from the environment before YAML sees it.

One pass, left to right: what a variable's value holds is never expanded again, so the result does not depend
on the order of the environment (the reference's did). Comments and keys are text like any other. A variable
that is not set stays as written; whether that matters is judged once YAML has told values from comments.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Mapping
from dataclasses import dataclass

PLACEHOLDER = re.compile(r"%\((NODEPOOL_[^()\s]*)\)")


@dataclass(frozen=True, kw_only=True)
class Expanded:
    """`text` after interpolation, and the way back from it to the file as it was written."""

    text: str
    original: str
    starts: tuple[int, ...]  # where each piece starts in `text` ...
    origins: tuple[tuple[int, bool], ...]  # ... and where in `original`; True: it came out of a variable
    line_starts: tuple[int, ...]  # of `original`

    def place(self, index: int) -> tuple[int, int]:
        """Line and column (from 1) in the file as written of character `index` of `text`."""
        piece = bisect.bisect_right(self.starts, index) - 1
        origin, from_variable = self.origins[piece]
        at = origin if from_variable else min(origin + index - self.starts[piece], len(self.original))
        line = bisect.bisect_right(self.line_starts, at)
        return line, at - self.line_starts[line - 1] + 1

    def from_variable(self, start: int, end: int) -> bool:
        """Whether any of `text[start:end]` came out of the environment."""
        first = max(bisect.bisect_right(self.starts, start) - 1, 0)
        last = bisect.bisect_left(self.starts, max(end, start + 1))
        return any(origin[1] for origin in self.origins[first:last])


def expand(original: str, environ: Mapping[str, str]) -> Expanded:
    """`original` with every placeholder of a set variable replaced by its value."""
    pieces: list[str] = []
    starts: list[int] = [0]
    origins: list[tuple[int, bool]] = [(0, False)]
    done = length = 0
    for match in PLACEHOLDER.finditer(original):
        value = environ.get(match[1])
        if value is None:
            continue
        pieces += [original[done : match.start()], value]
        length += match.start() - done
        starts += [length, length + len(value)]
        origins += [(match.start(), True), (match.end(), False)]
        length += len(value)
        done = match.end()
    pieces.append(original[done:])
    line_starts = [0, *(m.end() for m in re.finditer("\n", original))]
    return Expanded(
        text="".join(pieces),
        original=original,
        starts=tuple(starts),
        origins=tuple(origins),
        line_starts=tuple(line_starts),
    )
