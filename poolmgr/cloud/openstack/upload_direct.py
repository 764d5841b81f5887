"""The ways in which bytes go to the Image service itself: PUT, the two imports, and version 1 (cloud.md 3.4).

Each makes an image first, so that its id is known before the first byte, and returns it ACTIVE. What a refusal means
is judged in upload_judge.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from poolmgr.cloud.openstack.errors import Failure, Forbidden, WrongEndpoint, error_of
from poolmgr.cloud.openstack.image import Images
from poolmgr.cloud.openstack.session import Answer
from poolmgr.cloud.openstack.upload_attempt import Attempt, TryAgain, WayRefused, mine
from poolmgr.cloud.openstack.upload_body import Body
from poolmgr.cloud.openstack.upload_judge import (
    ImportState,
    Next,
    Sums,
    after_send,
    hashes_to_take,
    import_state,
)
from poolmgr.cloud.openstack.upload_method import GLANCE_NAMES, Way
from poolmgr.cloud.openstack.upload_transfer import Part, Piece, UploadStopped, transfer
from poolmgr.errors import CloudError, CloudUnavailable, NotFound, OutcomeUnknown, OverQuota, Rejected
from poolmgr.model.cloud_image import CloudImage, ImageStatus, UploadPhase
from poolmgr.model.trouble import Trouble

log = logging.getLogger(__name__)

Send = Callable[[str, Body], Answer | Failure]

_ENDS = (ImageStatus.KILLED, ImageStatus.DELETED, ImageStatus.DEACTIVATED)


class VersionRefused(CloudUnavailable):
    """The cloud lists version 2 of the Image API and does not have it."""


class DirectWays:
    """PUT, import and version 1."""

    def __init__(self, images: Images) -> None:
        self._images = images

    def put(self, attempt: Attempt) -> CloudImage:
        """By version 2's `PUT /images/{id}/file`, or version 1's `PUT /images/{id}`."""
        image_id = self._create(attempt)
        self._send(attempt, self._images.api().send)
        return self.until_active(attempt, image_id)

    def import_staged(self, attempt: Attempt) -> CloudImage:
        """Bytes to the service's staging area, then an import (glance-direct)."""
        image_id = self._create(attempt)
        self._send(attempt, self._images.v2.stage)
        return self._import(attempt, image_id, {"name": GLANCE_NAMES[Way.IMPORT]})

    def web_download(self, attempt: Attempt) -> CloudImage:
        """The cloud fetches the file from `spec.url` itself."""
        image_id = self._create(attempt)
        method = {"name": GLANCE_NAMES[Way.WEB_DOWNLOAD], "uri": attempt.spec.url or ""}
        return self._import(attempt, image_id, method)

    def until_active(self, attempt: Attempt, image_id: str) -> CloudImage:
        """The image once it is ACTIVE. Raises TryAgain when it will not be, UploadStopped."""

        def ended(image: CloudImage) -> CloudImage | None:
            if image.status in (*_ENDS, ImageStatus.QUEUED):
                raise TryAgain(f"image {image_id} became {image.status_text}")
            return image if image.status is ImageStatus.ACTIVE else None

        return self._poll(attempt, image_id, ended, attempt.job.policy.import_timeout)

    # -- steps -------------------------------------------------------------------------------------------

    def _create(self, attempt: Attempt) -> str:
        """A queued image. A call that was not answered may have made one: it is looked for."""
        job, api = attempt.job, self._images.api()
        try:
            image = api.create(job.spec, job.properties, job.numbers)
        except OutcomeUnknown as error:
            found = [each for each in mine(self._images, attempt) if each.status is ImageStatus.QUEUED]
            if not found:
                raise TryAgain(str(error), request_id=error.request_id) from error
            image = found[0]
        except (NotFound, WrongEndpoint) as error:
            if api.version == 1:
                raise
            raise VersionRefused(str(error), request_id=error.request_id) from error
        except Forbidden as error:  # of images, not of the login: the rest of the cloud may be used
            raise Trouble.UPLOAD_REFUSED.error(Rejected, str(error), request_id=error.request_id) from error
        attempt.made_image(image.id)
        return image.id

    def _send(self, attempt: Attempt, send: Send) -> None:
        """All bytes to the image; returns when they were taken, or are being worked on all the same."""
        spec, policy = attempt.spec, attempt.job.policy
        image_id = attempt.image_id or ""
        whole = Part(path=spec.path, offset=0, length=spec.size)
        piece = Piece(whole, hashes=hashes_to_take(spec), patience=policy.stall, pace=attempt.job.pace)

        def go() -> Answer | Failure:
            with piece.body() as body:
                answer = send(image_id, body)
                if body.whole:
                    attempt.sums = Sums(size=spec.size, hashes=body.digests())
                return answer

        attempt.tell(UploadPhase.SENDING, 0)
        try:
            told = transfer(
                [(piece, go)],
                attempt.job.threads,
                attempt.job.watch,
                lambda sent: attempt.tell(UploadPhase.SENDING, sent),
            )
        except UploadStopped:
            raise
        except CloudUnavailable as error:
            self._after(attempt, None, error, all_sent=piece.whole)
            return
        if isinstance(told[0], Failure):
            self._after(attempt, told[0], error_of(told[0], repeatable=True), all_sent=piece.whole)

    def _after(self, attempt: Attempt, failure: Failure | None, error: CloudError, *, all_sent: bool) -> None:
        """What the cloud did not take; returns if it has the bytes all the same. Raises what becomes of the try."""
        if isinstance(error, OverQuota):
            raise error
        seen = self._status(attempt.image_id or "")
        verdict = after_send(failure.status if failure else None, seen, all_sent=all_sent)
        log.info("image %s: %s: %s", attempt.spec.name, verdict.reason, error)
        match verdict.next:
            case Next.VERIFY | Next.WAIT:
                return
            case Next.OTHER_WAY:
                raise WayRefused(attempt.way, CloudUnavailable(str(failure or error))) from error
            case Next.AGAIN:
                wait = getattr(failure or error, "retry_after", None)
                raise TryAgain(str(error), retry_after=wait, request_id=error.request_id) from error
            case Next.FAIL:
                raise error

    def _status(self, image_id: str) -> ImageStatus | None:
        try:
            return self._images.get(image_id).status
        except NotFound:
            return None

    def _import(self, attempt: Attempt, image_id: str, method: dict[str, str]) -> CloudImage:
        """Let the cloud import, and wait for it. Raises TryAgain when it fails, WayRefused when it gets stuck."""
        job, began_at = attempt.job, attempt.job.watch.now()
        attempt.tell(UploadPhase.IMPORTING)
        self._start_import(attempt, image_id, method)
        began = attempt.way is Way.IMPORT  # what is staged is not queued any more

        def ended(image: CloudImage) -> CloudImage | None:
            nonlocal began
            began = began or image.status is ImageStatus.IMPORTING
            state = import_state(image, began=began, waited=job.watch.now() - began_at)
            if state is ImportState.FAILED:
                words = self._images.v2.import_message(image_id) or f"the image became {image.status_text}"
                raise Trouble.IMPORT_FAILED.error(TryAgain, f"import of image {image_id} failed: {words}")
            return image if state is ImportState.DONE else None

        try:
            return self._poll(attempt, image_id, ended, job.policy.import_timeout)
        except _Stuck as error:
            raise WayRefused(attempt.way, error) from error

    def _start_import(self, attempt: Attempt, image_id: str, method: dict[str, str]) -> None:
        """Asked for as often as it takes: one that has begun is refused (409) and not begun again."""
        policy = attempt.job.policy
        for number in range(1, policy.tries + 1):
            try:
                return self._images.v2.start_import(image_id, method)
            except CloudUnavailable as error:
                if number == policy.tries:
                    raise
                log.info("image %s: the import may have begun: %s", attempt.spec.name, error)
            except (NotFound, WrongEndpoint) as error:
                raise WayRefused(attempt.way, error) from error
            except Rejected:
                if number == 1:
                    raise
                return None
            attempt.job.watch.pause(policy.pause)
        return None

    def _poll(
        self,
        attempt: Attempt,
        image_id: str,
        ended: Callable[[CloudImage], CloudImage | None],
        timeout: float,
    ) -> CloudImage:
        """What `ended` makes of the image, as soon as that is one; answers that fail meanwhile are no end."""
        watch, policy = attempt.job.watch, attempt.job.policy
        deadline, interval = watch.now() + timeout, policy.first_poll
        while True:
            words = "not answered"
            try:
                image = self._images.get(image_id)
            except NotFound as error:
                raise TryAgain(f"image {image_id} was deleted meanwhile: {error}") from error
            except CloudUnavailable as error:
                log.info("image %s: %s", attempt.spec.name, error)
            else:
                words = image.status_text
                if (found := ended(image)) is not None:
                    return found
            if watch.now() >= deadline:
                raise _Stuck(f"image {image_id} is {words} after {timeout:.0f} s")
            attempt.tell(UploadPhase.IMPORTING)
            watch.pause(interval)
            interval = min(2 * interval, policy.longest_poll)


class _Stuck(UploadStopped):
    """Nothing has come of it in all the time it was given."""
