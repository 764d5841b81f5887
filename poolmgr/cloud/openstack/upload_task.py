"""The way through the object store and a task (cloud.md 3.4), which is the only one that some clouds take.

Where the bytes lie is told before the first of them goes out, and a task that was posted before a crash is found again
by that: Glance's tasks drop all properties, so its image could not be known for ours.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from poolmgr.cloud.openstack.errors import Forbidden
from poolmgr.cloud.openstack.image import Images
from poolmgr.cloud.openstack.image_task import ImportTask, ImportTasks, TaskStatus
from poolmgr.cloud.openstack.object_store import ObjectStore
from poolmgr.cloud.openstack.staging import Layout, Segment, Staging, layout_of, marks_for
from poolmgr.cloud.openstack.upload_attempt import Attempt, TryAgain
from poolmgr.cloud.openstack.upload_judge import Sums, hashes_to_take
from poolmgr.cloud.openstack.upload_transfer import Part, Piece, UploadStopped, transfer
from poolmgr.errors import CloudUnavailable, NotFound, OutcomeUnknown, Rejected
from poolmgr.model.cloud_image import CloudImage, ImageOwner, ImageStatus, UploadPhase
from poolmgr.model.trouble import Trouble

log = logging.getLogger(__name__)

#: How often a task is posted: "Image cannot be imported. Error code: '396'" comes and goes.
POSTS = 3
_PASSING = "396"


class TaskWay:
    """Bytes to the object store, a task, properties."""

    def __init__(self, images: Images, tasks: ImportTasks, store: ObjectStore, staging: Staging) -> None:
        self._images = images
        self._tasks = tasks
        self._store = store
        self._staging = staging

    def run(self, attempt: Attempt) -> CloudImage:
        """Returns the image ACTIVE, with its properties; what was staged is still there."""
        job = attempt.job
        layout = layout_of(job.spec, attempt.token, self._store.limits(), segment=job.policy.segment)
        self._staging.prepare()
        attempt.will_stage(layout)
        self._send(attempt, layout)
        attempt.tell(UploadPhase.IMPORTING)
        return self._import(attempt, layout.path, self._post(attempt, layout.path))

    def resume(self, attempt: Attempt) -> CloudImage | None:
        """As `run`, from a task of an earlier attempt on; None if there is none. What else is left of it goes."""
        owner = attempt.spec.owner
        if owner is None:
            return None
        for staged in list(self._staging.everything()):
            if staged.owner != owner:
                continue
            path = f"{staged.container}/{staged.name}"
            task = self._tasks.find(path)
            if task is None:
                self._staging.delete(staged.name)
                continue
            log.info("image %s: task %s of an earlier attempt is taken up", attempt.spec.name, task.id)
            attempt.staged = staged.name
            attempt.tell(UploadPhase.IMPORTING)
            return self._import(attempt, path, task)
        return None

    def clear(self, owner: ImageOwner | None) -> None:
        """Remove what uploads of `owner` have staged."""
        for staged in list(self._staging.everything()):
            if owner is not None and staged.owner == owner:
                self._staging.delete(staged.name)

    # -- bytes -------------------------------------------------------------------------------------------

    def _send(self, attempt: Attempt, layout: Layout) -> None:
        marks = marks_for(attempt.spec, attempt.token)
        hashes = (
            hashes_to_take(attempt.spec) if layout.in_one_piece else ("md5",)
        )  # those of the whole come later
        jobs = []
        for segment in layout.segments:
            part = Part(path=attempt.spec.path, offset=segment.offset, length=segment.length)
            piece = Piece(part, hashes=hashes, patience=attempt.job.policy.stall, pace=attempt.job.pace)
            jobs.append((piece, _Sending(self._store, attempt, segment, piece, marks).run))
        attempt.tell(UploadPhase.SENDING, 0)
        etags = transfer(
            jobs,
            attempt.job.threads,
            attempt.job.watch,
            lambda sent: attempt.tell(UploadPhase.SENDING, sent),
        )
        if layout.in_one_piece:
            return
        self._staging.join(
            layout, {s.path: etag for s, etag in zip(layout.segments, etags, strict=True)}, marks
        )
        self._until_whole(attempt, layout)

    def _until_whole(self, attempt: Attempt, layout: Layout) -> None:
        """A store may list segments late, and a dynamic object is what is listed."""
        watch, policy = attempt.job.watch, attempt.job.policy
        deadline = watch.now() + policy.settle_timeout
        while (size := self._staging.size(layout.name)) != attempt.spec.size:
            if watch.now() >= deadline:
                raise TryAgain(f"object {layout.path} has {size} bytes instead of {attempt.spec.size}")
            watch.pause(policy.first_poll)

    # -- the task ----------------------------------------------------------------------------------------

    def _post(self, attempt: Attempt, source: str) -> ImportTask:
        """A new task. One that was not answered may be there: it is looked for."""
        try:
            return self._tasks.create(source, attempt.spec.name)
        except OutcomeUnknown as error:
            found = self._tasks.find(source)
            if found is None:
                raise TryAgain(str(error), request_id=error.request_id) from error
            return found
        except Forbidden as error:
            raise Trouble.UPLOAD_REFUSED.error(Rejected, str(error), request_id=error.request_id) from error

    def _import(self, attempt: Attempt, source: str, task: ImportTask) -> CloudImage:
        posts = 1
        while True:
            task = self._until_over(attempt, task)
            if task.status is TaskStatus.SUCCESS and task.image_id:
                attempt.made_image(task.image_id)
                return self._finish(attempt, task.image_id)
            if _PASSING not in task.message or posts >= POSTS:
                words = task.message or "it made no image"
                raise Trouble.TASK_FAILED.error(
                    Rejected, f"task {task.id}, import of {source}, failed: {words}"
                )
            log.info("image %s: task %s failed, posted again: %s", attempt.spec.name, task.id, task.message)
            task = self._post(attempt, source)
            posts += 1

    def _until_over(self, attempt: Attempt, task: ImportTask) -> ImportTask:
        watch, policy = attempt.job.watch, attempt.job.policy
        deadline, interval = watch.now() + policy.import_timeout, policy.longest_poll
        while task.status is TaskStatus.AT_WORK:
            if watch.now() >= deadline:
                raise UploadStopped(f"task {task.id} is not over after {policy.import_timeout:.0f} s")
            attempt.tell(UploadPhase.IMPORTING)
            watch.pause(interval)
            interval = min(1.5 * interval, policy.longest_task_poll)
            try:
                task = self._tasks.get(task.id)
            except CloudUnavailable as error:  # 503 while it works is common
                log.info("image %s: task %s: %s", attempt.spec.name, task.id, error)
        return task

    def _finish(self, attempt: Attempt, image_id: str) -> CloudImage:
        """The image with all that the task has dropped; it may take a while until it is shown."""
        watch, policy = attempt.job.watch, attempt.job.policy
        deadline = watch.now() + policy.settle_timeout
        while True:
            try:
                image = self._images.get(image_id)
                if image.status is ImageStatus.ACTIVE:
                    return self.adopt(attempt, image)
                words = image.status_text
            except NotFound:
                words = "not shown"
            if watch.now() >= deadline:
                raise TryAgain(f"image {image_id} is {words} after {policy.settle_timeout:.0f} s")
            watch.pause(policy.first_poll)

    def adopt(self, attempt: Attempt, image: CloudImage) -> CloudImage:
        """`image` with our properties written on it."""
        job, spec = attempt.job, attempt.spec
        fields: dict[str, object] = {name: number for name, number in job.numbers.items() if number}
        if spec.tags:
            fields["tags"] = list(spec.tags)
        if spec.protected:
            fields["protected"] = True
        self._images.v2.write(image.id, job.properties, fields)
        return replace(
            image,
            properties={**image.properties, **job.properties},
            protected=spec.protected,
            min_disk_gib=job.numbers.get("min_disk", 0) or image.min_disk_gib,
            min_ram_mib=job.numbers.get("min_ram", 0) or image.min_ram_mib,
        )


class _Sending:
    """One segment, in as many tries as the policy allows, checked by its ETag."""

    def __init__(
        self,
        store: ObjectStore,
        attempt: Attempt,
        segment: Segment,
        piece: Piece,
        marks: dict[str, str],
    ) -> None:
        self._store, self._attempt, self._segment = store, attempt, segment
        self._piece, self._marks = piece, marks

    def run(self) -> str:
        """Its md5. Runs on a thread of the upload."""
        policy = self._attempt.job.policy
        for number in range(1, policy.tries + 1):
            try:
                return self._once()
            except UploadStopped:
                raise
            except CloudUnavailable as error:
                log.info("object %s: try %d failed: %s", self._segment.path, number, error)
                if number == policy.tries:  # the other segments are not sent again for it
                    raise UploadStopped(
                        str(error), request_id=error.request_id, reason=error.reason
                    ) from error
            self._attempt.job.watch.pause(policy.pause * 2 ** (number - 1))
        raise AssertionError("unreachable")

    def _once(self) -> str:
        with self._piece.body() as body:
            etag = self._store.send(self._segment.path, body, self._marks)
            digests = body.digests()
        if etag != digests["md5"]:
            raise TryAgain(f"object {self._segment.path} has the md5 {etag} instead of {digests['md5']}")
        if self._segment.length == self._attempt.spec.size:
            self._attempt.sums = Sums(size=self._segment.length, hashes=digests)
        return digests["md5"]
