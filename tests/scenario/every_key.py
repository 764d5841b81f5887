"""How it is shown that a key of the configuration acts: a file with it and one without it, and what differs then.

A path names a section and a key: `openstack.pools.labels.min-ram`. In lists it means the first item; `openstack` and
`static` are the two providers of `BASE`, and `secure` is the secure file.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from poolmgr.config.load import load
from poolmgr.config.schema import DRIVERS, MAIN, SECURE
from poolmgr.config.schema_validation import SECTION as VALIDATION
from poolmgr.config.settings import OpenStackProvider, Settings, StaticProvider
from poolmgr.config.shape import ListOf, Section
from poolmgr.policy.tuning import Tuning
from tests.scenario.harness import Process, Site
from tests.scenario.static_site import StaticSite

ABSENT: Final = object()
FREE_NAME = "cores"  # of the keys that a schema does not name, the one that is tried
TUNING = Tuning(
    sweep_interval=5.0,
    leak_age=30.0,
    idle_port_age=20.0,
    idle_floating_ip_age=20.0,
    broken_retry=3600.0,
)

BASE: Mapping[str, Any] = {
    "zookeeper-servers": [{"host": "zk"}],
    "zookeeper-plaintext": True,
    "labels": [{"name": "small"}, {"name": "bare"}],
    "diskimages": [{"name": "img"}],
    "providers": [
        {
            "name": "north",
            "cloud": "north",
            "rate": 0,
            "diskimages": [{"name": "img"}],
            "cloud-images": [{"name": "debian-12"}],
            "pools": [
                {
                    "name": "main",
                    "labels": [{"name": "small", "cloud-image": "debian-12", "flavor-name": "small"}],
                }
            ],
        },
        {
            "name": "racks",
            "driver": "static",
            "pools": [{"name": "main", "nodes": [{"name": "h1", "labels": ["bare"]}]}],
        },
    ],
}
SECURE_BASE: Mapping[str, Any] = {"diskimages": [{"name": "img", "env-vars": {}}]}
_PLACES = {"openstack": ("providers", 0), "static": ("providers", 1)}


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key with a value that is not the default, and what both files make of it.

    `other`: the value in the other file; by default the key is not there. `along` is put into both files, `only` into
    the one with the key: values by path.
    """

    path: str
    value: Any
    other: Any = ABSENT
    along: Mapping[str, Any] = field(default_factory=dict)
    only: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.path

    def settings(self, directory: Path, *, given: bool) -> Settings:
        """Of the file with the key, or of the other one, by the real loader."""
        main, secure = copy.deepcopy(dict(BASE)), copy.deepcopy(dict(SECURE_BASE))
        changes = {**self.along, **(self.only if given else {})}
        changes[self.path] = self.value if given else self.other
        for path, value in changes.items():
            put(secure if path.startswith("secure.") else main, path.removeprefix("secure."), value)
        for name, body in (("m.yaml", main), ("s.yaml", secure)):
            (directory / name).write_text(yaml.safe_dump(body))
        loaded = load(
            str(directory / "m.yaml"),
            secure=str(directory / "s.yaml") if self.path.startswith("secure.") else None,
            environ={},
            check_clouds=False,
        )
        return loaded.settings


@dataclass(frozen=True, kw_only=True)
class Acts(Key):
    """`look` is called with the settings of each file, and must see `seen` and `otherwise`."""

    look: Callable[[Settings], Any]
    seen: Any
    otherwise: Any


@dataclass(frozen=True, kw_only=True)
class Elsewhere(Key):
    """Here only the settings have to differ, in `field`; `test` shows that it acts.

    The test's text has `word` in it; by default the field, or the key.
    """

    field: str
    test: str
    word: str = ""


def put(document: dict[str, Any], path: str, value: Any) -> None:
    """Set or, with ABSENT, remove what is at `path`. Sections that are not there are made."""
    first, *rest = path.split(".")
    place: Any = document
    if first in _PLACES:
        place, keys = document[_PLACES[first][0]][_PLACES[first][1]], rest
    else:
        keys = [first, *rest]
    for key in keys[:-1]:
        place = place.setdefault(key, [{}] if key in _LISTS else {})
        if isinstance(place, list):
            place = place[0]
    if keys[-1] == "*":
        keys[-1] = FREE_NAME
    if value is ABSENT:
        place.pop(keys[-1], None)
    else:
        place[keys[-1]] = value


def paths() -> Iterator[str]:
    """Every key of the schemas of both files that holds no keys of its own."""
    yield from _paths("", MAIN)
    for name, section in DRIVERS.items():
        yield from _paths(f"{name}.", section)
    yield from _paths("secure.", SECURE)


def _paths(prefix: str, section: Section) -> Iterator[str]:
    for key, shape in section.keys.items():
        if prefix + key == "providers":
            continue
        inner = shape.item if isinstance(shape, ListOf) else shape
        if prefix + key == "diskimages.validate":
            inner = VALIDATION
        if isinstance(inner, Section):
            yield from _paths(f"{prefix}{key}.", inner)
        else:
            yield prefix + key
    if section.others is not None:
        yield f"{prefix}*"


def _list_keys(section: Section) -> Iterator[str]:
    for key, shape in section.keys.items():
        if isinstance(shape, ListOf):
            yield key
            if isinstance(shape.item, Section):
                yield from _list_keys(shape.item)


_LISTS = {key for section in (MAIN, SECURE, *DRIVERS.values()) for key in _list_keys(section)}


def differing(one: Any, other: Any, name: str = "") -> set[str]:
    """The names of the fields in which two settings differ, at any depth."""
    if one == other:
        return set()
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        if one.keys() != other.keys():
            return {name}
        return {f for key in one for f in differing(one[key], other[key], name)} or {name}
    if type(one) is type(other) and hasattr(one, "__dataclass_fields__"):
        return {f for n in one.__dataclass_fields__ for f in differing(getattr(one, n), getattr(other, n), n)}
    if isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other):
        return {f for a, b in zip(one, other, strict=True) for f in differing(a, b, name)}
    return {name}


def source_of(test: str) -> str:
    """The text of a test given as `file::name`, with what it is parametrized by; "" if there is none."""
    path, _, name = test.partition("::")
    file = Path(__file__).parents[2] / path
    text = file.read_text() if file.is_file() else ""
    for found in ast.walk(ast.parse(text)):
        if isinstance(found, ast.FunctionDef) and found.name == name:
            begin = min([found.lineno, *(one.lineno for one in found.decorator_list)])
            return "\n".join(text.splitlines()[begin - 1 : found.end_lineno])
    return ""


class Seen:
    """A launcher on the settings' openstack providers, in a world with the clouds they name."""

    def __init__(self, settings: Settings, **cloud: Any) -> None:
        providers = [p for p in settings.providers.values() if isinstance(p, OpenStackProvider)]
        self.site = Site(
            {one.cloud or one.name: cloud for one in providers},
            providers,
            labels=settings.labels.values(),
            tenants=settings.tenants.values(),
            tuning=TUNING,
            max_hold_age=settings.max_hold_age,
            fair_tenants=settings.fair_tenants,
            idle_hold=settings.idle_hold,
        )
        self.far = self.site.world.clouds[providers[0].cloud or providers[0].name]

    def begin(self) -> Process:
        self.process = self.site.start()
        return self.process

    def run(
        self, count: int = 1, *, labels: tuple[str, ...] = ("small",), seconds: float = 30.0, **more: Any
    ) -> Seen:
        """Ask for `count` times `labels` and let `seconds` pass."""
        if not self.site.processes:
            self.begin()
        self.requests = [self.site.submit(*labels, **more) for _ in range(count)]
        self.site.run(lambda: self.site.settled(*self.requests), seconds=seconds)
        return self

    @property
    def fulfilled(self) -> int:
        return sum(self.site.fulfilled(request) for request in self.requests)

    @property
    def states(self) -> set[str]:
        return {state.value for state in map(self.site.state, self.requests) if state}

    @property
    def node(self) -> Any:
        (node,) = self.site.nodes()
        return node

    @property
    def server(self) -> Any:
        (server,) = self.far.compute.servers.values()
        return server


class SeenStatic:
    """The same of the static provider."""

    def __init__(self, settings: Settings) -> None:
        (provider,) = (p for p in settings.providers.values() if isinstance(p, StaticProvider))
        self.site = StaticSite(provider, labels=settings.labels.values(), tuning=TUNING)
        self.process = self.site.start()
        self.site.run(seconds=10.0)

    @property
    def nodes(self) -> list[Any]:
        return list(self.site.nodes())

    @property
    def node(self) -> Any:
        (node,) = self.site.nodes()
        return node

    @property
    def looks(self) -> list[tuple[int, str, float]]:
        """Port, connection type and timeout of each look at a host."""
        return [look for machine in self.site.machines.values() for look in machine.asked]

    def ask(self, label: str = "bare") -> str:
        """The state of a request, some time after it was made."""
        request = self.site.submit(label)
        self.site.run(seconds=5.0)
        return str(self.site.state(request).value)
