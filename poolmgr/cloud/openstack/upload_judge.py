"""What follows from what a cloud says while an image goes up (cloud.md 3.4): pure, and tables.

`after_send` reads the answer to the bytes together with how the cloud shows the image then, since an answer alone can
lie: a 504 of a proxy may hide a success, and a 409 that an earlier try got through.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from poolmgr.cloud.openstack.image_record import FAILED_IMPORT
from poolmgr.cloud.openstack.upload_body import HASHES
from poolmgr.model.cloud_image import CloudImage, ImageSpec, ImageStatus


class Next(enum.Enum):
    """What to do after bytes were sent and not accepted."""

    VERIFY = "verify"  # the image has bytes: see whether they are ours
    WAIT = "wait"  # the cloud still works on them
    AGAIN = "again"  # a new image, all bytes anew
    OTHER_WAY = "other-way"  # this cloud does not take images like this
    FAIL = "fail"  # doing it again cannot help


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    next: Next
    reason: str


#: Statuses with which a cloud says that it does not take bytes at this address.
REFUSALS = (403, 404, 405)
#: What may pass: no answer is None.
PASSING = (None, 401, 408, 409, 410, 429)
_AT_WORK = (ImageStatus.SAVING, ImageStatus.IMPORTING)


def after_send(status: int | None, seen: ImageStatus | None, *, all_sent: bool) -> Verdict:
    """After an answer of `status` (None: none came) that was no success.

    `seen` is the image as shown after it, None: there is no such image (any more). `all_sent`: every byte had left.
    """
    if seen is ImageStatus.ACTIVE and status not in (401, *REFUSALS):
        return Verdict(next=Next.VERIFY, reason="active-all-the-same")
    passing = status in PASSING or (status or 0) >= 500
    if seen in _AT_WORK and all_sent and passing:
        return Verdict(next=Next.WAIT, reason="at-work")
    if seen in (None, ImageStatus.DELETED):
        return Verdict(next=Next.AGAIN, reason="deleted-meanwhile")
    if status in REFUSALS:
        return Verdict(next=Next.OTHER_WAY, reason="refused")
    if passing:
        return Verdict(next=Next.AGAIN, reason="no-answer" if status is None else f"answer-{status}")
    return Verdict(next=Next.FAIL, reason=f"answer-{status}")


class ImportState(enum.Enum):
    DONE = "done"
    AT_WORK = "at-work"
    FAILED = "failed"


def import_state(image: CloudImage, *, began: bool, waited: float, grace: float = 60.0) -> ImportState:
    """How far the cloud's import of `image` is (Image API v2, "Interoperable image import").

    `began`: it has been seen at work. `waited`: seconds since the import was asked for; for `grace` seconds the cloud
    may not have begun. An import that fails leaves the image queued as it was, and names the stores that failed.
    """
    if image.status is ImageStatus.ACTIVE:
        return ImportState.DONE
    if image.properties.get(FAILED_IMPORT) or image.status in (ImageStatus.KILLED, ImageStatus.DELETED):
        return ImportState.FAILED
    if image.status is ImageStatus.QUEUED and (began or waited > grace):
        return ImportState.FAILED
    return ImportState.AT_WORK


@dataclass(frozen=True, kw_only=True, slots=True)
class Sums:
    """A file: how many bytes it has, and their hashes by hashlib's names, as far as they are known."""

    size: int
    hashes: dict[str, str]


def sums_of(spec: ImageSpec) -> Sums:
    """What `spec` says of its file."""
    told = {"md5": spec.md5, "sha256": spec.sha256}
    return Sums(size=spec.size, hashes={name: value.lower() for name, value in told.items() if value})


def hashes_to_take(spec: ImageSpec) -> tuple[str, ...]:
    """The hashes that are worth computing while the bytes go out.

    A known md5 shows both that the file is still what was built, and that the cloud has it: more would cost an upload
    half its speed. A cloud that tells no md5 has the file read again afterwards.
    """
    return ("md5",) if spec.md5 else HASHES


def contradiction(spec: ImageSpec, read: Sums) -> str:
    """How the bytes that were read differ from what `spec` says of them; "" if they do not."""
    for name, value in sums_of(spec).hashes.items():
        if name in read.hashes and read.hashes[name] != value:
            return f"its {name} is {read.hashes[name]}, and {value} was expected"
    return ""


def difference(image: CloudImage, sums: Sums, *, may_change: bool) -> str:
    """How the image in the cloud differs from our file; "" if it does not, as far as both sides tell.

    `may_change`: the cloud converts images, so that only their being there is compared.
    """
    if may_change:
        return "" if image.size else "it is empty"
    if image.size != sums.size:
        return f"it has {image.size} bytes instead of {sums.size}"
    for name, value in ((image.hash_algo, image.hash_value), ("md5", image.md5)):
        if value and name in sums.hashes and sums.hashes[name] != value.lower():
            return f"its {name} is {value} instead of {sums.hashes[name]}"
    return ""


def comparable(image: CloudImage, sums: Sums) -> bool:
    """Whether there is a hash that both the cloud and we know."""
    return bool((image.hash_value and image.hash_algo in sums.hashes) or (image.md5 and "md5" in sums.hashes))
