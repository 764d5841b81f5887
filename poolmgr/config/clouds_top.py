"""What clouds.yaml and its companions say besides their clouds, and whether they can be used at all.

`poolmgr` at the top of clouds.yaml is ours; other tools pass it over.
"""

from __future__ import annotations

from dataclasses import dataclass

from poolmgr.config.clouds_environ import environment_defaults
from poolmgr.config.clouds_files import CloudFiles
from poolmgr.config.clouds_keys import EXPIRATIONS
from poolmgr.config.clouds_layers import Given, Layer
from poolmgr.config.document import Document
from poolmgr.config.problem import Problem, did_you_mean
from poolmgr.config.shape import FLAG, Part, Section, Spot, quoting_hint

_TOP_KEYS = ("cache", "client", "metrics", "poolmgr")

_OURS = Section(what="section", keys={"env": FLAG, "remote_profiles": FLAG})


@dataclass(frozen=True, kw_only=True)
class Ours:
    """The section `poolmgr` of clouds.yaml."""

    env: bool = False  # the OS_* variables are read
    remote_profiles: bool = False  # a profile may be the URL of a vendor


def check_files(files: CloudFiles, problems: list[Problem]) -> None:
    """The keys of each file as a whole. Afterwards clouds are mappings by name, or an error is reported."""
    for document, section in (
        (files.clouds, "clouds"),
        (files.secure, "clouds"),
        (files.public, "public-clouds"),
    ):
        if document is not None:
            _check_top(document, section, problems)


def read_ours(files: CloudFiles, problems: list[Problem]) -> Ours:
    """Our own section."""
    if files.clouds is None:
        return Ours()
    spot = Spot(files.clouds, problems, ("poolmgr",))
    part = _OURS.check(spot.value, spot) if spot.value is not None else None
    return Ours(**part.values) if isinstance(part, Part) else Ours()


def read_defaults(files: CloudFiles, environment: Document | None, problems: list[Problem]) -> Layer:
    """What clouds.yaml, and the environment if it is read, say of all clouds."""
    said = environment_defaults(environment, problems) if environment else Layer()
    if files.clouds is None:
        return said
    top = Spot(files.clouds, problems)
    spots = {
        "force_ipv4": top.step("client", "force_ipv4"),
        "metrics": top.step("metrics"),
        "cache": top.step("cache"),
    }
    keys = {key: Given(value=spot.value, spot=spot) for key, spot in spots.items() if spot.value is not None}
    return Layer(keys=keys).under(said)


def check_secrets(files: CloudFiles, problems: list[Problem]) -> None:
    """Secrets for a cloud of another name are mostly a misspelling."""
    clouds, secret = (
        (document.data or {}).get("clouds") or {} if document else {}
        for document in (files.clouds, files.secure)
    )
    for name in secret:
        if files.secure is not None and name not in clouds:
            spot = Spot(files.secure, problems, ("clouds", name), hidden=True)
            spot.doubt("no other file has this cloud", found="", hint=did_you_mean(name, clouds), key=True)


def _check_top(document: Document, section: str, problems: list[Problem]) -> None:
    top = Spot(document, problems)
    if document.data is None:
        return  # empty, or reported with the file
    if not isinstance(document.data, dict):
        top.error("not a mapping", allowed=f"a mapping with the key {section!r}")
        return
    for key in document.data.keys() - {section, *_TOP_KEYS}:
        if hint := did_you_mean(key, (section, *_TOP_KEYS)):  # others may hold anchors
            top.step(key).doubt("unknown key", found="", hint=hint, key=True)
    clouds = top.step(section)
    if clouds.value is not None and not isinstance(clouds.value, dict):
        clouds.error("not a mapping", allowed="a mapping of clouds by name")
        return
    for name in clouds.value or {}:
        if not isinstance(name, str):
            clouds.step(name).error("the name is no text", found="", hint=quoting_hint(name), key=True)
    _check_cache(top.step("cache"))


def _check_cache(cache: Spot) -> None:
    if not isinstance(cache.value, dict):
        return
    expiration = cache.value.get("expiration")
    kinds = expiration if isinstance(expiration, dict) else {}
    if cache.value.keys() - {"expiration"} or any(
        str(kind).replace("_", "-") not in EXPIRATIONS for kind in kinds
    ):
        what = f"only 'expiration' of {', '.join(EXPIRATIONS)} means something here"
        cache.warning(what, found="", key=True)
