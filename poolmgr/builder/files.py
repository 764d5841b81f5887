"""The files of builds in `images-dir`: what is there, whose it is, and how it goes.

Whose files are is said by markers only, never by names: nodepool-builder took every `<name>-<digits>.<ext>` for its
own, and removed what its ZooKeeper did not know. A marker is there before the first file of its build and goes after
the last, so that a crash anywhere leaves files that are accounted for.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import shutil
import stat
import threading
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path

from poolmgr.builder.durable import DRAFT, sync_directory, write_whole
from poolmgr.errors import ConfigError
from poolmgr.policy.image_files import Marker
from poolmgr.policy.uploads import LocalFiles
from poolmgr.runtime.as_root import as_root
from poolmgr.runtime.leftovers import clear_tmpdir
from poolmgr.runtime.mounts import mounts_below

log = logging.getLogger(__name__)

MARKER = ".poolmgr.json"
MANIFEST = ".manifest.json"

#: Image names may have hyphens and dots, build ids have none (the shorter ones are old sequence numbers).
_BUILD = r"(?P<image>.+)-(?P<build>[0-9a-f]{32}|[0-9]{10})"
_IMAGE_FILE = re.compile(_BUILD + r"\.(?P<format>[a-z0-9]+)")
_MARKER_FILE = re.compile(_BUILD + re.escape(MARKER))
_FORMAT = re.compile(r"[a-z0-9]+")
_DIGITS = {"md5": 32, "sha256": 64}
#: What the image command makes on the way, whatever it was asked for.
_BETWEEN = ("raw",)


class ImageFiles:
    """The images directory of one builder. Thread-safe. Whatever cannot be read or written there is a ConfigError."""

    def __init__(self, directory: Path, *, deployment: str, builder_id: str) -> None:
        self.directory = directory
        self._deployment = deployment
        self._builder_id = builder_id
        self._lock = threading.Lock()  # of what follows
        self._read: dict[
            str, tuple[tuple[int, ...], Marker | None]
        ] = {}  # by name: what it looked like, what it said
        self._found: tuple[list[str], Mapping[tuple[str, str], tuple[str, ...]]] = ([], {})  # of which names

    def path(self, image: str, build: str, image_format: str) -> Path:
        return self._named(image, build, f".{image_format}")

    def marker_path(self, image: str, build: str) -> Path:
        return self._named(image, build, MARKER)

    def manifest_path(self, image: str, build: str) -> Path:
        """Of our own manifest; the image command's is the directory `<image>-<build>.d`."""
        return self._named(image, build, MANIFEST)

    def is_ours(self, marker: Marker) -> bool:
        return (marker.deployment, marker.builder_id) == (self._deployment, self._builder_id)

    # What is there

    def found(self) -> Mapping[tuple[str, str], tuple[str, ...]]:
        """Formats by (image, build), from names alone: whose they are is not said."""
        return self._found_among(self._regular_files())

    def local(self) -> LocalFiles:
        """Formats by (image, build), of builds with a marker of ours. Those of a running one may be half made."""
        names = self._regular_files()
        ours = {(m.image, m.build) for m in self._markers_among(names) if self.is_ours(m)}
        return {build: formats for build, formats in self._found_among(names).items() if build in ours}

    def markers(self) -> tuple[Marker, ...]:
        """All that make sense, those of other builders too. The others are told once, and left."""
        return self._markers_among(self._regular_files())

    def marker(self, image: str, build: str) -> Marker | None:
        """None: it is not there, or makes no sense."""
        return self._marker(self.marker_path(image, build).name)

    def has_marker(self, image: str, build: str) -> bool:
        """Whether there is anything by its name, of sense or not."""
        return os.path.lexists(self.marker_path(image, build))

    def checksums(self, image: str, build: str, image_format: str) -> tuple[str, str]:
        """MD5 and SHA-256 from the files beside the image, "" where there is none that makes sense."""
        path = self.path(image, build, image_format)
        md5, sha256 = (_checksum(path.with_name(f"{path.name}.{kind}"), kind) for kind in _DIGITS)
        return md5, sha256

    # Changes

    def mark(self, marker: Marker) -> None:
        """Write the marker, or what has changed about it; it is on the disk when this returns."""
        text = json.dumps(asdict(marker), indent=1) + "\n"
        path = self.marker_path(marker.image, marker.build)
        try:
            write_whole(path, text)
        except OSError as error:
            raise self._trouble("write", path, error) from error

    def remove(self, marker: Marker) -> None:
        """Remove all that the marker stands for, itself last. What is gone already is fine.

        Links, and directories in place of files, are nothing that a build made: they stay.
        """
        if not self.is_ours(marker):
            raise ValueError(f"{marker.image}-{marker.build} belongs to another builder")
        base = f"{marker.image}-{marker.build}"
        self._clear_tmpdir(marker)  # first: what still works in there may go on making files
        for name in self._regular_files():
            if _is_made_by(marker, base, name):
                self._unlink(self.directory / name)
        self._remove_tree(self.directory / f"{base}.d")
        manifest = self.manifest_path(marker.image, marker.build)
        self._unlink(manifest.with_name(manifest.name + DRAFT))
        self._unlink(manifest)
        self._settle()  # all the rest has to be gone for good before what accounts for it
        self._unlink(self.marker_path(marker.image, marker.build))
        self._settle()

    def remove_format(self, image: str, build: str, image_format: str) -> None:
        """Remove one format of a build of ours, with its checksums."""
        marker = self.marker(image, build)
        if marker is None or not self.is_ours(marker):
            raise ValueError(f"{image}-{build} has no marker of this builder")
        path = self.path(image, build, image_format)
        for one in (path, *(path.with_name(f"{path.name}.{kind}") for kind in _DIGITS)):
            self._unlink(one)

    def clear_drafts(self) -> None:
        """Remove drafts of markers that a crash left. Nobody may be writing any: at the start only."""
        for name in self._regular_files():
            if name.endswith(DRAFT) and _MARKER_FILE.fullmatch(name.removesuffix(DRAFT)):
                self._unlink(self.directory / name)

    def _named(self, image: str, build: str, suffix: str) -> Path:
        return self.directory / f"{image}-{build}{suffix}"

    def _regular_files(self) -> list[str]:
        try:
            with os.scandir(self.directory) as entries:
                return [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
        except OSError as error:
            raise self._trouble("read", self.directory, error) from error

    def _found_among(self, names: list[str]) -> Mapping[tuple[str, str], tuple[str, ...]]:
        """Worked out again only when the names have changed: this is asked in every pass of every worker."""
        with self._lock:
            if names != self._found[0]:
                self._found = names, _by_build(names)
            return self._found[1]

    def _markers_among(self, names: list[str]) -> tuple[Marker, ...]:
        candidates = [name for name in names if name.endswith(MARKER) and _MARKER_FILE.fullmatch(name)]
        with self._lock:
            for gone in self._read.keys() - set(candidates):
                del self._read[gone]
        return tuple(marker for marker in map(self._marker, candidates) if marker is not None)

    def _marker(self, name: str) -> Marker | None:
        """What the marker says, read again only when its file has changed; None for one that makes no sense."""
        path = os.path.join(self.directory, name)
        try:
            status = os.lstat(path)
        except OSError:  # gone since it was listed
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        look = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        with self._lock:
            known = self._read.get(name)
        if known is not None and known[0] == look:
            return known[1]
        try:
            marker = _marker_from(name, Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.error("%s makes no sense, the files of that build are left alone: %s", path, error)
            marker = None
        with self._lock:
            self._read[name] = look, marker
        return marker

    def _unlink(self, path: Path) -> None:
        try:
            if stat.S_ISREG(path.lstat().st_mode):
                path.unlink()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise self._trouble("remove", path, error) from error

    def _clear_tmpdir(self, marker: Marker) -> None:
        """End what works there, release what it has mounted and attached, remove it."""
        if marker.tmpdir and Path(marker.tmpdir).name == tmpdir_name(marker.image, marker.build):
            errors = clear_tmpdir(Path(marker.tmpdir)).errors
            if errors:
                raise ConfigError(f"cannot remove {marker.tmpdir}: {errors[0]}", remedy="remove it by hand")

    def _remove_tree(self, path: Path) -> None:
        if path.is_symlink() or not path.is_dir():
            return
        mounted = mounts_below(os.path.realpath(path))
        if mounted:  # to go on would empty what is mounted: the machine's /dev, say
            raise ConfigError(
                f"cannot remove {path}: {mounted[0].point} is mounted there", remedy="unmount it"
            )
        try:
            shutil.rmtree(path)  # follows no links
        except FileNotFoundError:
            pass
        except OSError as error:
            # The image command runs as root in part, and leaves what is root's.
            if as_root("rm", "--recursive", "--force", "--one-file-system", "--", os.fspath(path)):
                raise self._trouble("remove", path, error) from error

    def _settle(self) -> None:
        try:
            sync_directory(self.directory)
        except OSError as error:
            raise self._trouble("write", self.directory, error) from error

    def _trouble(self, verb: str, path: Path, error: OSError) -> ConfigError:
        what = error.filename or path
        return ConfigError(f"images-dir {self.directory}: cannot {verb} {what}: {error.strerror or error}")


def tmpdir_name(image: str, build: str) -> str:
    """The name of a build's own temporary directory, wherever it is."""
    return f"poolmgr-{image}-{build}"


def _by_build(names: list[str]) -> dict[tuple[str, str], tuple[str, ...]]:
    """Sorted formats by (image, build), of those names that are of image files."""
    found: dict[tuple[str, str], list[str]] = {}
    for name in sorted(names):
        named = _IMAGE_FILE.fullmatch(name)
        if named:
            found.setdefault((named["image"], named["build"]), []).append(named["format"])
    return {build: tuple(formats) for build, formats in found.items()}


def _is_made_by(marker: Marker, base: str, name: str) -> bool:
    """Whether it is an image file of the build, one beside it, or one that was to become it."""
    if not name.startswith(f"{base}."):
        return False
    rest = name.removeprefix(f"{base}.")
    return any(
        rest == one or rest.startswith((f"{one}.", f"{one}-")) for one in (*marker.formats, *_BETWEEN)
    ) or rest == (MARKER + DRAFT).removeprefix(".")


def _marker_from(name: str, text: str) -> Marker:
    """Raises ValueError for what is no marker, or not that of this name."""
    told = json.loads(text)
    if not isinstance(told, dict):
        raise ValueError("not a mapping")
    named = _MARKER_FILE.fullmatch(name)
    if named is None or (told.get("image"), told.get("build")) != (named["image"], named["build"]):
        raise ValueError("it names another build than its file name does")
    formats, tmpdir, since = told.get("formats", ()), told.get("tmpdir"), told.get("orphan_since")
    sound = (
        all(isinstance(told.get(key), str) and told[key] for key in ("deployment", "builder_id"))
        and isinstance(formats, list)
        and all(isinstance(one, str) and _FORMAT.fullmatch(one) for one in formats)
        and (tmpdir is None or (isinstance(tmpdir, str) and os.path.isabs(tmpdir)))
        and (since is None or (isinstance(since, int | float) and math.isfinite(since)))
    )
    if not sound:
        raise ValueError("some value in it is of no use")
    known = {field.name for field in fields(Marker)}
    return Marker(**{key: value for key, value in told.items() if key in known} | {"formats": tuple(formats)})


def _checksum(path: Path, kind: str) -> str:
    """The first word of the file, if it is such a checksum."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            words = file.read(1024).split()
    except OSError:
        return ""
    found = words[0].lower() if words else ""
    return found if re.fullmatch(rf"[0-9a-f]{{{_DIGITS[kind]}}}", found) else ""
