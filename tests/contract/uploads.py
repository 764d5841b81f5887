"""A file to upload, and what is in a cloud afterwards, as the suites of images need them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from poolmgr.model.cloud_image import ImageOwner, ImageSpec
from tests.contract.clouds import Stage, clouds, simulated

TIMEOUTS = (
    10.0,
    20.0,
)  # seconds; nothing here waits for an answer that does not come, but the machine may be busy
CONTENT = random.Random(5).randbytes(700_000)
OWNER = ImageOwner(provider="north", image="debian", build="b-1", upload="0000000001", deployment="d-1")
#: The same upload and build ids, of another installation.
FOREIGN = ImageOwner(provider="north", image="debian", build="b-1", upload="0000000001", deployment="d-2")


@contextmanager
def using(shape: str, options: Mapping[str, Any] | None = None, **more: Any) -> Iterator[Stage]:
    """The real layer on a simcloud with `options`, logged in with settings of one's own."""
    with clouds(shape, **(options or {})) as (_, login):
        yield login(**{"timeouts": TIMEOUTS, **more})


IMPLEMENTATIONS = {
    "simulated": simulated,
    "openstack": lambda shape, **options: using(shape, options),
}


def file_spec(directory: Path, content: bytes = CONTENT, **more: Any) -> ImageSpec:
    """An upload of a new file with `content`."""
    path = directory / "disk.img"
    path.write_bytes(content)
    plain: dict[str, Any] = {
        "name": "debian-0000000001",
        "path": str(path),
        "size": len(content),
        "disk_format": "raw",
        "owner": OWNER,
        "md5": hashlib.md5(content, usedforsecurity=False).hexdigest(),
        "sha256": hashlib.sha256(content).hexdigest(),
        "properties": {"hw_disk_bus": "virtio"},
    }
    return ImageSpec(**{**plain, **more})


def own_images(stage: Stage) -> list[Any]:
    """The project's images as they really are."""
    with stage.far.lock:
        stage.far.timeline.settle()
        return [image for image in stage.far.images.images.values() if image.mine]


def objects_left(stage: Stage) -> list[str]:
    """The objects that really are there, as `container/name`."""
    with stage.far.lock:
        containers = stage.far.objects.containers.items()
        return sorted(f"{container}/{name}" for container, held in containers for name in held)


def assert_whole(stage: Stage, spec: ImageSpec, content: bytes = CONTENT) -> Any:
    """There is exactly one image, with all the bytes, and no object. Returns the image."""
    images = own_images(stage)
    assert [image.status for image in images] == ["active"], images
    image = images[0]
    assert image.name == spec.name
    assert image.size == len(content)
    assert image.md5 == hashlib.md5(content, usedforsecurity=False).hexdigest()
    assert image.properties["hw_disk_bus"] == "virtio"
    assert objects_left(stage) == []
    return image


def assert_nothing(stage: Stage) -> None:
    assert own_images(stage) == []
    assert objects_left(stage) == []
