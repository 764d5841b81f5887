"""How an image is built: settings in, command lines and environment out (builder.md 4). Pure.

The command line is the reference's, as a list: elements and paths may hold blanks. Formats that disk-image-create does
not make are made from what it makes, by qemu-img.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from poolmgr.builder.files import tmpdir_name
from poolmgr.config.settings import DiskImage, ImageBuild
from poolmgr.errors import ConfigError

DIB = "disk-image-create"

#: Formats that qemu-img makes: its own name for each, and its options. Glance and Nova take streamOptimized VMDKs as
#: they come (their `vmdk_allowed_types`); a VHD without `force_size` may end up larger than the disk it is of.
CONVERTED = {
    "vdi": ("vdi", ""),
    "vhd": ("vpc", "subformat=dynamic,force_size=on"),
    "vhdx": ("vhdx", "subformat=dynamic"),
    "vmdk": ("vmdk", "subformat=streamOptimized"),
}
#: What they are made from, the best first.
_SOURCES = ("raw", "qcow2")
#: Variables of the daemon that no build gets: its own credentials, and its line to systemd.
_KEPT_BACK = ("OS_", "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "WATCHDOG_")

Has = Callable[[str, str], bool]


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """One qemu-img call. It writes `draft`, which becomes the image file once it is whole."""

    image_format: str
    command: tuple[str, ...]
    draft: str


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that is run for one build. `made` is what the first command makes, `formats` what is wanted in the end."""

    command: tuple[str, ...]
    environ: Mapping[str, str] = field(repr=False)  # may hold secrets
    output: str  # path of the image files without extension
    tmpdir: str
    formats: tuple[str, ...]
    made: tuple[str, ...]
    conversions: tuple[Conversion, ...]
    config_hash: str

    @property
    def surplus(self) -> tuple[str, ...]:
        """Made only to be converted."""
        return tuple(sorted(set(self.made) - set(self.formats)))

    def path(self, image_format: str) -> str:
        return f"{self.output}.{image_format}"


def recipe(
    image: DiskImage,
    build: str,
    formats: tuple[str, ...],
    *,
    images_dir: Path,
    elements_dir: str | None,
    environ: Mapping[str, str],
    has: Has,
) -> Recipe:
    """How `build` of `image` is made in these formats.

    `environ` is the daemon's environment; `has(program, path)` says whether a program is on a PATH.
    Raises ConfigError when `dib-cmd` is no command line.
    """
    command = _split(image)
    output = os.fspath(images_dir / f"{image.name}-{build}")
    tmpdir = _tmpdir(image, build, environ)
    variables = _environ(image, output, elements_dir, environ) | {"TMPDIR": tmpdir, "TMP_DIR": tmpdir}
    is_dib = DIB in map(os.path.basename, command)  # `sudo -E /usr/bin/disk-image-create -a arm64`, say
    vhd_is_made = not is_dib or has("vhd-util", variables.get("PATH", os.defpath))
    converted = [one for one in formats if one in CONVERTED and not (one == "vhd" and vhd_is_made)]
    made = sorted(set(formats) - set(converted))
    if converted and not set(made) & set(_SOURCES):
        made = sorted([*made, _SOURCES[0]])
    source = next((one for one in _SOURCES if one in made), "")
    return Recipe(
        command=(*command, *_options(image.build, made, output), *image.build.elements),
        environ=variables,
        output=output,
        tmpdir=tmpdir,
        formats=formats,
        made=tuple(made),
        conversions=tuple(_conversion(output, source, one) for one in sorted(converted)),
        config_hash=config_hash(image, elements_dir),
    )


def tmpdir_parent(image: DiskImage, environ: Mapping[str, str]) -> str:
    """Where the image's builds make their temporary directories: as DIB would choose, TMP_DIR before TMPDIR."""
    own = image.build.env_vars
    chosen = own.get("TMP_DIR") or own.get("TMPDIR") or environ.get("TMP_DIR") or environ.get("TMPDIR")
    return os.path.abspath(chosen or "/tmp")


def config_hash(image: DiskImage, elements_dir: str | None) -> str:
    """The same for builds that the same settings describe, whatever formats providers want. SHA-256 in hex."""
    build = image.build
    says_how = {
        "name": image.name,
        "dib-cmd": build.dib_cmd,
        "elements": build.elements,
        "elements-dir": elements_dir,
        "env-vars": dict(build.env_vars),
        "release": build.release,
        "qemu-img-options": build.qemu_img_options,
    }
    return hashlib.sha256(json.dumps(says_how, sort_keys=True).encode()).hexdigest()


def _split(image: DiskImage) -> list[str]:
    try:
        words = shlex.split(image.build.dib_cmd)
    except ValueError as error:
        raise ConfigError(f"dib-cmd of {image.name} is no command line: {error}") from error
    if not words:
        raise ConfigError(f"dib-cmd of {image.name} is empty")
    return words


def _options(build: ImageBuild, made: list[str], output: str) -> list[str]:
    options = ["-x", "-t", ",".join(made), "--checksum", "--no-tmpfs"]
    if "qcow2" in made and build.qemu_img_options:
        options += ["--qemu-img-options", build.qemu_img_options]
    return [*options, "-o", output]


def _environ(
    image: DiskImage, output: str, elements_dir: str | None, environ: Mapping[str, str]
) -> dict[str, str]:
    """Later ones win, so that `env-vars` may say anything but where the build's temporary files are."""
    handed_on = {name: value for name, value in environ.items() if not name.startswith(_KEPT_BACK)}
    ours = {
        "DIB_RELEASE": image.build.release,
        "DIB_IMAGE_NAME": image.name,
        "DIB_IMAGE_FILENAME": output,
    }
    if elements_dir is not None:
        ours["ELEMENTS_PATH"] = elements_dir
    return {**handed_on, **ours, **image.build.env_vars}


def _tmpdir(image: DiskImage, build: str, environ: Mapping[str, str]) -> str:
    return os.path.join(tmpdir_parent(image, environ), tmpdir_name(image.name, build))


def _conversion(output: str, source: str, image_format: str) -> Conversion:
    name, options = CONVERTED[image_format]
    draft = f"{output}.{image_format}.tmp"
    command = ["qemu-img", "convert", "-f", source, "-O", name]
    if options:
        command += ["-o", options]
    command += [f"{output}.{source}", draft]
    return Conversion(image_format=image_format, command=tuple(command), draft=draft)
