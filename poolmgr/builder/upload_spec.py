"""What a cloud is told about an image: its name, its properties, its file. Pure but for a look at the file's size."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any
from urllib.parse import quote

from poolmgr.builder.files import ImageFiles
from poolmgr.config.settings import DiskImage, OpenStackProvider
from poolmgr.errors import ConfigError
from poolmgr.model.cloud_image import ImageOwner, ImageSpec
from poolmgr.model.image import Build, Upload

_UNIQUE = {"timestamp", "upload_id"}


@dataclass(frozen=True, kw_only=True)
class Name:
    """`completed`: the format said nothing that differs between uploads, so that the upload's id was added."""

    text: str
    completed: bool = False


def external_name(name_format: str, *, image: str, started: float, upload_id: str) -> Name:
    """The image's name in the cloud by `image-name-format`; `started` in epoch seconds.

    Raises ConfigError for a format that cannot be used.
    """
    fields = {"image_name": image, "timestamp": str(int(started)), "upload_id": upload_id}
    try:
        text = name_format.format(**fields)
        used = {field for _, field, _, _ in Formatter().parse(name_format) if field}
    except (LookupError, ValueError, AttributeError, TypeError) as error:
        known = ", ".join(f"{{{name}}}" for name in fields)
        told = f"there is no {error}" if isinstance(error, LookupError) else str(error)
        raise ConfigError(
            f"image-name-format {name_format!r} cannot be used: {told}",
            remedy=f"it may hold {known}, and braces doubled that are to stay",
        ) from error
    if used & _UNIQUE:
        return Name(text=text)
    return Name(text=f"{text}-{upload_id}", completed=True)


def image_properties(*layers: Mapping[str, Any]) -> dict[str, str]:
    """The properties of all layers as texts, later ones over earlier ones; a null takes a property away."""
    merged = {str(key): value for layer in layers for key, value in layer.items()}
    return {key: str(value) for key, value in merged.items() if value is not None}


def tags_of(value: object) -> tuple[str, ...]:
    """The image's tags, which clouds keep apart from its properties; given as a list, or with commas between."""
    if value is None:
        return ()
    several = value if isinstance(value, list | tuple) else str(value).split(",")
    return tuple(text for each in several if (text := str(each).strip()))


def owner_of(upload: Upload, deployment: str) -> ImageOwner:
    return ImageOwner(
        provider=upload.provider,
        image=upload.image,
        build=upload.build,
        upload=upload.id,
        deployment=deployment,
    )


@dataclass(frozen=True, kw_only=True)
class LocalFile:
    """The file to upload as this builder has it. Hashes are "" where nobody knows them."""

    path: str
    size: int  # bytes
    md5: str = ""
    sha256: str = ""


def local_file(files: ImageFiles, build: Build, image_format: str) -> LocalFile:
    """The build's file, with what its record says of it, else what lies beside it.

    Raises ConfigError when it is not there.
    """
    path = files.path(build.image, build.id, image_format)
    recorded = build.file(image_format)
    if recorded is not None and (recorded.md5 or recorded.sha256):
        return LocalFile(path=str(path), size=recorded.size, md5=recorded.md5, sha256=recorded.sha256)
    md5, sha256 = files.checksums(build.image, build.id, image_format)
    try:
        size = recorded.size if recorded is not None else os.path.getsize(path)
    except OSError as error:
        raise ConfigError(f"cannot upload {path}: {error.strerror or error}") from error
    return LocalFile(path=str(path), size=size, md5=md5, sha256=sha256)


def image_spec(
    upload: Upload,
    file: LocalFile,
    image: DiskImage,
    provider: OpenStackProvider,
    *,
    owner: ImageOwner,
    manifest: Mapping[str, str],
    images_url: str | None,
) -> ImageSpec:
    """What is asked of the cloud for `upload`, whose record has its name and format."""
    told = {**image.metadata, **provider.diskimages[image.name].meta}
    tags = tags_of(told.pop("tags", None))
    return ImageSpec(
        name=upload.external_name or "",
        path=file.path,
        size=file.size,
        disk_format=upload.format or "",
        owner=owner,
        md5=file.md5,
        sha256=file.sha256,
        properties=image_properties(manifest, told),
        tags=tags,
        url=file_url(images_url, file.path) if images_url else None,
    )


def file_url(images_url: str, path: str) -> str:
    """Where a cloud fetches the file by itself."""
    return f"{images_url.rstrip('/')}/{quote(os.path.basename(path))}"
