"""The images that the demo's builder makes: counted as they are seen, shown, and let go at the end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from poolmgr.cli.demo.plan import Plan
from poolmgr.errors import Conflict, RecordGone
from poolmgr.model.image import BuildState, UploadState
from poolmgr.model.snapshot import Snapshot
from poolmgr.store.api import Store


@dataclass
class ImageTally:
    """What was seen so far. `note` has to look more often than builds and uploads come and go."""

    builds: set[str] = field(default_factory=set)  # ready once
    formats: dict[str, str] = field(default_factory=dict)  # of uploads that were ready once, by path
    by_cloud: Counter[str] = field(default_factory=Counter)  # of the same, how many
    booted: set[str] = field(default_factory=set)  # uploads that some node came from
    failures: dict[str, str] = field(default_factory=dict)  # a line each, by build or upload

    def note(self, snapshot: Snapshot) -> None:
        for build in snapshot.builds():
            if build.state is BuildState.READY:
                self.builds.add(build.name)
            elif build.state is BuildState.FAILED:
                self.failures[build.name] = f"build {build.name}: {build.reason}"
        for upload in snapshot.uploads():
            if upload.state is UploadState.READY and upload.path not in self.formats:
                self.formats[upload.path] = upload.format or "?"
                self.by_cloud[upload.provider] += 1
            elif upload.state is UploadState.FAILED:
                self.failures[upload.path] = f"upload to {upload.provider}: {upload.reason}"
        self.booted.update(node.image_id for node in snapshot.nodes() if node.image_id in self.formats)

    def as_report(self) -> dict[str, Any]:
        return {
            "builds": len(self.builds),
            "uploads": len(self.formats),
            "uploads_by_format": dict(sorted(Counter(self.formats.values()).items())),
            "booted_from": len(self.booted),
            "failed": len(self.failures),
        }


@dataclass(frozen=True, kw_only=True)
class ImageLine:
    """The uploads in one cloud: by state, and the build that nodes boot from now."""

    name: str
    format: str
    ready: int
    uploading: int
    deleting: int
    serves: str  # the beginning of the build's id, "" while there is none


def image_lines(plan: Plan, snapshot: Snapshot) -> tuple[ImageLine, ...]:
    image = plan.image
    if image is None:
        return ()
    return tuple(_line(cloud.name, image.name, snapshot) for cloud in plan.clouds)


def _line(cloud: str, image: str, snapshot: Snapshot) -> ImageLine:
    uploads = snapshot.uploads_to(image, cloud)
    states = Counter(upload.state for upload in uploads)
    newest = snapshot.newest_upload(image, cloud)
    return ImageLine(
        name=cloud,
        format=next((upload.format for upload in uploads if upload.format), ""),
        ready=states[UploadState.READY],
        uploading=states[UploadState.UPLOADING],
        deleting=states[UploadState.DELETING],
        serves=newest.build[:8] if newest else "",
    )


def builds_text(plan: Plan, snapshot: Snapshot, seen: ImageTally) -> str:
    """The builds in a few words, "" without a builder."""
    if plan.image is None:
        return ""
    states = Counter(build.state for build in snapshot.builds_of(plan.image.name))
    parts = [f"{len(seen.builds)} built so far"]
    parts += [f"{states[s]} {s.value}" for s in (BuildState.BUILDING, BuildState.DELETING) if states[s]]
    return ", ".join(parts)


def let_builds_go(store: Store, *, at: float) -> bool:
    """Mark all builds for deletion, as `dib-image-delete` does; whether no record of any is left."""
    with store.reading() as snapshot:
        builds = list(snapshot.builds())
    for build in builds:
        if build.state in (BuildState.READY, BuildState.FAILED):
            try:
                store.save_build(
                    replace(build, state=BuildState.DELETING, state_time=at, reason="by poolmgr demo")
                )
            except (Conflict, RecordGone):
                continue  # the next look tries again
    return not builds
