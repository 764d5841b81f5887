"""The regions of a cloud, each with keys of its own, and which of them is meant (cloud.md 1.3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from poolmgr.config.clouds_layers import Given, Layer, read_layer
from poolmgr.config.problem import did_you_mean
from poolmgr.config.shape import Spot


@dataclass(frozen=True, kw_only=True)
class Region:
    """The region that is meant. `origin` says who chose it; `known` are all that the files know."""

    name: str | None  # None: the cloud's only one, not named
    origin: str
    known: Mapping[str, Layer]

    @property
    def values(self) -> Layer:
        """Its own keys."""
        return self.known.get(self.name or "", Layer())


def region_of(own: Layer, profile: Layer, *, asked: str | None, asked_by: str, entry: Spot) -> Region:
    """The region that a cloud is used in: the one `asked` for, else its first.

    One that is not among those known is reported at the cloud's `entry`. Where none are known any name may be right.
    """
    known = region_layers(own, profile)
    if asked is None:
        keys = (layer.keys.get(key) for layer in (own, profile) for key in ("regions", "region_name"))
        origin = next((given.origin for given in keys if given is not None and given.value), "default")
        return Region(name=next(iter(known), None), origin=origin, known=known)
    if known and asked not in known:
        hint = did_you_mean(asked, known) or "names are case-sensitive"
        entry.error(f"it has no region {asked!r}", found="", allowed=", ".join(known), hint=hint)
    return Region(name=asked, origin=asked_by, known=known)


def region_layers(own: Layer, profile: Layer) -> dict[str, Layer]:
    """The known regions of a cloud, in order, each with its `values`; empty when no list is known.

    The cloud's own `regions` count, else the names in its `region_name`, else what its profile has of either. A
    region that the cloud merely names has the profile's values. Entries that are wrong are reported and left out.
    """
    listed = _listed(own)
    if listed is not None:
        return listed
    offered = _listed(profile)
    named = {name: (offered or {}).get(name, Layer()) for name in _named(own)}
    return named or offered or {name: Layer() for name in _named(profile)}


def _listed(layer: Layer) -> dict[str, Layer] | None:
    """The regions in `regions`; None when there is no such list."""
    listed = layer.keys.get("regions")
    if listed is None or not listed.value:
        return None
    if not isinstance(listed.value, list):
        listed.spot.error("not a list", allowed="a list of region names, or of {name, values}")
        return {}
    return dict(_listed_regions(listed))


def _named(layer: Layer) -> list[str]:
    """The regions in `region_name`."""
    single = layer.keys.get("region_name")
    if single is None or not isinstance(single.value, str):
        return []
    names = [name.strip() for name in single.value.split(",")]
    if len(names) > 1:
        single.spot.warning("a list of regions in 'region_name' is out of date", hint="use 'regions'")
    return [name for name in names if name]


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
        yield name, _values(entry, spot, listed, f"{listed.label}, values of region {name}")


def _values(entry: Any, spot: Spot, listed: Given, label: str) -> Layer:
    if not isinstance(entry, dict):
        return Layer()
    for key in entry.keys() - {"name", "values"}:
        spot.step(key).error("unknown key of a region", found="", allowed="name, values", key=True)
    return read_layer(spot.step("values"), inherited=listed.inherited, label=label)
