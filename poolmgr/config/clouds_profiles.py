"""Vendor profiles: what is known of public clouds, so that a cloud's entry needs little more than a login (cloud.md 2).

A profile is looked for in the site's clouds-public.yaml, then among those bundled in profiles.yaml (read when one is
named, not before), and if it is a URL, its vendor is asked. All three have the keys of a cloud, and `status` and
`message` for the day the vendor closes.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Protocol
from urllib.parse import urlsplit

from poolmgr.config.clouds_assemble import checked
from poolmgr.config.clouds_keys import NETWORKS
from poolmgr.config.clouds_layers import Given, Layer, read_layer
from poolmgr.config.clouds_regions import region_layers
from poolmgr.config.document import Document, parse_document
from poolmgr.config.problem import Problem, did_you_mean, refuse_errors
from poolmgr.config.shape import Spot
from poolmgr.errors import ConfigError, PoolmgrError

#: Where a vendor publishes its profile, below the host of its URL.
WELL_KNOWN = "/.well-known/openstack/api"

_SECTION = "public-clouds"
_ABOUT = frozenset({"name", "profile", "status", "message", "checked", "url"})

#: Whom we trust, and what we may do, is for the cloud's operator to say and not for a web server.
_NOT_FROM_AFAR = frozenset(
    {
        "verify", "insecure", "cacert", "cert", "key", "metrics", "private", "vendor_hook",
        "project_is_dedicated", "allow_unrenewable_auth",
    }
)  # fmt: skip


class ProfileStatus(enum.Enum):
    ACTIVE = "active"
    LEGACY = "legacy"  # about to go, or in doubt
    DEAD = "dead"


_STATUSES = {status.value: status for status in ProfileStatus} | {
    "deprecated": ProfileStatus.LEGACY,
    "shutdown": ProfileStatus.DEAD,
}


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What a profile says of itself. Dead ones keep nothing else."""

    name: str
    status: ProfileStatus = ProfileStatus.ACTIVE
    message: str = ""
    checked: str = ""  # the day when somebody last looked, as YYYY-MM-DD or YYYY-MM
    source: str = ""  # where the facts are from
    url: str = ""  # the vendor's own profile, when it publishes one
    auth_url: str = ""  # may hold {region_name}
    regions: tuple[str, ...] = ()  # the default first


class RemoteProfiles(Protocol):
    """Asks vendors; `poolmgr.cloud.vendor` has the real one."""

    def text(self, url: str, *, check: Callable[[str], object]) -> str:
        """The document at `url`, or what it was when it could last be had.

        `check` raises ConfigError for one that is no use; the last good one is then kept. Raises PoolmgrError when
        there is none.
        """


class Profiles:
    """All profiles that a set of files can name. `remote` None: none of vendors' web servers."""

    def __init__(self, site: Document | None, *, remote: RemoteProfiles | None) -> None:
        self._site = site
        self._remote = remote

    def layer(self, used: Given, problems: list[Problem]) -> Layer:
        """The keys of the profile that `used` names; what is wrong is reported, most of it there."""
        name = used.value
        if not isinstance(name, str) or not name:
            used.spot.error("wrong value", allowed="the name of a profile, or the URL of its vendor")
            return Layer()
        found = self._local(name, problems) or self._afar(name, used, problems)
        if found is None:
            return Layer()
        _check_status(_about(name, found), used.spot)
        keys = {key: given for key, given in found.keys.items() if key not in _ABOUT}
        return Layer(keys=keys, auth=found.auth)

    def _local(self, name: str, problems: list[Problem]) -> Layer | None:
        for document, label in ((self._site, f"profile {name}, @"), (bundled_document(), f"profile {name}")):
            if document is not None and name in ((document.data or {}).get(_SECTION) or {}):
                return read_layer(Spot(document, problems, (_SECTION, name)), inherited=True, label=label)
        return None

    def _afar(self, name: str, used: Given, problems: list[Problem]) -> Layer | None:
        if "://" not in name:
            used.spot.error(
                "no such vendor profile",
                allowed=", ".join(self._names()),
                hint=did_you_mean(name, self._names()) or "or leave it out and give auth.auth_url",
            )
            return None
        if self._remote is None:
            used.spot.error("profiles of web servers are off", found="", hint=_instead_of(name))
            return None
        try:
            url = well_known(name)
            text = self._remote.text(url, check=lambda text: read_remote(text, url, []))
        except PoolmgrError as error:
            used.spot.error(f"the profile cannot be had: {error}", found="")
            return None
        published, layer = read_remote(text, url, problems)
        return self._local(published, problems) or layer

    def _names(self) -> list[str]:
        site = ((self._site.data or {}).get(_SECTION) or {}) if self._site else {}
        living = (p.name for p in bundled_profiles().values() if p.status is not ProfileStatus.DEAD)
        return [*site, *living]


@functools.cache
def bundled_document() -> Document:
    """profiles.yaml."""
    text = resources.files("poolmgr.config").joinpath("profiles.yaml").read_text(encoding="utf-8")
    return parse_document(text, file="profiles.yaml", environ={}, strict=True)


@functools.cache
def bundled_profiles() -> Mapping[str, Profile]:
    """The profiles that come with poolmgr, by name."""
    document = bundled_document()
    top = Spot(document, [], (_SECTION,))
    return {name: _about(name, read_layer(top.step(name))) for name in document.data[_SECTION]}


def check_profile(layer: Layer) -> None:
    """Report every key of a profile that no cloud could use."""
    for key, given in layer.keys.items():
        if key == "networks":
            NETWORKS.check(given.value, given.spot)
        elif key not in _ABOUT:
            checked(key, given)
    for values in region_layers(layer, Layer()).values():
        check_profile(values)


def well_known(url: str) -> str:
    """Where the vendor at `url` publishes its profile. Raises ConfigError unless that is safe to trust."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.username is not None:
        raise ConfigError("not a URL like https://vendor.example")
    return f"https://{parts.netloc}{WELL_KNOWN}"


def read_remote(text: str, url: str, problems: list[Problem]) -> tuple[str, Layer]:
    """The name and the keys in what a vendor publishes: JSON with `name` and `profile`.

    Raises ConfigError for anything that is not a profile, and for keys that only a cloud's operator may set.
    """
    document = parse_document(text, file=url, environ={})
    found = [*document.problems]
    top = Spot(document, found)
    name = top.step("name").value
    if not isinstance(name, str) or not name:
        top.error("not a profile", found="", allowed="a JSON object with 'name' and 'profile'")
    layer = read_layer(top.step("profile"), inherited=True, label=f"profile {url}")
    if "auth_url" not in layer.auth:
        top.step("profile").error("it has no auth_url", found="")
    check_profile(layer)
    _check_afar(layer)
    refuse_errors(found)
    problems += found
    return str(name), layer


def _check_afar(layer: Layer) -> None:
    for key in sorted(_NOT_FROM_AFAR & layer.keys.keys()):
        layer.keys[key].spot.error("a vendor cannot decide this", found="", key=True)
    urls = [given for key, given in layer.keys.items() if key.endswith(("_endpoint", "_endpoint_override"))]
    for given in (*urls, *(given for key, given in layer.auth.items() if key == "auth_url")):
        if not str(given.value).startswith("https://"):
            given.spot.error("not a URL with https")
    for values in region_layers(layer, Layer()).values():
        _check_afar(values)


def _about(name: str, layer: Layer) -> Profile:
    def text(key: str, *below: str) -> str:
        given = layer.keys.get(key)
        value = given.spot.step(*below).value if given else None
        return "" if value is None else str(value)

    auth_url = layer.auth.get("auth_url")
    return Profile(
        name=name,
        status=_STATUSES.get(text("status"), ProfileStatus.ACTIVE),
        message=text("message"),
        checked=text("checked", "date"),
        source=text("checked", "source"),
        url=text("url"),
        auth_url=str(auth_url.value) if auth_url else "",
        regions=tuple(region_layers(layer, Layer())),
    )


def _check_status(profile: Profile, used: Spot) -> None:
    """A vendor's cloud may be at its end, which its profile then says."""
    words = profile.message or "its profile does not say why"
    if profile.status is ProfileStatus.DEAD:
        used.error("this cloud is gone", hint=words)
    elif profile.status is ProfileStatus.LEGACY:
        used.warning("this cloud is about to go, or its profile is in doubt", hint=words)


def _instead_of(url: str) -> str:
    host = urlsplit(url).netloc
    same = next(
        (p.name for p in bundled_profiles().values() if p.url and urlsplit(p.url).netloc == host), None
    )
    ours = f"write {same!r} for the profile that comes with poolmgr, or " if same else ""
    return f"{ours}allow them at the top of clouds.yaml: poolmgr: {{remote_profiles: true}}"
