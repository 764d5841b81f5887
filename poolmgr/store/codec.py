"""Records as znode data and back: one JSON object each, UTF-8, no envelope (zookeeper.md 2).

One codec serves all records. It reads a dataclass's fields once and keeps a table of them, so a new field
is one line in the model. What the wire has and the model has not (old spellings, defaults for absent keys
that differ from those of new records, keys that are left out) is in `_RULES`, and nowhere else. Fields that are
poolmgr's own (`model.image.OURS`) are left out while they say no more than their default.
"""

from __future__ import annotations

import enum
import functools
import json
import math
import operator
import types
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, NamedTuple, TypeVar

from poolmgr.errors import BadRecord
from poolmgr.model.component import Component, ComponentKind, ComponentState
from poolmgr.model.image import Build
from poolmgr.model.node import Node

R = TypeVar("R")
Reader = Callable[[Any], Any]

#: ZooKeeper drops the connection of whoever sends more than 1 MiB (jute.maxbuffer), so we refuse before.
MAX_BYTES = 1_000_000

_ABSENT: Any = object()


def decode(kind: type[R], data: bytes, /, **unstored: Any) -> R:
    """The `kind` in `data`, with its `unstored` fields as given.

    Keys we don't know go to `extra` and are written back as they came. Raises BadRecord when `data` is not
    such a record: empty, not a JSON object, an unknown state, a value of a wrong type.
    """
    body = _parsed(kind, data)
    table = _table(kind)
    for key, old_key in table.rules.old_keys.items():
        value = body.pop(old_key, _ABSENT)
        if value is not _ABSENT:
            body.setdefault(key, value)
    take = body.pop
    key = ""
    try:
        for name, key, plain, read, absent in table.fields:
            value = take(key, _ABSENT)
            if type(value) in plain:
                unstored[name] = value
            elif value is _ABSENT:
                if absent is _ABSENT:
                    raise ValueError("is missing")
                unstored[name] = absent
            else:
                unstored[name] = read(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise BadRecord(f"not a {kind.__name__}: {key} {error}") from error
    unstored["extra"] = body
    return kind(**unstored)


def encode(record: Any) -> bytes:
    """`record` as znode bytes, with every stored key that must be there and all of its `extra`.

    Raises BadRecord when it is too large for ZooKeeper or holds what JSON cannot say.
    """
    table = _table(type(record))
    body = dict(zip(table.keys, table.values(record), strict=True))
    for key, old_key in table.rules.old_keys.items():
        body[old_key] = body[key]
    if table.rules.omit is not None:
        for key in table.rules.omit(record):
            del body[key]
    for key, default in table.ours:
        if body[key] == default:
            del body[key]
    if record.extra:
        body = {**record.extra, **body}
    if table.rules.sort_keys:
        body = dict(sorted(body.items()))
    try:
        data = _ENCODER.encode(body).encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise BadRecord(f"cannot store {type(record).__name__}: {error}") from error
    if len(data) > MAX_BYTES:
        raise BadRecord(f"cannot store {type(record).__name__}: {len(data)} bytes, at most {MAX_BYTES} fit")
    return data


def _parsed(kind: type, data: bytes) -> dict[str, Any]:
    try:
        body = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise BadRecord(f"not a {kind.__name__}: {data[:80]!r} is not JSON") from error
    if type(body) is not dict:
        raise BadRecord(f"not a {kind.__name__}: {data[:80]!r} is not a JSON object")
    return body


def _plain(value: Any) -> Any:
    """What json cannot write by itself: enums, read-only mappings, and dates from YAML files."""
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no form in JSON")


_ENCODER = json.JSONEncoder(default=_plain, separators=(",", ":"))


# What differs between a record's class and its znodes


@dataclass(frozen=True, kw_only=True)
class _Rules:
    absent: Mapping[str, Any] = field(default_factory=dict)  # by key, where not the field's own default
    old_keys: Mapping[str, str] = field(default_factory=dict)  # current key: old key, always written too
    readers: Mapping[str, Reader] = field(default_factory=dict)  # by key, in place of the type's own
    omit: Callable[[Any], Collection[str]] | None = None  # keys to leave out
    sort_keys: bool = False


def _labels(value: Any) -> tuple[str, ...]:
    """Very old nodes have their only label as a plain string."""
    return (value,) if isinstance(value, str) else _strings(value)


def _hold_seconds(value: Any) -> Any:
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return value
    return 0


def _component_state(value: Any) -> ComponentState:
    """A state we don't know still means that the component is there: its vote counts."""
    try:
        return ComponentState(value)
    except ValueError:
        return ComponentState.RUNNING


_POOL_KEYS = ("id", "name", "provider_name", "supported_labels", "priority", "paused")


def _keys_of_pools(component: Component) -> Collection[str]:
    return () if component.kind is ComponentKind.POOL else _POOL_KEYS


def _empty_keys_of_build(build: Build) -> Collection[str]:
    return [key for key in ("builder", "builder_id", "formats") if not getattr(build, key)]


_RULES: Mapping[type, _Rules] = {
    Node: _Rules(
        absent={"username": "zuul"},
        old_keys={"connection_port": "ssh_port"},
        readers={"type": _labels, "hold_expiration": _hold_seconds},
    ),
    Build: _Rules(omit=_empty_keys_of_build),
    Component: _Rules(
        absent={"state": ComponentState.RUNNING},
        readers={"state": _component_state},
        omit=_keys_of_pools,
        sort_keys=True,
    ),
}


# Tables of fields


class _Field(NamedTuple):
    name: str
    key: str
    plain: Collection[type]  # values of these types are taken as they are
    read: Reader  # makes a value of any other
    absent: Any  # the value when the key is absent; _ABSENT: it is required


class _Table(NamedTuple):
    fields: tuple[_Field, ...]
    keys: tuple[str, ...]
    ours: tuple[tuple[str, Any], ...]  # keys that only poolmgr writes, with their defaults
    values: Callable[[Any], tuple[Any, ...]]
    rules: _Rules


_TABLES: dict[type, _Table] = {}


def _values(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    """What gets these fields of a record; `attrgetter` returns no tuple when it is asked for one alone."""
    if len(names) == 1:
        return lambda record: (getattr(record, names[0]),)
    return operator.attrgetter(*names)


def _table(kind: type) -> _Table:
    table = _TABLES.get(kind)
    if table is None:
        table = _TABLES[kind] = _make_table(kind)
    return table


def _make_table(kind: type) -> _Table:
    rules = _RULES.get(kind, _Rules())
    hints = typing.get_type_hints(kind)
    table, ours = [], []
    for item in fields(kind):
        if not item.metadata.get("stored", True):
            continue
        key = item.metadata.get("key", item.name)
        required = key == "state" and key not in rules.absent
        absent = _ABSENT if required else rules.absent.get(key, _default(item))
        if absent is MISSING:
            raise TypeError(f"{kind.__name__}.{item.name} has no default: old daemons wrote no such key")
        if key in rules.readers:
            plain, read = frozenset[type](), rules.readers[key]
        else:
            plain, read = _reader(hints[item.name], absent)
        table.append(_Field(item.name, key, plain, read, absent))
        if item.metadata.get("ours"):
            ours.append((key, absent))
    return _Table(
        fields=tuple(table),
        keys=tuple(f.key for f in table),
        ours=tuple(ours),
        values=_values([f.name for f in table]),
        rules=rules,
    )


def _default(item: Field[Any]) -> Any:
    """What a field is that nobody gave; one object for all records, which do not change."""
    return item.default if item.default_factory is MISSING else item.default_factory()


def _reader(hint: Any, absent: Any) -> tuple[frozenset[type], Reader]:
    """What accepts a JSON value as one of type `hint`. Where None is not of that type, null means absent."""
    if hint is Any:
        return _JSON_TYPES, _as_it_is
    inner, instead = hint, absent
    if isinstance(hint, types.UnionType):
        (inner,) = [part for part in typing.get_args(hint) if part is not types.NoneType]
        instead = None
    plain, read = _plain_reader(inner)
    if instead is _ABSENT:
        return plain, read
    if instead is None:
        plain |= {types.NoneType}
    return plain, lambda value: instead if value is None else read(value)


def _plain_reader(hint: Any) -> tuple[frozenset[type], Reader]:
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        members = {member.value: member for member in hint}
        return frozenset(), functools.partial(_member, members)
    return _READERS[typing.get_origin(hint) or hint]


def _as_it_is(value: Any) -> Any:
    return value


def _member(members: Mapping[Any, enum.Enum], value: Any) -> enum.Enum:
    member = members.get(value)
    if member is None:
        raise ValueError(f"is unknown: {value!r}")
    return member


def _expected(what: str) -> Reader:
    def refuse(value: Any) -> Any:
        raise ValueError(f"is not {what}: {value!r}")

    return refuse


def _strings(value: Any) -> tuple[str, ...]:
    if type(value) is list and all(type(item) is str for item in value):
        return tuple(value)
    if value is None:
        return ()
    raise ValueError(f"is not a list of strings: {value!r}")


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"is not a number: {value!r}")
    return typing.cast(float, value)


def _whole_number(value: Any) -> int:
    if type(value) is float and value.is_integer():
        return int(value)
    raise ValueError(f"is not a whole number: {value!r}")


_JSON_TYPES = frozenset({types.NoneType, bool, int, float, str, list, dict})

_READERS: Mapping[Any, tuple[frozenset[type], Reader]] = {
    str: (frozenset({str}), _expected("a string")),
    tuple: (frozenset(), _strings),
    float: (frozenset(), _number),
    int: (frozenset({int}), _whole_number),
    bool: (frozenset({bool}), _expected("true or false")),
    Mapping: (frozenset({dict}), _expected("an object")),
}
