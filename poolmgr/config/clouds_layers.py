"""The layers a cloud's settings are made of, and how they lie over each other (cloud.md 1.2, 1.3).

From low to high: vendor profile, the cloud's entry in clouds.yaml merged with that in secure.yaml, the `values` of
the region. Each value remembers where it was written. Keys are brought to their current names layer by layer, so
that an old spelling in a higher layer covers a new one in a lower.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from poolmgr.config.shape import Spot

#: Options of authentication plugins that findings may show.
_NOT_SECRET = frozenset(
    {"auth_url", "identity_provider", "protocol", "system_scope", "username", "user_id", "auth_methods"}
    | {f"{of}_{by}" for of in ("project", "domain", "user_domain", "project_domain") for by in ("id", "name")}
)

_RENAMED = {
    "auth_plugin": "auth_type",
    "tenant_id": "project_id",
    "tenant_name": "project_name",
    "user_name": "username",
    "cloud": "profile",
}


@dataclass(frozen=True, kw_only=True)
class Given:
    """A value and where it was written. `inherited`: in a vendor profile, so not by this cloud's operator."""

    value: Any
    spot: Spot
    inherited: bool = False

    @property
    def origin(self) -> str:
        """`file:line`, for people."""
        place = self.spot.document.place(self.spot.path)
        return f"{place.file}:{place.line}"


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
            keys[key] = Given(value=value, spot=given.spot)
        return Layer(keys=keys, auth={**self.auth, **other.auth})


def deep(low: Any, high: Any) -> Any:
    """`high` over `low`; mappings merge, all else is replaced."""
    if not (isinstance(low, dict) and isinstance(high, dict)):
        return high
    return {**low, **{key: deep(low[key], value) if key in low else value for key, value in high.items()}}


def read_layer(spot: Spot, *, inherited: bool = False) -> Layer:
    """The mapping at `spot`; an empty layer if there is nothing. Whatever else is there is reported."""
    if spot.value is None:
        return Layer()
    if not isinstance(spot.value, dict):
        spot.error("not a mapping", allowed="a mapping of the cloud's settings")
        return Layer()
    keys = dict(_renamed(spot, inherited))
    auth = keys.pop("auth", None)
    return Layer(keys=keys, auth=_auth(auth, inherited) if auth else {})


def _auth(given: Given, inherited: bool) -> dict[str, Given]:
    if given.value is None:
        return {}
    if not isinstance(given.value, dict):
        given.spot.error("not a mapping", allowed="a mapping of the plugin's options", found="")
        return {}
    return {name: hidden(name, option) for name, option in _renamed(given.spot, inherited)}


def hidden(name: str, option: Given) -> Given:
    """An option of an authentication plugin, whose value no finding shows if it may be secret."""
    if name in _NOT_SECRET:
        return option
    return Given(value=option.value, spot=option.spot.step(hidden=True), inherited=option.inherited)


def _renamed(spot: Spot, inherited: bool) -> Iterator[tuple[str, Given]]:
    seen: dict[str, Any] = {}
    for key, value in spot.value.items():
        at = spot.step(key)
        if not isinstance(key, str):
            at.error("the key is no text", found="", hint="quote it", key=True)
            continue
        name = current_name(key)
        if name in seen:
            at.doubt(f"the same as {seen[name]!r} above", found="", hint="this one counts", key=True)
        seen[name] = key
        yield name, Given(value=value, spot=at, inherited=inherited)


def current_name(key: str) -> str:
    """Today's name of a key of a cloud: `endpoint-type` is `interface`."""
    name = key.replace("-", "_")
    name = _RENAMED.get(name, name)
    if name.endswith("endpoint_type"):
        return name.removesuffix("endpoint_type") + "interface"
    if name.endswith("_timeout") and name != "api_timeout":
        return "api_timeout"
    return name


def region_layers(layer: Layer) -> dict[str, Layer]:
    """The regions that `layer` lists, in its order, each with its `values`; empty when it lists none.

    Entries that are wrong are reported and left out.
    """
    listed = layer.keys.get("regions")
    if listed is not None and listed.value is not None and not isinstance(listed.value, list):
        listed.spot.error("not a list", allowed="a list of region names, or of {name, values}")
        return {}
    if listed is not None and listed.value:
        return dict(_listed_regions(listed))
    single = layer.keys.get("region_name")
    if single is None or not isinstance(single.value, str):
        return {}
    names = [name.strip() for name in single.value.split(",")]
    if len(names) > 1:
        single.spot.warning("a list of regions in 'region_name' is out of date", hint="use 'regions'")
    return {name: Layer() for name in names if name}


def _listed_regions(listed: Given) -> Iterator[tuple[str, Layer]]:
    seen: set[str] = set()
    for position, entry in enumerate(listed.value):
        spot = listed.spot.step(position)
        name = entry.get("name") if isinstance(entry, dict) else entry
        if not isinstance(name, str) or not name:
            spot.error("a region without a name", allowed="a text, or a mapping with 'name' and 'values'")
            continue
        if name in seen:
            spot.error(f"region {name} is listed twice", found="")
        seen.add(name)
        yield name, _values(entry, spot, listed.inherited)


def _values(entry: Any, spot: Spot, inherited: bool) -> Layer:
    if not isinstance(entry, dict):
        return Layer()
    for key in entry.keys() - {"name", "values"}:
        spot.step(key).error("unknown key of a region", found="", allowed="name, values", key=True)
    return read_layer(spot.step("values"), inherited=inherited)
