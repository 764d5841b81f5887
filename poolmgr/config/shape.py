"""The words a schema is written in: sections with known keys, lists of sections, and values.

voluptuous judges single values. The walk over the file is here, because voluptuous (0.16) has no warnings,
stops a list of mappings at its first bad one, and cannot name the keys that would have been right. A check
never raises: it reports to its `Spot` and returns what was good (`WRONG` when nothing was), so that the checks
after it still see the rest of the file.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Protocol

import voluptuous as vol

from poolmgr.config.document import Document
from poolmgr.config.problem import Path, Problem, Severity, did_you_mean, kind

WRONG: Final = object()


class Spot:
    """A place in a document that findings are reported about; `problems` is shared by all of the document's."""

    def __init__(
        self, document: Document, problems: list[Problem], path: Path = (), *, hidden: bool = False
    ) -> None:
        self.document = document
        self.path = path
        self._problems = problems
        self._hidden = hidden  # values here are secret: findings tell their kind only

    def step(self, *keys: Any, hidden: bool = False) -> Spot:
        """The place below this one."""
        return Spot(self.document, self._problems, (*self.path, *keys), hidden=self._hidden or hidden)

    @property
    def value(self) -> Any:
        """What the file has here; None when it has nothing."""
        return self.document.value(self.path)

    def error(self, what: str, **details: Any) -> None:
        """The file cannot be used. `details` are those of `Document.problem`."""
        self._report(Severity.ERROR, what, details)

    def doubt(self, what: str, **details: Any) -> None:
        """The reference lets it pass and nobody can have meant it: a warning, an error when strict."""
        self._report(self.document.doubtful, what, details)

    def warning(self, what: str, **details: Any) -> None:
        """The file works, perhaps not as expected."""
        self._report(Severity.WARNING, what, details)

    def _report(self, severity: Severity, what: str, details: dict[str, Any]) -> None:
        if self._hidden and details.get("found") is None:
            details["found"] = kind(self.value)
        self._problems.append(self.document.problem(self.path, what, severity=severity, **details))


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """A section as checked: only keys that were given and good, and where it stands."""

    spot: Spot
    values: Mapping[str, Any] = field(default_factory=dict)
    given: frozenset[Any] = frozenset()  # also the keys whose values were wrong

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def __getitem__(self, key: str) -> Any:
        return self.values[key]

    def get(self, key: str, default: Any = None) -> Any:
        """The value of `key`, or `default` when it was not given (or was wrong)."""
        return self.values.get(key, default)

    def parts(self, key: str) -> tuple[Part, ...]:
        """The sections listed under `key`; wrong ones are left out."""
        return tuple(self.values.get(key, ()))

    def at(self, key: str) -> Spot:
        """The place of `key`."""
        return self.spot.step(key)

    def named(self, **fields: str) -> dict[str, Any]:
        """What was given, by other names: `part.named(min_ram_mib="min-ram")`, to fill a record with."""
        return {name: self.values[key] for name, key in fields.items() if key in self.values}

    @property
    def name(self) -> str | None:
        """Its `name`; None when that is missing or wrong, which has been reported."""
        name = self.values.get("name")
        return name if isinstance(name, str) else None


class Shape(Protocol):
    """What a value has to look like."""

    @property
    def empty(self) -> Callable[[], Any] | None:
        """Makes what an explicit null stands for; None where null is wrong."""

    def check(self, value: Any, at: Spot) -> Any:
        """What `value` means, or WRONG; everything found is reported `at` its place."""


@dataclass(frozen=True, kw_only=True)
class Value:
    """One value, judged by a voluptuous schema. `allowed` says the same in words."""

    schema: Any
    allowed: str
    empty: Callable[[], Any] | None = None
    hidden: bool = False  # may be secret

    @cached_property
    def _compiled(self) -> Callable[[Any], Any]:
        return vol.Schema(self.schema)

    def check(self, value: Any, at: Spot) -> Any:
        """The value as voluptuous returns it."""
        try:
            return self._compiled(value)
        except vol.MultipleInvalid as invalid:
            for error in invalid.errors:
                wrong = at.step(*error.path, hidden=self.hidden)
                wrong.error(
                    "wrong value", allowed=self.allowed, hint=_hint(error, wrong, isinstance(value, dict))
                )
            return WRONG


class Advice(vol.Invalid):
    """Raised by a validator that knows better words than `quoting_hint`."""


def _hint(error: vol.Invalid, wrong: Spot, in_mapping: bool) -> str:
    if isinstance(error, Advice):
        return str(error.msg)
    if in_mapping and error.path and not isinstance(error.path[-1], str):
        return f"the key itself is no text: {quoting_hint(error.path[-1])}"
    return quoting_hint(wrong.value)


def quoting_hint(value: Any) -> str:
    """Why YAML may have read `value` as something else than was meant."""
    if isinstance(value, bool):
        return "YAML reads yes, no, on, off, true, false as booleans; quote it to have a text"
    if isinstance(value, (int, float, datetime.date)):
        return "quote it to have a text"
    if isinstance(value, str) and value.strip().lstrip("+-").isdigit():
        return "write a number without quotes"
    return ""


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A whole number in a range. A boolean is one in Python and to the reference, so it is only warned about."""

    unit: str = ""
    low: int | None = None
    high: int | None = None
    empty: None = None

    def check(self, value: Any, at: Spot) -> Any:
        """The number."""
        if isinstance(value, bool):
            at.warning("a boolean where a number belongs", hint=f"it counts as {int(value)}")
        number = self._in_range.check(value, at)
        return number if number is WRONG else int(number)

    @cached_property
    def _in_range(self) -> Value:
        return Value(schema=vol.All(int, vol.Range(min=self.low, max=self.high)), allowed=self._words())

    def _words(self) -> str:
        unit = f" ({self.unit})" if self.unit else ""
        if self.high is not None:
            return f"a whole number{unit} from {self.low} to {self.high}"
        return f"a whole number{unit}" + (f", {self.low} or more" if self.low is not None else "")


@dataclass(frozen=True, kw_only=True)
class OldKey:
    """A key that was once right. `becomes` names the key it is read as; else `refused` tells what to do with it."""

    advice: str
    refused: bool = False
    becomes: str | None = None

    def report(self, at: Spot) -> None:
        """Say so, without the value: old keys hold passwords, too."""
        say = at.error if self.refused else at.warning
        what = "this key is no longer supported" if self.refused else "this key is out of date"
        say(what, found="", hint=self.advice, key=True)


Rule = Callable[[Part], None]


@dataclass(frozen=True, kw_only=True)
class Section:
    """A mapping with known keys. `what` is its name in findings; `rules` look at several of its keys at once."""

    what: str
    keys: Mapping[str, Shape]
    required: frozenset[str] = frozenset()
    old: Mapping[str, OldKey] = field(default_factory=dict)
    advice: Mapping[str, str] = field(
        default_factory=dict
    )  # unknown keys that need better words than "unknown"
    others: Shape | None = None  # of every other key; None: there are no others
    rules: tuple[Rule, ...] = ()
    empty: Callable[[], Any] | None = None

    def check(self, value: Any, at: Spot) -> Any:
        """A Part."""
        if not isinstance(value, dict):
            at.error(f"not a {self.what}", allowed=f"a mapping with the keys {self._known()}")
            return WRONG
        part = Part(spot=at, values=dict(self._taken(value, at)), given=frozenset(value))
        for key in sorted(self.required - value.keys()):
            at.error(f"{key!r} is missing", found="", allowed=f"a {self.what} with {key!r}")
        for rule in self.rules:
            rule(part)
        return part

    def _taken(self, value: Mapping[Any, Any], at: Spot) -> Iterator[tuple[str, Any]]:
        for key, raw in value.items():
            spot = at.step(key)
            name = self._current(key, value, spot)
            shape = self.keys.get(name, self.others if isinstance(name, str) else None)
            if name is None or shape is None:
                continue
            checked = checked_or_empty(shape, raw, spot)
            if checked is not WRONG:
                yield name, checked

    def _current(self, key: Any, value: Mapping[Any, Any], spot: Spot) -> Any:
        """The key that `key` is read as; None when it is not read at all. Says what is to be said about it."""
        if key in self.keys:
            return key
        if key in self.old:
            self.old[key].report(spot)
            becomes = self.old[key].becomes
            return becomes if becomes not in value else None
        if self.others is not None and isinstance(key, str):
            return key
        spot.doubt("unknown key", found="", allowed=self._known(), hint=self._hint(key), key=True)
        return None

    def _hint(self, key: Any) -> str:
        return self.advice.get(key, "") or did_you_mean(key, self.keys)

    def _known(self) -> str:
        return ", ".join(self.keys)


@dataclass(frozen=True, kw_only=True)
class ListOf:
    """A list whose items all have one shape; every bad item is reported, the good ones are kept."""

    item: Shape
    what: str
    empty: Callable[[], Any] | None = tuple

    def check(self, value: Any, at: Spot) -> Any:
        """A tuple of the checked items."""
        if not isinstance(value, list):
            at.error("not a list", allowed=f"a list of {self.what}")
            return WRONG
        checked = (self.item.check(item, at.step(i)) for i, item in enumerate(value))
        return tuple(item for item in checked if item is not WRONG)


def checked_or_empty(shape: Shape, raw: Any, at: Spot) -> Any:
    """`shape.check`, with null as empty (and a warning) where the shape can be empty."""
    if raw is None and shape.empty is not None:
        at.warning("nothing (null) counts as empty here", found="", key=True)
        return shape.empty()
    return shape.check(raw, at)


def frozen(items: list[str]) -> tuple[str, ...]:
    """`items` as settings hold them; to voluptuous `tuple` itself would be a type to insist on."""
    return tuple(items)


FLAG = Value(schema=bool, allowed="true or false")
TEXT = Value(schema=str, allowed="a text")
NAME = Value(schema=vol.All(str, vol.Length(min=1)), allowed="a text that is not empty")
COUNT = Whole()
SECONDS = Whole(unit="seconds", low=0)
PORT = Whole(unit="port", low=1, high=65535)
TEXTS = Value(schema=vol.All([str], frozen), allowed="a list of texts", empty=tuple)
MAPPING = Value(schema={str: object}, allowed="a mapping with texts as keys", empty=dict)
TEXT_MAPPING = Value(schema={str: str}, allowed="a mapping of texts to texts", empty=dict)
