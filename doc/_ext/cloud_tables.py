"""Tables of clouds.rst that are the program's own: keys of a cloud and of its services, vendor profiles."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any, ClassVar

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from poolmgr.config.clouds_keys import ENDINGS, KEYS, SERVICES, Key
from poolmgr.config.clouds_profiles import ProfileStatus, bundled_profiles
from poolmgr.config.settings import CloudSettings

DEFAULTS = {field.name: field.default for field in fields(CloudSettings)}


class Table(SphinxDirective):
    """A list-table of `rows`, the first of which is its header."""

    has_content = False
    option_spec: ClassVar[dict[str, Any]] = {}

    def rows(self) -> Iterator[Sequence[str]]:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        lines = [".. list-table::", "   :header-rows: 1", ""]
        for row in self.rows():
            starts = ["   * - ", *["     - "] * (len(row) - 1)]
            lines += [f"{start}{cell}".rstrip() for start, cell in zip(starts, row, strict=True)]
        container = nodes.container()
        self.state.nested_parse(StringList(lines, source="cloud-tables"), self.content_offset, container)
        return container.children


class CloudKeys(Table):
    def rows(self) -> Iterator[Sequence[str]]:
        yield "Key", "Values", "Default", "Meaning"
        for name, key in KEYS.items():
            if key.meaning:
                yield f"``{name}``", allowed(key), default(name), key.meaning


class ServiceKeys(Table):
    def rows(self) -> Iterator[Sequence[str]]:
        yield "Key", "Values", "Meaning"
        for ending, key in ENDINGS.items():
            if key.meaning:
                yield f"``<service>_{ending}``", allowed(key), key.meaning
        yield "``has_<service>``", "true or false", "``false``: as if it were not in the catalog."


class ServicePrefixes(Table):
    def rows(self) -> Iterator[Sequence[str]]:
        yield "Service", "Also written as"
        for prefix, *others in SERVICES.values():
            yield f"``{prefix}_``", ", ".join(f"``{other}_``" for other in others)


class VendorProfiles(Table):
    def rows(self) -> Iterator[Sequence[str]]:
        yield "Profile", "Status", "Regions", "Checked", "Remarks"
        for profile in bundled_profiles().values():
            if profile.status is not ProfileStatus.DEAD:
                checked = f"{profile.checked} ({profile.source})"
                yield (
                    f"``{profile.name}``",
                    profile.status.value,
                    " ".join(profile.regions),
                    checked,
                    profile.message,
                )


class GoneClouds(Table):
    def rows(self) -> Iterator[Sequence[str]]:
        yield "Profile", "What users are told"
        for profile in bundled_profiles().values():
            if profile.status is ProfileStatus.DEAD:
                yield f"``{profile.name}``", profile.message


def allowed(key: Key) -> str:
    return str(getattr(key.shape, "allowed", ""))


def default(name: str) -> str:
    """What counts without the key, where that is a value."""
    value = DEFAULTS.get(name)
    value = value.value if isinstance(value, enum.Enum) else value
    value = {"interface": "public", "allow_unrenewable_auth": False}.get(name, value)
    return (
        f"``{str(value).lower() if isinstance(value, bool) else value}``"
        if isinstance(value, (bool, str))
        else ""
    )


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("cloud-keys", CloudKeys)
    app.add_directive("service-keys", ServiceKeys)
    app.add_directive("service-prefixes", ServicePrefixes)
    app.add_directive("vendor-profiles", VendorProfiles)
    app.add_directive("gone-clouds", GoneClouds)
    return {"parallel_read_safe": True}
