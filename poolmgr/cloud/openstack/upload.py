"""`ImageCloud.upload_image`: an image that is in the cloud whole and once, or not at all (cloud.md 3.4).

    look for what earlier uploads of the same owner have left: a whole image is the answer, all else is deleted
      -> choose a way (upload_method)
      -> up to three tries: make, send, wait, compare with the file; a try that fails removes what it has made
      -> a way that the cloud refuses is remembered, and the next one is chosen

Nothing is believed but what the cloud shows afterwards: size and hash of the image are compared with the file's.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import replace

from poolmgr.cloud.openstack.image import Images
from poolmgr.cloud.openstack.image_record import marks_of, properties_of
from poolmgr.cloud.openstack.image_task import ImportTasks
from poolmgr.cloud.openstack.object_store import ObjectStore
from poolmgr.cloud.openstack.staging import Staging
from poolmgr.cloud.openstack.upload_attempt import Attempt, Job, TryAgain, UploadPolicy, WayRefused
from poolmgr.cloud.openstack.upload_body import hashes_of
from poolmgr.cloud.openstack.upload_direct import DirectWays, VersionRefused
from poolmgr.cloud.openstack.upload_earlier import Earlier
from poolmgr.cloud.openstack.upload_judge import Sums, comparable, contradiction, difference, sums_of
from poolmgr.cloud.openstack.upload_method import UploadFacts, Way, may_import, upload_method
from poolmgr.cloud.openstack.upload_task import TaskWay
from poolmgr.cloud.openstack.upload_transfer import UploadStopped, Watch
from poolmgr.config.settings import CloudSettings
from poolmgr.errors import CloudError, CloudUnavailable, ConfigError, NotSupported, PoolmgrError, Rejected
from poolmgr.model.cloud_image import (
    PROP_MD5,
    PROP_SHA256,
    CloudImage,
    ImageSpec,
    UploadPhase,
    UploadProgress,
)
from poolmgr.model.trouble import Trouble
from poolmgr.runtime.clock import Clock
from poolmgr.runtime.executor import ThreadExecutor

log = logging.getLogger(__name__)


class Differs(Rejected):
    """The image in the cloud is not what was sent."""


class Uploader:
    """Uploads to one cloud; thread-safe. It remembers which ways the cloud has refused for as long as it lives."""

    def __init__(
        self,
        settings: CloudSettings,
        images: Images,
        tasks: ImportTasks,
        store: ObjectStore,
        clock: Clock,
        *,
        deployment: str,
        new_id: Callable[[], str],
        lower_version: Callable[[], bool],
        policy: UploadPolicy | None = None,
    ) -> None:
        """`lower_version`: speak version 1 of the Image API from now on; False if that was so already."""
        self._settings = settings
        self._images = images
        self._store = store
        self._staging = Staging(store)
        self._direct = DirectWays(images)
        self._by_task = TaskWay(images, tasks, store, self._staging)
        self._earlier = Earlier(images, self._by_task, may_change=settings.image_content_may_change)
        self._clock = clock
        self._deployment = deployment
        self._new_id = new_id
        self._lower_version = lower_version
        self._policy = policy or UploadPolicy()
        self._lock = threading.Lock()
        self._refused: dict[Way, str] = {}  # with the cloud's words

    @property
    def staging(self) -> Staging | None:
        """What uploads by tasks leave behind is here; None where there are none."""
        return self._staging if self._uses_tasks() and self._store.present() else None

    def upload(
        self,
        spec: ImageSpec,
        progress: Callable[[UploadProgress], None],
        cancelled: threading.Event | None,
        timeout: float | None,
        pace: Callable[[int], None] | None = None,
    ) -> CloudImage:
        """See `ImageCloud.upload_image`."""
        _check_file(spec)
        call = self._new_id()
        marks = marks_of(spec, deployment=self._deployment, call=call)
        properties, numbers = properties_of(spec, self._settings.disable_vendor_agent, marks)
        threads = ThreadExecutor("upload", self._parallel())
        try:
            job = Job(
                spec=spec,
                properties=properties,
                numbers=numbers,
                call=call,
                watch=Watch(self._clock, cancelled, timeout),
                threads=threads,
                policy=self._policy,
                progress=progress,
                pace=pace,
            )
            return self._by_any_way(job)
        except CloudError as error:
            _add_words(error, before=f"cloud {self._settings.name}: image {spec.name}: ")
            raise
        finally:
            threads.stop()

    def _by_any_way(self, job: Job) -> CloudImage:
        while True:
            method = upload_method(self._settings, self._facts(job.spec))
            if method.way is None:
                raise self._no_way(job.spec, method.reason)
            log.info("image %s is uploaded by %s (%s)", job.spec.name, method.way.value, method.reason)
            try:
                return self._by(method.way, job)
            except WayRefused as refusal:
                log.warning(
                    "image %s: the cloud takes none by %s: %s", job.spec.name, refusal.way.value, refusal
                )
                with self._lock:
                    self._refused[refusal.way] = str(refusal)
            except VersionRefused as error:
                if not self._lower_version():
                    raise
                log.warning("the cloud has no version 2 of the Image API, trying version 1: %s", error)

    def _by(self, way: Way, job: Job) -> CloudImage:
        """Up to so many tries. Raises the error of the last one."""
        number, before, asked = 1, "", 0.0
        while True:
            attempt = Attempt(job, way, number)
            try:
                return self._once(attempt)
            except BaseException as error:
                left = self._clear(attempt)
                last = number >= self._policy.tries or (isinstance(error, Differs) and str(error) == before)
                if last or left or not _may_pass(error):
                    _add_words(error, after=left)
                    raise
                log.warning("image %s: try %d failed: %s", job.spec.name, number, error)
                before, asked = str(error), getattr(error, "retry_after", None) or 0.0
            job.watch.pause(
                max(self._policy.pause * 2 ** (number - 1), min(asked, self._policy.longest_pause))
            )
            number += 1

    def _once(self, attempt: Attempt) -> CloudImage:
        attempt.tell(UploadPhase.PREPARING)
        found = self._earlier.found(attempt)
        if found is not None:
            return found
        image = self._run(attempt)
        attempt.tell(UploadPhase.VERIFYING)
        sums = self._verified(attempt, image)
        image = self._with_sums(attempt, image, sums)
        self._clear_staged(attempt)
        return image

    def _run(self, attempt: Attempt) -> CloudImage:
        match attempt.way:
            case Way.TASKS:
                return self._by_task.resume(attempt) or self._by_task.run(attempt)
            case Way.IMPORT:
                return self._direct.import_staged(attempt)
            case Way.WEB_DOWNLOAD:
                return self._direct.web_download(attempt)
            case Way.PUT | Way.V1:
                return self._direct.put(attempt)

    # -- afterwards --------------------------------------------------------------------------------------

    def _verified(self, attempt: Attempt, image: CloudImage) -> Sums:
        """The sums of the file, which are those of the image. Raises Differs, ConfigError."""
        spec, may_change = attempt.spec, self._settings.image_content_may_change
        sums = attempt.sums or sums_of(spec)
        if not may_change and image.size == sums.size and not comparable(image, sums):
            sums = Sums(size=spec.size, hashes=hashes_of(spec.path, spec.size))
        if wrong := contradiction(spec, sums):
            raise Trouble.FILE_CHANGED.error(ConfigError, f"image {spec.name}: {spec.path}: {wrong}")
        if different := difference(image, sums, may_change=may_change):
            raise Trouble.IMAGE_CHANGED.error(Differs, f"the image in the cloud differs: {different}")
        return sums

    def _with_sums(self, attempt: Attempt, image: CloudImage, sums: Sums) -> CloudImage:
        """The image with the hashes of its file as properties, where nobody knew them before."""
        told = {PROP_SHA256: sums.hashes.get("sha256"), PROP_MD5: sums.hashes.get("md5")}
        missing = {name: value for name, value in told.items() if value and name not in image.properties}
        if not missing:
            return image
        try:
            self._images.api().write(image.id, missing)
        except CloudError as error:  # the image is whole without them
            log.warning("image %s: its hashes could not be written on it: %s", attempt.spec.name, error)
            return image
        return replace(image, properties={**image.properties, **missing})

    def _clear(self, attempt: Attempt) -> str:
        """Remove all that a try has made; returns what could not be removed, and why."""
        left = []
        if attempt.image_id is not None:
            try:
                self._images.delete(attempt.image_id)
            except CloudError as error:
                left.append(f"image {attempt.image_id} is left, it could not be deleted: {error}")
        if attempt.staged is not None:
            try:
                self._delete_staged(attempt)
            except CloudError as error:
                left.append(f"object {attempt.staged} is left, it could not be deleted: {error}")
        for words in left:
            log.error("image %s: %s", attempt.spec.name, words)
        return "; ".join(left)

    def _clear_staged(self, attempt: Attempt) -> None:
        if attempt.staged is None:
            return
        try:
            self._delete_staged(attempt)
        except CloudError as error:  # it deletes itself after a day
            log.warning("object %s could not be deleted: %s", attempt.staged, error)

    def _delete_staged(self, attempt: Attempt) -> None:
        if attempt.layout is not None:
            self._staging.delete_layout(attempt.layout)
        elif attempt.staged is not None:
            self._staging.delete(attempt.staged)

    # -- what is known of the cloud ----------------------------------------------------------------------

    def _facts(self, spec: ImageSpec) -> UploadFacts:
        with self._lock:
            refused = frozenset(self._refused)
        version = self._images.api().version
        facts = UploadFacts(
            version=version,
            has_object_store=version == 2 and self._uses_tasks() and self._store.present(),
            has_url=bool(spec.url),
            refused=refused,
        )
        if not may_import(self._settings, facts):
            return facts
        return replace(facts, import_methods=self._images.v2.import_methods())

    def _uses_tasks(self) -> bool:
        return self._settings.image_api_use_tasks or self._settings.image_upload_method == "tasks"

    def _parallel(self) -> int:
        return min(self._policy.parallel, self._settings.service("object_store").concurrency or 99)

    def _no_way(self, spec: ImageSpec, reason: str) -> NotSupported:
        with self._lock:
            words = "; ".join(f"{way.value}: {text}" for way, text in self._refused.items())
        return Trouble.UPLOAD_REFUSED.error(
            NotSupported,
            f"cloud {self._settings.name}: image {spec.name}: no way to upload it is left ({reason})"
            + (f": {words}" if words else ""),
        )


def _check_file(spec: ImageSpec) -> None:
    """Raises ConfigError when the file is not there, is empty, or is another one than `spec` was made of."""
    try:
        size = os.path.getsize(spec.path)
    except OSError as error:
        words = f"image {spec.name}: {spec.path}: {error.strerror or error}"
        raise Trouble.FILE_UNREADABLE.error(ConfigError, words) from error
    if not size or size != spec.size:
        words = f"image {spec.name}: {spec.path}: it has {size} bytes, and {spec.size} were expected"
        raise Trouble.FILE_CHANGED.error(ConfigError, words)


def _may_pass(error: BaseException) -> bool:
    """Whether the next try may have another end."""
    if isinstance(error, UploadStopped | WayRefused | VersionRefused):
        return False
    return isinstance(error, CloudUnavailable | Differs | TryAgain)


def _add_words(error: BaseException, *, before: str = "", after: str = "") -> None:
    """Put words around the text of one of our errors; its kind and its reason stay."""
    if not isinstance(error, PoolmgrError) or str(error).startswith(before or "\0"):
        return
    error.args = ("; ".join(filter(None, (f"{before}{error}", after))),)
    if isinstance(error, ConfigError):
        error.problems = (str(error),)
