"""The layers a cloud's settings are made of, and how they lie over each other (cloud.md 1.2).

From low to high: vendor profile, the cloud's entry in clouds.yaml merged with that in secure.yaml (or the OS_*
variables), the `values` of the region, the caller's arguments. Each value remembers where it was written. Keys are
brought to their current names layer by layer, so that an old spelling in a higher layer covers a new one in a lower.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from poolmgr.config.clouds_plugins import OPTIONS, SECRETS
from poolmgr.config.shape import Spot

_RENAMED = {
    "auth_plugin": "auth_type",
    "tenant_id": "project_id",
    "tenant_name": "project_name",
    "user_name": "username",
    "cloud": "profile",
}


@dataclass(frozen=True, kw_only=True)
class Given:
    """A value and where it was written.

    `inherited`: in a vendor profile or the environment, so perhaps not with this cloud in mind. `label` is what
    `origin` says, with the place for `@`.
    """

    value: Any
    spot: Spot
    inherited: bool = False
    label: str = "@"

    @property
    def origin(self) -> str:
        """Who set it, for people: `file:line` mostly."""
        place = self.spot.document.place(self.spot.path)
        where = f"{place.file}:{place.line}" if place.line else place.file
        return self.label.replace("@", where, 1)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Keys by their current names; those of `auth` apart, as they merge one by one and all others as wholes."""

    keys: Mapping[str, Given] = field(default_factory=dict)
    auth: Mapping[str, Given] = field(default_factory=dict)

    def under(self, other: Layer, *, nulls_cover: bool = True) -> Layer:
        """Both together, `other` on top. `nulls_cover` False: its nulls say nothing."""
        top = {key: given for key, given in other.keys.items() if nulls_cover or given.value is not None}
        auth = {key: given for key, given in other.auth.items() if nulls_cover or given.value is not None}
        return Layer(keys={**self.keys, **top}, auth={**self.auth, **auth})

    def merged_with(self, other: Layer) -> Layer:
        """Both together, mappings merged at every depth: how secure.yaml completes clouds.yaml."""
        keys = dict(self.keys)
        for key, given in other.keys.items():
            below = keys.get(key)
            value = deep(below.value, given.value) if below else given.value
            keys[key] = replace(given, value=value)
        return Layer(keys=keys, auth={**self.auth, **other.auth})


def deep(low: Any, high: Any) -> Any:
    """`high` over `low`; mappings merge, all else is replaced."""
    if not (isinstance(low, dict) and isinstance(high, dict)):
        return high
    return {**low, **{key: deep(low[key], value) if key in low else value for key, value in high.items()}}


def read_layer(spot: Spot, *, inherited: bool = False, label: str = "@") -> Layer:
    """The mapping at `spot`; an empty layer if there is nothing. Whatever else is there is reported.

    `inherited` and `label` as in `Given`.
    """
    if spot.value is None:
        return Layer()
    if not isinstance(spot.value, dict):
        spot.error("not a mapping", allowed="a mapping of the cloud's settings")
        return Layer()
    keys = {
        name: replace(given, inherited=inherited, label=label) for name, given in _renamed(spot, current_name)
    }
    auth = keys.pop("auth", None)
    return Layer(keys=keys, auth=_auth(auth) if auth else {})


def _auth(given: Given) -> dict[str, Given]:
    if given.value is None:
        return {}
    if not isinstance(given.value, dict):
        given.spot.error("not a mapping", allowed="a mapping of the plugin's options", found="")
        return {}
    return {
        name: hidden(name, replace(given, value=option.value, spot=option.spot))
        for name, option in _renamed(given.spot, _option_name)
    }


def hidden(name: str, option: Given) -> Given:
    """An option of an authentication plugin, whose value no finding shows if it may be secret."""
    if name in OPTIONS - SECRETS:
        return option
    return replace(option, spot=option.spot.step(hidden=True))


def _renamed(spot: Spot, name_of: Callable[[str], str]) -> Iterator[tuple[str, Given]]:
    seen: dict[str, Any] = {}
    for key, value in spot.value.items():
        at = spot.step(key)
        if not isinstance(key, str):
            at.error("the key is no text", found="", hint="quote it", key=True)
            continue
        name = name_of(key)
        if name in seen:
            at.doubt(f"the same as {seen[name]!r} above", found="", hint="this one counts", key=True)
        seen[name] = key
        yield name, Given(value=value, spot=at)


def _option_name(key: str) -> str:
    """Today's name of an option in `auth`."""
    name = key.replace("-", "_")
    return _RENAMED.get(name, name)


def current_name(key: str) -> str:
    """Today's name of a key of a cloud: `endpoint-type` is `interface`."""
    name = _option_name(key)
    if name.endswith("endpoint_type"):
        return name.removesuffix("endpoint_type") + "interface"
    if name.endswith("_timeout") and name != "api_timeout":
        return "api_timeout"
    return name
