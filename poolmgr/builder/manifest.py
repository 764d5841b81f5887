"""`<image>-<build>.manifest.json`: what a build is made of, and how, where and when it was made.

It is written once everything else of the build is whole, and before the record says READY. So a manifest that fits its
files also proves, after a crash in between, that the build was good.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from poolmgr import __version__
from poolmgr.builder.durable import write_whole
from poolmgr.builder.recipe import Recipe
from poolmgr.config.settings import DiskImage
from poolmgr.model.image import Build

log = logging.getLogger(__name__)

#: Properties of uploads: texts of at most 255 bytes, which is what clouds take.
CONFIG, PACKAGES, SHA256 = "poolmgr_config_hash", "poolmgr_packages", "poolmgr_manifest_sha256"

_MOST_BYTES = 64 << 20  # of a list of packages that is read
_RPM = re.compile(r"(?P<name>\S+)-(?P<version>[^-\s]+-[^-\s]+)\.(?P<arch>[^.\s]+)")
Package = Mapping[str, str]


def manifest_of(
    build: Build,
    image: DiskImage,
    recipe: Recipe,
    packages: Iterable[Package],
    *,
    files: Mapping[str, Mapping[str, Any]],
    deployment: str,
    ended: float,
    space: int,
) -> dict[str, Any]:
    """The document. Of the environment only names are in it, for values may be secrets.

    `files` by format, as in the build's record; `ended` in epoch seconds; `space` in bytes.
    """
    return {
        "format": 1,
        "image": build.image,
        "build": build.id,
        "deployment": deployment,
        "builder": {"fqdn": build.builder, "id": build.builder_id, "software": f"poolmgr {__version__}"},
        "cause": build.cause,
        "started": build.started,
        "ended": ended,
        "config_hash": recipe.config_hash,
        "release": image.build.release,
        "elements": list(image.build.elements),
        "command": list(recipe.command),
        "conversions": [list(one.command) for one in recipe.conversions],
        "environment": sorted(recipe.environ),
        "files": {name: dict(file) for name, file in sorted(files.items())},
        "space": space,
        "packages": list(packages),
    }


def write_manifest(path: Path, document: Mapping[str, Any]) -> None:
    """It is whole and on the disk when this returns. Raises OSError."""
    write_whole(path, json.dumps(document, indent=1) + "\n")


def read_manifest(path: Path) -> Mapping[str, Any] | None:
    """None if there is none that makes sense."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) and document.get("format") == 1 else None


def manifest_properties(path: Path) -> dict[str, str]:
    """What of it goes with each upload of the build; {} without one."""
    document = read_manifest(path)
    if document is None:
        return {}
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:  # it went with its build just now
        return {}
    packages = document.get("packages")
    return {
        CONFIG: str(document.get("config_hash", "")),
        PACKAGES: str(len(packages) if isinstance(packages, list) else 0),
        SHA256: digest,
    }


def packages_in(directory: Path) -> list[Package]:
    """The packages that DIB's manifests below `<output>.d` list, by name; each with name, version, arch and type."""
    found: dict[tuple[str, ...], Package] = {}
    for path in sorted(directory.rglob("dib-manifest-*")):
        kind = path.name.removeprefix("dib-manifest-").partition("-")[0]
        for package in _listed(path, kind):
            found[tuple(package.values())] = package
    return [found[key] for key in sorted(found)]


def _listed(path: Path, kind: str) -> Iterator[Package]:
    if kind not in ("dpkg", "rpm") or path.is_symlink() or not path.is_file():
        return
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES).decode(errors="replace")
    except OSError as error:
        log.warning("%s is not read: %s", path, error)
        return
    document = _parsed(text)
    if document is None:
        yield from _lines(text, kind)
        return
    for one in document:
        if isinstance(one, dict) and one.get("package"):
            version, arch = str(one.get("version", "")), str(one.get("arch", ""))
            yield {
                "name": str(one["package"]).partition(":")[0],
                "version": version,
                "arch": arch,
                "type": kind,
            }


def _parsed(text: str) -> list[Any] | None:
    """The list in the JSON that DIB's dpkg element writes; None if it is something else."""
    try:
        document = json.loads(text)
    except ValueError:
        return None
    listed = document.get("packages") if isinstance(document, dict) else None
    return listed if isinstance(listed, list) else None


def _lines(text: str, kind: str) -> Iterator[Package]:
    """One package a line, as `rpm -qa` writes them: name-version-release.arch."""
    for line in text.splitlines():
        named = _RPM.fullmatch(line.strip())
        if named:
            yield {"name": named["name"], "version": named["version"], "arch": named["arch"], "type": kind}
