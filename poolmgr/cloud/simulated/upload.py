"""`upload_image` straight on a pretend world: the same promises as the real one's, with as few steps as will do.

It knows one way into each cloud: PUT where that is open, else import, else a task. Bytes take no time.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from poolmgr.cloud.simulated.calls import Calls
from poolmgr.cloud.simulated.images import CONTAINER, OWNER_HEADER, SimulatedImages
from poolmgr.errors import CloudError, CloudUnavailable, ConfigError, OutcomeUnknown, Rejected
from poolmgr.model.cloud_image import (
    PROP_DEPLOYMENT,
    PROP_IMAGE,
    PROP_MD5,
    PROP_PROTECTED,
    CloudImage,
    ImageSpec,
    ImageStatus,
    StagedObject,
    UploadPhase,
    UploadProgress,
)
from poolmgr.model.server import LIBRARY
from poolmgr.runtime.clock import Clock
from poolmgr.simcloud import world as sim

TRIES = 3
PATIENCE = 3600.0  # seconds
BLOCK = 256 << 10
_METHODS = {"put": "put", "glance-direct": "import", "task": "tasks"}


class _Stopped(CloudUnavailable):
    """Cancelled, or out of time."""


class Upload:
    """One call of `upload_image`, and what its current try has made."""

    def __init__(
        self,
        cloud: sim.SimCloud,
        calls: Calls,
        images: SimulatedImages,
        clock: Clock,
        spec: ImageSpec,
        *,
        progress: Callable[[UploadProgress], None] | None,
        cancelled: threading.Event,
        timeout: float | None,
        pace: Callable[[int], None] | None = None,
    ) -> None:
        self._cloud, self._calls, self._images, self._clock = cloud, calls, images, clock
        self._spec, self._cancelled = spec, cancelled
        self._progress = progress or (lambda _: None)
        self._pace = pace or (lambda _: None)
        self._ends = float("inf") if timeout is None else self._clock.monotonic() + timeout
        self._digest = _read(spec)
        self._image_id: str | None = None
        self._staged: StagedObject | None = None
        self._told = UploadProgress(
            phase=UploadPhase.PREPARING, method=_METHODS[images.way()], total=spec.size
        )

    def run(self) -> CloudImage:
        number = 1
        while True:
            try:
                return self._once(number)
            except BaseException as error:
                self._clear()
                passing = isinstance(error, CloudUnavailable) and not isinstance(error, _Stopped)
                if number >= TRIES or not passing:
                    raise
            self._clock.wait(self._cancelled, 2.0 * number)
            number += 1

    def _once(self, number: int) -> CloudImage:
        self._told = replace(self._told, sent=0, image_id=None, staged=None, attempt=number)
        self._tell(UploadPhase.PREPARING)
        found = self._earlier()
        if found is not None:
            return found
        way = {"put": self._put, "glance-direct": self._import, "task": self._by_task}[self._images.way()]
        image = self._until_active(self._of_earlier_task() or way())
        self._tell(UploadPhase.VERIFYING)
        if image.size != self._spec.size or image.md5 != self._digest.md5:
            raise Rejected(f"image {image.id}: the image in the cloud differs: its md5 is {image.md5}")
        if self._staged is not None:
            self._images.delete_staged(self._staged)
        return image

    def _clear(self) -> None:
        """Remove what the try has made, as far as the cloud lets us."""
        try:
            if self._image_id is not None:
                self._images.delete(self._image_id)
            if self._staged is not None:
                self._images.delete_staged(self._staged)
        except CloudError:
            pass  # the next upload of this owner finds it
        self._image_id = self._staged = None

    def _earlier(self) -> CloudImage | None:
        whole = None
        for image in self._images.list().values():
            if self._spec.owner is None and image.name == self._spec.name:
                if not self._is_whole(image):
                    raise Rejected(f"there is an image of this name: {image.id} ({image.status_text})")
                whole = image
            elif self._spec.owner is not None and image.owner == self._spec.owner:
                if whole is None and self._is_whole(image):
                    whole = image
                else:
                    self._images.delete(image.id)
        if whole is not None:
            for staged in self._staged_before():
                self._images.delete_staged(staged)
        return whole

    def _staged_before(self) -> list[StagedObject]:
        owner = self._spec.owner
        return [
            one for one in self._images.list_staged().values() if owner is not None and one.owner == owner
        ]

    def _of_earlier_task(self) -> str | None:
        """The id of the image that a task of an earlier upload makes, or has made; what else it left goes."""
        for staged in self._staged_before():
            path = f"{staged.container}/{staged.name}"
            tasks = self._calls.ask("image.GET.tasks", lambda _: [*self._cloud.imports.tasks.values()])
            found = [task for task in tasks if task.input.get("import_from") == path]
            if found and found[-1].status != "failure":
                self._staged = staged
                return self._of_task(found[-1].id)
            self._images.delete_staged(staged)
        return None

    def _is_whole(self, image: CloudImage) -> bool:
        return image.status is ImageStatus.ACTIVE and image.md5 == self._digest.md5

    # -- ways --------------------------------------------------------------------------------------------

    def _put(self) -> str:
        image_id = self._create()
        self._send(
            "image.PUT.image_file",
            image_id,
            lambda trouble: self._cloud.images.fill(image_id, self._digest, trouble),
        )
        return image_id

    def _import(self) -> str:
        image_id, imports = self._create(), self._cloud.imports
        self._send("image.PUT.image_stage", image_id, lambda _: imports.stage(image_id, self._digest))
        self._tell(UploadPhase.IMPORTING)
        wanted = sim.ImportRequest(method="glance-direct")
        try:
            self._calls.ask(
                "image.POST.image_import",
                lambda trouble: imports.start(image_id, wanted, trouble),
                subject=image_id,
            )
        except OutcomeUnknown as error:
            raise CloudUnavailable(str(error)) from error
        return image_id

    def _by_task(self) -> str:
        name = f"poolmgr-{self._spec.name}-{self._cloud.new_id()[:8]}"
        self._staged = StagedObject(container=CONTAINER, name=name, owner=self._spec.owner)
        self._tell(UploadPhase.PREPARING)
        owner = {OWNER_HEADER: json.dumps(asdict(self._spec.owner) if self._spec.owner else None)}

        def store(_: sim.Trouble) -> None:
            self._cloud.objects.create_container(CONTAINER)
            self._cloud.objects.put(CONTAINER, name, self._digest, headers=owner)

        self._send("object-store.PUT.object", name, store)
        self._tell(UploadPhase.IMPORTING)
        source = {"import_from": f"{CONTAINER}/{name}", "image_properties": {"name": self._spec.name}}
        try:
            task = self._calls.ask(
                "image.POST.tasks", lambda trouble: self._cloud.imports.import_object(source, trouble)
            )
        except OutcomeUnknown as error:
            raise CloudUnavailable(str(error)) from error
        return self._of_task(task.id)

    def _of_task(self, task_id: str) -> str:
        while True:
            task = self._calls.ask(
                "image.GET.task", lambda _: self._cloud.imports.task(task_id), subject=task_id
            )
            if task.status == "failure":
                raise Rejected(f"task {task_id} failed: {task.message}")
            if task.image_id:
                break
            self._pause()
        image_id = str(task.image_id)
        self._made(image_id)
        properties = self._properties()
        self._calls.ask(
            "image.PATCH.image",
            lambda _: self._cloud.images.change(
                image_id, properties=properties, protected=self._spec.protected
            ),
            subject=image_id,
        )
        return image_id

    # -- steps -------------------------------------------------------------------------------------------

    def _create(self) -> str:
        spec = self._spec
        new = sim.NewImage(
            name=spec.name,
            disk_format=spec.disk_format,
            container_format="bare",
            protected=spec.protected,
            min_disk=spec.min_disk_gib,
            min_ram=spec.min_ram_mib,
            tags=spec.tags,
            properties=self._properties(),
        )
        try:
            image = self._calls.ask(
                "image.POST.images", lambda _: self._cloud.images.create(new), subject=spec.name
            )
        except OutcomeUnknown as error:
            raise CloudUnavailable(str(error)) from error  # the next try deletes what was made
        self._made(image.id)
        return image.id

    def _properties(self) -> Mapping[str, str]:
        spec = self._spec
        marks = spec.owner.properties() if spec.owner else {PROP_DEPLOYMENT: LIBRARY, PROP_IMAGE: spec.name}
        protected = {PROP_PROTECTED: "true"} if spec.protected else {}
        return {**spec.properties, **marks, **protected, PROP_MD5: self._digest.md5}

    def _send(self, operation: str, subject: str, act: Callable[[sim.Trouble], object]) -> None:
        self._tell(UploadPhase.SENDING, 0)
        for sent in range(0, self._spec.size, BLOCK):
            self._pace(min(BLOCK, self._spec.size - sent))
            self._check()
        self._calls.ask(operation, act, subject=subject)
        self._tell(UploadPhase.SENDING, self._spec.size)

    def _until_active(self, image_id: str) -> CloudImage:
        deadline = self._clock.monotonic() + PATIENCE
        while True:
            image = self._images.get(image_id)
            if image.status is ImageStatus.ACTIVE:
                return image
            if image.status is ImageStatus.QUEUED:
                raise CloudUnavailable(f"image {image_id} became {image.status_text}")
            if self._clock.monotonic() >= deadline:
                raise _Stopped(f"image {image_id} is {image.status_text} after {PATIENCE:.0f} s")
            self._pause()

    def _made(self, image_id: str) -> None:
        self._image_id = image_id
        self._tell(self._told.phase)

    def _tell(self, phase: UploadPhase, sent: int | None = None) -> None:
        staged = f"{self._staged.container}/{self._staged.name}" if self._staged else None
        self._told = replace(
            self._told,
            phase=phase,
            sent=self._told.sent if sent is None else sent,
            image_id=self._image_id,
            staged=staged,
        )
        self._progress(self._told)
        self._check()

    def _pause(self) -> None:
        self._clock.wait(self._cancelled, 1.0)
        self._check()

    def _check(self) -> None:
        if self._cancelled.is_set():
            raise _Stopped("the upload was cancelled")
        if self._clock.monotonic() >= self._ends:
            raise _Stopped("the upload was not done in time")


def _read(spec: ImageSpec) -> sim.Digest:
    """Raises ConfigError when the file is not what `spec` says."""
    digest = sim.Digest()
    try:
        with Path(spec.path).open("rb") as file:
            while block := file.read(BLOCK):
                digest.feed(block)
    except OSError as error:
        raise ConfigError(f"{spec.path}: {error.strerror}") from error
    if not digest.size or digest.size != spec.size:
        raise ConfigError(f"{spec.path}: it has {digest.size} bytes, and {spec.size} were expected")
    if spec.md5 and spec.md5 != digest.md5:
        raise ConfigError(f"{spec.path}: its md5 is {digest.md5}, and {spec.md5} was expected")
    return digest
