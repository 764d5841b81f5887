"""Builds, uploads, settings: what tests of the policies of images are made of. Times are hours after `NOW - 100 h`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from poolmgr.config.settings import DiskImage, ImageBuild, OpenStackProvider, ProviderImage, Settings
from poolmgr.model.component import Component
from poolmgr.model.image import Build, BuildState, Upload, UploadState
from poolmgr.model.node import Node, NodeState
from poolmgr.model.snapshot import Snapshot

NOW = 1_700_000_000.0
HOUR = 3600.0
ME, SHE = "me", "she"


def at(hours: float) -> float:
    return NOW - 100 * HOUR + hours * HOUR


def build_id(number: int) -> str:
    return f"{number:032x}"


def build(number: int, state: BuildState = BuildState.READY, **more: Any) -> Build:
    """Build `number` of image `img`, which ended at its number of hours."""
    more.setdefault("image", "img")
    more.setdefault("state_time", at(number))
    more.setdefault("builder_id", ME)
    more.setdefault("formats", "qcow2")
    return Build(id=build_id(number), state=state, **more)


def upload(
    of: int, provider: str = "north", state: UploadState = UploadState.READY, *, number: int = 1, **more: Any
) -> Upload:
    """Upload `number` of build `of` to `provider`; a READY one has the id `<provider>-<of>-<number>` there."""
    more.setdefault("image", "img")
    more.setdefault("state_time", at(of) + 60.0 * number)
    more.setdefault("builder_id", ME)
    more.setdefault("format", "qcow2")
    if state is UploadState.READY:
        more.setdefault("external_id", f"{provider}-{of}-{number}")
    return Upload(id=f"{number:010d}", build=build_id(of), provider=provider, state=state, **more)


def node_from(source: Upload, state: NodeState = NodeState.IN_USE) -> Node:
    return Node(id="0000000001", state=state, provider=source.provider, image_id=source.path)


def settings(
    providers: Mapping[str, Iterable[str]] | None = None, *, images: Iterable[str] = ("img",), **image: Any
) -> Settings:
    """Settings with `images`, which are built as `image` says, and with providers that list the images named."""
    listing = providers if providers is not None else {"north": ["img"], "south": ["img"]}
    return Settings(
        diskimages={name: DiskImage(name=name, build=ImageBuild(**image)) for name in images},
        providers={name: provider(name, listed) for name, listed in listing.items()},
    )


def provider(name: str, listed: Iterable[str], *, pause: bool = False) -> OpenStackProvider:
    listing = {one: ProviderImage(name=one, pause=pause) for one in listed}
    return OpenStackProvider(name=name, cloud=name, diskimages=listing)


def snapshot_of(*records: Build | Upload | Node | Component) -> Snapshot:
    snapshot = Snapshot()
    for record in records:
        match record:
            case Build():
                snapshot.put_image(record.image)
                snapshot.put_build(record)
            case Upload():
                snapshot.put_image(record.image)
                snapshot.put_upload(record)
            case Node():
                snapshot.put_node(record)
            case Component():
                snapshot.put_component(record)
    return snapshot
