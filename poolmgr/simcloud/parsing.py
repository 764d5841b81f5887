"""Records from plain mappings, as YAML and JSON give them; what does not fit raises ConfigError with its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar, get_type_hints

from poolmgr.errors import ConfigError

R = TypeVar("R")


def record(kind: type[R], values: Mapping[str, Any], where: str) -> R:
    """`kind` made of `values`; a key it has no field for is an error that names the known ones."""
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(set(values) - known):
        raise ConfigError(f"{where}: unknown {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    hints = get_type_hints(kind)
    for key, value in values.items():
        check(hints[key], value, f"{where}.{key}")
    try:
        return kind(**values)
    except TypeError as error:
        raise ConfigError(f"{where}: {error}") from error


def check(hint: Any, value: Any, where: str) -> None:
    """Raises ConfigError when a plain value is not of the kind that `hint` says; other hints are not looked at."""
    allowed, words = _PLAIN.get(hint, (object, ""))
    if not isinstance(value, allowed) or (isinstance(value, bool) and hint in (int, float, float | None)):
        raise ConfigError(f"{where}: must be {words}, not {value!r}")


_STRINGS = tuple[str, ...]
_PLAIN: Mapping[Any, tuple[Any, str]] = {
    float: ((int, float), "a number"),
    float | None: ((int, float, type(None)), "a number"),
    int: (int, "a whole number"),
    int | None: ((int, type(None)), "a whole number"),
    str: (str, "text"),
    bool: (bool, "true or false"),
    bool | None: ((bool, type(None)), "true or false"),
    str | None: ((str, type(None)), "text"),
    _STRINGS: (tuple, "a list"),
    _STRINGS | None: ((tuple, type(None)), "a list"),
}


def mapping(body: Any, where: str, *, keep: bool = False) -> dict[str, Any]:
    """A copy of `body` with `-` in its keys made `_`, unless they are names to `keep`."""
    if not isinstance(body, Mapping):
        raise ConfigError(f"{where}: must be a mapping")
    return {str(k) if keep else str(k).replace("-", "_"): v for k, v in body.items()}


def tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}


def part(kind: type[Any], body: Any, where: str) -> dict[str, Any]:
    """Some fields of `kind`, checked as `record` does it."""
    values = tuples(mapping(body or {}, where))
    record(kind, values, where)
    return values
