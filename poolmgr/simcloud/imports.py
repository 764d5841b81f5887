"""Images that come in through Glance's own work: interoperable import, and tasks that take an object.

    queued -> uploading (staged) -> importing -> active      glance-direct
    queued ---------------------> importing -> active        web-download
    a failed import leaves the image queued, with the names of the stores it is not in

Both leave a Task that tells how it went (Image API reference v2, "Interoperable image import", "Tasks").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from poolmgr.simcloud.content import Digest, Joined, chained
from poolmgr.simcloud.faults import NO_TROUBLE, Fault, FaultKind, Trouble
from poolmgr.simcloud.images import Images, NewImage
from poolmgr.simcloud.objects import Objects
from poolmgr.simcloud.refusal import Refusal, bad_request, conflict, no_such
from poolmgr.simcloud.things import Task
from poolmgr.simcloud.timeline import Timeline

IMPORT_METHODS = ("glance-direct", "web-download", "copy-image")

#: Gets an address and whom to tell: the bytes that were there, or None and why not.
Fetch = Callable[[str, Callable[[Digest | None, str], None]], None]


def cannot_fetch(uri: str, done: Callable[[Digest | None, str], None]) -> None:
    """The Fetch of a world without a network."""
    done(None, f"{uri} cannot be fetched: this cloud has no way out")


@dataclass(frozen=True, kw_only=True)
class ImportRequest:
    """`stores` (): the default one."""

    method: str
    uri: str = ""
    stores: tuple[str, ...] = ()


class Imports:
    def __init__(
        self,
        *,
        images: Images,
        objects: Objects,
        image_format: str,
        timeline: Timeline,
        new_id: Callable[[], str],
    ) -> None:
        """`image_format` is that of images which tasks make."""
        self.tasks: dict[str, Task] = {}
        self.fetch: Fetch = cannot_fetch
        self._images, self._objects, self._image_format = images, objects, image_format
        self._timeline, self._new_id = timeline, new_id

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods of interoperable import that the cloud offers; () if it has none."""
        return tuple(m for m in IMPORT_METHODS if m in self._images.api.methods)

    def task(self, task_id: str) -> Task:
        if task_id not in self.tasks:
            raise no_such("task", task_id)
        return self.tasks[task_id]

    # -- interoperable import ----------------------------------------------------------------------------

    def stage(self, image_id: str, digest: Digest) -> None:
        """Bytes for a glance-direct import. Raises Refusal."""
        if "glance-direct" not in self.methods:
            raise Refusal(404, "The resource could not be found.")
        if self._images.image(image_id).status not in ("queued", "uploading"):
            raise conflict(f"Image {image_id} is not in queued state")
        self._images.check_size(digest)
        self._images.change(image_id, status="uploading", **self._images.stored(digest))

    def start(self, image_id: str, wanted: ImportRequest, trouble: Trouble = NO_TROUBLE) -> Task:
        """Begin an import. Raises Refusal when the image's status or the method does not allow it."""
        self._check(image_id, wanted)
        stores = wanted.stores or self._images.api.stores[:1]
        task = self._add_task(
            {"import_req": {"method": {"name": wanted.method}}}, "api_image_import", image_id
        )
        if stuck := trouble.of(FaultKind.STUCK_IMPORT):
            if stuck.message:
                self._images.change(image_id, status=stuck.message)
            return task
        was = "importing"
        if wanted.method == "copy-image":
            was = "active"
        self._images.change(image_id, status=was, importing_to=stores, failed_import=())
        if wanted.method == "web-download":
            self.fetch(wanted.uri, lambda digest, why: self._fetched(task.id, digest, why, trouble))
        else:
            self._finish_later(task.id, trouble)
        return task

    def _check(self, image_id: str, wanted: ImportRequest) -> None:
        status = self._images.image(image_id).status
        needed = {"glance-direct": "uploading", "web-download": "queued", "copy-image": "active"}
        if wanted.method not in self.methods:
            raise bad_request(f"Unknown import method name '{wanted.method}'.")
        if status != needed[wanted.method]:
            raise conflict(
                f"Only images with status {needed[wanted.method]} can be imported with {wanted.method}"
            )
        if unknown := sorted(set(wanted.stores) - set(self._images.api.stores)):
            raise bad_request(f"Store {unknown[0]} is not available on this node, skipping it.")

    def _fetched(self, task_id: str, digest: Digest | None, why: str, trouble: Trouble) -> None:
        image_id = self.tasks[task_id].image_id or ""
        if image_id not in self._images.images:
            return
        if digest is None:
            self._fail(task_id, why)
            return
        self._images.change(image_id, **self._images.stored(digest))
        self._finish_later(task_id, trouble)

    def _finish_later(self, task_id: str, trouble: Trouble) -> None:
        failed = trouble.of(FaultKind.FAILED_IMPORT)

        def finish() -> None:
            if failed:
                self._fail(task_id, failed.words)
            else:
                self._finish(task_id, trouble)

        self._timeline.after(self._images.api.import_seconds, finish)

    def _finish(self, task_id: str, trouble: Trouble) -> None:
        image = self._images.images.get(self.tasks[task_id].image_id or "")
        if image is None or image.status not in ("importing", "active"):
            return
        stores = tuple(dict.fromkeys((*image.stores, *image.importing_to)))
        self._images.change(image.id, status="active", stores=stores, importing_to=())
        self._images.spoil(image.id, trouble)
        self.tasks[task_id] = replace(self.tasks[task_id], status="success")

    def _fail(self, task_id: str, why: str) -> None:
        image = self._images.images.get(self.tasks[task_id].image_id or "")
        self.tasks[task_id] = replace(self.tasks[task_id], status="failure", message=why)
        if image is None:
            return
        status = "active" if image.status == "active" else "queued"  # a failed copy harms nothing
        lost = image.importing_to or ("default",)
        kept = {} if status == "active" else {"size": None, "md5": None, "sha512": None, "content": None}
        self._images.change(image.id, status=status, importing_to=(), failed_import=lost, **kept)

    # -- tasks -------------------------------------------------------------------------------------------

    def import_object(self, given: Mapping[str, object], trouble: Trouble = NO_TROUBLE) -> Task:
        """A task that makes an image of a stored object. Raises Refusal where there are no such tasks."""
        if "task" not in self._images.api.methods:
            raise Refusal(403, "You are not authorized to complete add_task action.")
        task = self._add_task(given, "import", None)
        failed, late = trouble.of(FaultKind.FAILED_TASK), trouble.of(FaultKind.LATE_IMAGE)

        def finish() -> None:
            if failed:
                self._fail(task.id, failed.words)
            else:
                self._finish_task(task.id, late, trouble)

        self._timeline.after(self._images.api.task_seconds, finish)
        return task

    def _finish_task(self, task_id: str, late: Fault | None, trouble: Trouble) -> None:
        task = self.tasks[task_id]
        path = str(task.input.get("import_from", ""))
        try:
            stored = self._objects.find(path)
        except Refusal:  # a large object that lost a segment
            stored = None
        if stored is None:
            self._fail(task_id, "The requested object could not be found.")
            return
        wanted = task.input.get("image_properties")
        name = wanted.get("name") if isinstance(wanted, Mapping) else None
        new = NewImage(
            name=str(name or task_id), disk_format=self._image_format, container_format="ovf"
        )  # properties are dropped, as Rackspace did
        visible_at = self._timeline.time + late.delay if late else 0.0
        digest = _digest(self._objects, path)
        fields = self._images.stored(digest) if digest else {"size": stored.size}
        image = self._images.add(new, status="active", visible_at=visible_at, **fields)
        self._images.spoil(image.id, trouble)
        self.tasks[task_id] = replace(task, status="success", image_id=image.id)

    def _add_task(self, given: Mapping[str, object], kind: str, image_id: str | None) -> Task:
        task = Task(
            id=self._new_id(),
            kind=kind,
            status="pending",
            created=self._timeline.time,
            input=dict(given),
            image_id=image_id,
        )
        self.tasks[task.id] = task
        return task


def _digest(objects: Objects, path: str) -> Digest | None:
    """Of all the bytes of an object, large ones too; None when they were not kept."""
    keepers = objects.content(path)
    pieces = chained(keepers)
    if pieces is None:
        return None
    digest = Digest(Joined(keepers))
    for piece in pieces:
        digest.feed(piece)
    return digest
