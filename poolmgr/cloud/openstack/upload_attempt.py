"""One upload, and each try of it: what is asked for, what has been made in the cloud so far, and who is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from poolmgr.cloud.openstack.image import Images
from poolmgr.cloud.openstack.staging import Layout
from poolmgr.cloud.openstack.upload_body import STALL
from poolmgr.cloud.openstack.upload_judge import Sums
from poolmgr.cloud.openstack.upload_method import Way
from poolmgr.cloud.openstack.upload_transfer import Watch
from poolmgr.errors import CloudError, CloudUnavailable
from poolmgr.model.cloud_image import (
    PROP_BUILD,
    PROP_CALL,
    PROP_PROVIDER,
    PROP_UPLOAD,
    CloudImage,
    ImageSpec,
    UploadPhase,
    UploadProgress,
)
from poolmgr.runtime.executor import Executor


@dataclass(frozen=True, kw_only=True, slots=True)
class UploadPolicy:
    """Seconds, except `tries`, `parallel` and `segment` (bytes)."""

    tries: int = 3
    pause: float = 2.0  # after the first failed try; doubles
    longest_pause: float = 300.0  # that a cloud may ask for
    stall: float = STALL  # nothing moves for so long: no answer
    import_timeout: float = 3600.0  # for what the cloud does with bytes it has
    settle_timeout: float = 120.0  # until the cloud shows everywhere what it said that it has
    first_poll: float = 1.0
    longest_poll: float = 10.0
    longest_task_poll: float = 30.0
    segment: int = 1 << 30
    parallel: int = 3


class TryAgain(CloudUnavailable):
    """This try is lost, the next one may succeed, but not before `retry_after` seconds where the cloud said so."""

    def __init__(self, message: str, *, retry_after: float | None = None, **more: Any) -> None:
        super().__init__(message, **more)
        self.retry_after = retry_after


class WayRefused(CloudUnavailable):
    """The cloud does not take images by `way`."""

    def __init__(self, way: Way, error: CloudError) -> None:
        super().__init__(str(error), request_id=error.request_id, reason=error.reason)
        self.way = way


@dataclass(frozen=True, kw_only=True)
class Job:
    """One call of `upload_image`. `call` is its own id; `threads` send its bodies."""

    spec: ImageSpec
    properties: Mapping[str, str]
    numbers: Mapping[str, int]  # min_disk, min_ram
    call: str
    watch: Watch
    threads: Executor
    policy: UploadPolicy
    progress: Callable[[UploadProgress], None]
    pace: Callable[[int], None] | None = None


class Attempt:
    """One try. What it has made is here before the next byte goes out, so that it can be removed."""

    def __init__(self, job: Job, way: Way, number: int) -> None:
        self.job = job
        self.spec = job.spec
        self.way = way
        self.token = f"{job.call[:12]}-{number}"
        self.image_id: str | None = None
        self.staged: str | None = None  # name of the object
        self.layout: Layout | None = None  # of what this try has staged itself
        self.sums: Sums | None = None  # of the bytes, once all were read
        self._told = UploadProgress(
            phase=UploadPhase.PREPARING, method=way.value, total=job.spec.size, attempt=number
        )

    def tell(self, phase: UploadPhase, sent: int | None = None) -> None:
        """Raises what `progress` raises, and UploadStopped."""
        self._told = replace(
            self._told,
            phase=phase,
            sent=self._told.sent if sent is None else sent,
            image_id=self.image_id,
            staged=self.layout.path if self.layout else self._told.staged,
        )
        self.job.progress(self._told)
        self.job.watch.check()

    def made_image(self, image_id: str) -> None:
        """The cloud has named the image."""
        self.image_id = image_id
        self.tell(self._told.phase)

    def will_stage(self, layout: Layout) -> None:
        """Before the first byte goes there."""
        self.layout, self.staged = layout, layout.name
        self.tell(self._told.phase)


def mine(images: Images, attempt: Attempt) -> list[CloudImage]:
    """The images that uploads of the same owner have made, or this very call if there is no owner."""
    owner = attempt.spec.owner
    if owner is None:
        return images.own({PROP_CALL: attempt.job.call})
    filters = {PROP_UPLOAD: owner.upload, PROP_BUILD: owner.build, PROP_PROVIDER: owner.provider}
    return [image for image in images.own(filters) if image.owner == owner]
