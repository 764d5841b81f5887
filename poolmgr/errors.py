"""Every error poolmgr raises on purpose, as one tree.

A leaf tells the caller what to do; foreign errors become one of these at the border of the room that
owns the foreign library. Each method of `store.api` and `cloud.api` lists the leaves it may raise.

    PoolmgrError
      ConfigError             an operator must act
      StoreError
        StoreUnavailable      end the cycle, try later
        Conflict              re-read, decide again
        RecordGone            the record was deleted: drop the work on it
        LockBusy              someone else has it: skip
        LockLost              stop acting on the thing
        BadRecord             log with path, skip, never delete
      CloudError
        CloudUnavailable      same call again after backoff
          Throttled           the same, not before `retry_after`
        OutcomeUnknown        a create was sent and not answered: look for it before sending again
        AuthFailed            stop this provider, try the login again later
        NotFound              for a delete: done
        OverQuota             refresh limits, keep the request, no attempt charged
        NoCapacity            another zone or another provider
        Rejected              this label's settings are wrong; retrying cannot help
        ImageGone             the image is not in the cloud: choose another upload
        NotSupported          this poolmgr cannot do that yet
        ServerFailed          an accepted server did not become usable, and is deleted: again, or elsewhere
      ProbeError              SSH not answering or keys unreadable (yet)
      Refused                 what was asked for does not go in this state: tell who asked
      ProcessFailed           a program could not be started; the message says why
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class PoolmgrError(Exception):
    """The base of all of them.

    `reason` is a stable word for what is wrong, `remedy` what to do about it, which ends the text after `message`;
    both "" where the message says all there is. `model.trouble` has the words for clouds.
    """

    def __init__(self, message: str = "", *, reason: str = "", remedy: str = "") -> None:
        super().__init__(f"{message}; {remedy}" if remedy else message)
        self.message = message
        self.reason = reason
        self.remedy = remedy


class ConfigError(PoolmgrError):
    """A configuration that cannot be used. `problems` has one line for each defect found."""

    def __init__(
        self, message: str, problems: Sequence[str] = (), *, reason: str = "", remedy: str = ""
    ) -> None:
        super().__init__(message, reason=reason, remedy=remedy)
        self.problems = tuple(problems) or (str(self),)


class StoreError(PoolmgrError):
    """Trouble with the store."""


class StoreUnavailable(StoreError):
    """No connection, or the session was suspended or lost during the call."""


class Conflict(StoreError):
    """The record's version moved on since it was read."""


class RecordGone(StoreError):
    """The record does not exist (any more)."""


class LockBusy(StoreError):
    """Someone else holds the lock."""


class LockLost(StoreError):
    """The lock was ours and is not any more; nothing was written."""


class BadRecord(StoreError):
    """Data in the store that is not a record of the expected kind."""


class CloudError(PoolmgrError):
    """Trouble with a cloud. `request_id` is the cloud's own name for the call, where it gave one."""

    def __init__(
        self, message: str, *, request_id: str | None = None, reason: str = "", remedy: str = ""
    ) -> None:
        super().__init__(message, reason=reason, remedy=remedy)
        self.request_id = request_id


class CloudUnavailable(CloudError):
    """No answer, a timeout or a 5xx, for a call that may simply be repeated."""


class Throttled(CloudUnavailable):
    """The cloud asks for fewer calls. `retry_after` is in seconds, None where it did not say."""

    def __init__(self, message: str, *, retry_after: float | None = None, **more: Any) -> None:
        super().__init__(message, **more)
        self.retry_after = retry_after


class OutcomeUnknown(CloudError):
    """A create call that may or may not have had its effect."""


class AuthFailed(CloudError):
    """The credentials are refused, or may not do this."""


class NotFound(CloudError):
    """The thing does not exist in the cloud."""


class OverQuota(CloudError):
    """The project's quota does not allow it."""


class NoCapacity(CloudError):
    """The cloud has no room for it now."""


class Rejected(CloudError):
    """The cloud refuses the call as it stands."""


class ImageGone(CloudError):
    """The image to boot from is not usable in this cloud."""


class NotSupported(CloudError):
    """Something this release of poolmgr does not do; the message says what to do instead."""


class ServerFailed(CloudError):
    """A server did not become usable. `console` is the end of what it wrote there, "" if that is not known."""

    def __init__(self, message: str, *, console: str = "") -> None:
        super().__init__(message)
        self.console = console


class ProbeError(PoolmgrError):
    """A server that cannot be reached (yet), or whose host keys cannot be read."""


class Refused(PoolmgrError):
    """Something that a command or a client may not do to this thing now; nothing was changed."""


class ProcessFailed(PoolmgrError):
    """A program that could not be started."""
