"""What is wrong with a configuration file: one record for each finding, and its one-line text.

A finding is found/allowed/hint at a place; severity tells whether poolmgr goes on with the file. Values of
secret keys never get into a finding: whoever makes one passes `found` as it may be shown (`shown`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from poolmgr.errors import ConfigError

Path = tuple[Any, ...]  # mapping keys and list indexes from the top of the file

_PLAIN_KEY = re.compile(r"[\w<][\w<>./ -]*")
_SHOWN_LENGTH = 60


class Severity(Enum):
    """ERROR: the file cannot be used. WARNING: it is used, and this is probably not what was meant."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One finding. `line` and `column` count from 1; 0 means the file as a whole."""

    severity: Severity
    file: str
    line: int = 0
    column: int = 0
    path: Path = ()
    what: str
    found: str = ""  # as it may be shown; "" when `what` says it all
    allowed: str = ""
    hint: str = ""
    inside: str = ""  # names on the way there: "provider north, pool main"

    @property
    def key(self) -> str:
        """The key path as people write it: `providers[1].pools[0].labels[2].min-ram`."""
        return path_text(self.path)

    def __str__(self) -> str:
        """All of it in one line, whatever the file holds."""
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        details = [self.what]
        if self.found:
            details.append(f"found {self.found}")
        if self.allowed:
            details.append(f"allowed: {self.allowed}")
        if self.hint:
            details.append(self.hint)
        subject = [self.key] if self.path else []
        inside = f" (in {self.inside})" if self.inside else ""
        return one_line(": ".join([place, self.severity.value, *subject, "; ".join(details)]) + inside)


def one_line(text: str) -> str:
    """`text` with line breaks and control characters written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def path_text(path: Path) -> str:
    """`path` in the form `providers[1].pools[0]`; odd keys are quoted."""
    text = ""
    for step in path:
        if isinstance(step, int) and not isinstance(step, bool):
            text += f"[{step}]"
            continue
        plain = isinstance(step, str) and _PLAIN_KEY.fullmatch(step)
        text += ("." if text else "") + (step if plain else repr(step))
    return text


def shown(value: Any) -> str:
    """`value` as a finding shows it: short, and containers by their kind only (they may hold secrets)."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple, set)):
        return "a list"
    text = repr(value)
    return text if len(text) <= _SHOWN_LENGTH else text[: _SHOWN_LENGTH - 3] + "..."


def kind(value: Any) -> str:
    """What sort of thing `value` is, without showing it: for values that may be secret."""
    names = {
        bool: "a boolean",
        int: "a number",
        float: "a number",
        str: "a text",
        type(None): "nothing (null)",
    }
    names |= {dict: "a mapping", list: "a list"}
    return names.get(type(value), f"a {type(value).__name__}")


def nearest(word: Any, known: Iterable[str]) -> str | None:
    """The one of `known` that `word` is probably a misspelling of, or None."""
    if not isinstance(word, str):
        return None
    by_plain = {_plain(name): name for name in sorted(known)}
    close = difflib.get_close_matches(_plain(word), by_plain, n=1, cutoff=0.7)
    return by_plain[close[0]] if close else None


def did_you_mean(word: Any, known: Iterable[str]) -> str:
    """A hint for a word that is not among `known`, or "" when nothing is near."""
    name = nearest(word, known)
    return f"did you mean {name!r}?" if name else ""


def _plain(word: str) -> str:
    return word.lower().replace("_", "-")


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """`problems` as someone fixes them: by file in the order first seen, then down the file.

    One place of the file that aliases use at many paths gives one finding, at the first of them.
    """
    unique = list(dict.fromkeys(problems))
    files = {name: i for i, name in enumerate(dict.fromkeys(p.file for p in unique))}
    same: dict[Problem, list[Problem]] = {}
    for problem in unique:
        same.setdefault(replace(problem, path=(), inside=""), []).append(problem)
    return tuple(
        sorted((_joined(group) for group in same.values()), key=lambda p: (files[p.file], p.line, p.column))
    )


def _joined(group: Sequence[Problem]) -> Problem:
    first = group[0]
    if len(group) == 1 or not first.path:
        return first
    more = f"the same at {len(group) - 1} more places by alias"
    return replace(first, hint=f"{first.hint}; {more}" if first.hint else more)


def refuse_errors(problems: Sequence[Problem]) -> None:
    """Raises ConfigError with the lines of all `problems` (warnings too) when one of them is an error."""
    ordered = in_order(problems)
    errors = [p for p in ordered if p.severity is Severity.ERROR]
    if not errors:
        return
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    raise ConfigError(f"{errors[0]}{more}", [str(p) for p in ordered])
