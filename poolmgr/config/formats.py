"""Formats of images: which ones can be made, and clouds that take another."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping

from poolmgr.config.problem import Problem, Severity, did_you_mean, shown
from poolmgr.config.settings import CloudSettings, OpenStackProvider, Settings

DIB = "disk-image-create"

#: What diskimage-builder 3 makes, and what the builder makes of that with qemu-img (`builder.recipe`).
FORMATS = ("aci", "docker", "qcow2", "raw", "squashfs", "tar", "tgz", "vdi", "vhd", "vhdx", "vmdk")


def is_dib(command: str) -> bool:
    """Whether `dib-cmd` runs diskimage-builder, perhaps by sudo; another program may make what it likes."""
    return os.path.basename(shlex.split(command)[-1]) == DIB


def unmade_formats(settings: Settings, clouds: Mapping[str, CloudSettings]) -> Iterator[Problem]:
    """A warning for each provider whose cloud takes a format that nobody makes. `clouds`: by provider."""
    for name, cloud in clouds.items():
        provider = settings.providers[name]
        if cloud.image_format in FORMATS or not isinstance(provider, OpenStackProvider):
            continue
        images = [image for image in provider.diskimages if _is_made_by_dib(settings, image)]
        if images:
            yield _problem(name, cloud, images)


def _is_made_by_dib(settings: Settings, image: str) -> bool:
    return image in settings.diskimages and is_dib(settings.diskimages[image].build.dib_cmd)


def _problem(provider: str, cloud: CloudSettings, images: list[str]) -> Problem:
    file, _, line = cloud.origins.get("image_format", "").rpartition(":")
    return Problem(
        severity=Severity.WARNING,
        file=file or "clouds.yaml",
        line=int(line) if line.isdigit() else 0,
        column=1 if line.isdigit() else 0,
        path=("clouds", cloud.name, "image_format"),
        what=f"diskimage-builder makes no such format, so provider {provider} gets no {', '.join(images)}",
        found=shown(cloud.image_format),
        allowed=f"{', '.join(FORMATS)}; another one only if 'dib-cmd' makes it",
        hint=did_you_mean(cloud.image_format, FORMATS),
    )
