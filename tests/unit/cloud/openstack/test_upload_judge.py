"""What follows from what a cloud says while an image goes up: tables."""

from __future__ import annotations

import pytest

from poolmgr.cloud.openstack.upload_judge import (
    ImportState,
    Next,
    Sums,
    after_send,
    comparable,
    contradiction,
    difference,
    hashes_to_take,
    import_state,
    sums_of,
)
from poolmgr.model.cloud_image import CloudImage, ImageSpec, ImageStatus

QUEUED, SAVING, ACTIVE = ImageStatus.QUEUED, ImageStatus.SAVING, ImageStatus.ACTIVE


@pytest.mark.parametrize(
    ("status", "seen", "all_sent", "then", "reason"),
    [
        # it got through, whatever was answered
        (None, ACTIVE, True, Next.VERIFY, "active-all-the-same"),
        (503, ACTIVE, True, Next.VERIFY, "active-all-the-same"),
        (409, ACTIVE, False, Next.VERIFY, "active-all-the-same"),
        # the bytes were refused before they were looked at, so whatever is active is not all of them
        (401, ACTIVE, False, Next.AGAIN, "answer-401"),
        # the cloud still writes
        (None, SAVING, True, Next.WAIT, "at-work"),
        (504, SAVING, True, Next.WAIT, "at-work"),
        (None, SAVING, False, Next.AGAIN, "no-answer"),
        (503, SAVING, False, Next.AGAIN, "answer-503"),
        # nothing arrived
        (None, QUEUED, False, Next.AGAIN, "no-answer"),
        (401, QUEUED, True, Next.AGAIN, "answer-401"),
        (408, QUEUED, True, Next.AGAIN, "answer-408"),
        (409, QUEUED, True, Next.AGAIN, "answer-409"),
        (429, QUEUED, True, Next.AGAIN, "answer-429"),
        (500, QUEUED, True, Next.AGAIN, "answer-500"),
        (503, ImageStatus.KILLED, True, Next.AGAIN, "answer-503"),
        # the image is gone
        (404, None, True, Next.AGAIN, "deleted-meanwhile"),
        (410, None, True, Next.AGAIN, "deleted-meanwhile"),
        (404, ImageStatus.DELETED, True, Next.AGAIN, "deleted-meanwhile"),
        # the way is shut
        (403, QUEUED, True, Next.OTHER_WAY, "refused"),
        (404, QUEUED, True, Next.OTHER_WAY, "refused"),
        (405, QUEUED, False, Next.OTHER_WAY, "refused"),
        # the image is wrong
        (400, QUEUED, True, Next.FAIL, "answer-400"),
        (413, QUEUED, True, Next.FAIL, "answer-413"),
        (415, QUEUED, True, Next.FAIL, "answer-415"),
        (307, QUEUED, True, Next.FAIL, "answer-307"),
    ],
)
def test_after_bytes_that_were_not_taken(status, seen, all_sent, then, reason):
    verdict = after_send(status, seen, all_sent=all_sent)
    assert (verdict.next, verdict.reason) == (then, reason)


def image(status=ACTIVE, **more):
    return CloudImage(id="i", name="n", status=status, **more)


@pytest.mark.parametrize(
    ("shown", "began", "waited", "state"),
    [
        (image(), True, 5.0, ImportState.DONE),
        (image(ImageStatus.IMPORTING), True, 9_999.0, ImportState.AT_WORK),
        (image(ImageStatus.UPLOADING), True, 9_999.0, ImportState.AT_WORK),
        (image(QUEUED), True, 1.0, ImportState.FAILED),  # it was at work, and is not any more
        (image(QUEUED), False, 1.0, ImportState.AT_WORK),  # it may not have begun
        (image(QUEUED), False, 61.0, ImportState.FAILED),
        (image(ImageStatus.KILLED), True, 1.0, ImportState.FAILED),
        (
            image(ImageStatus.IMPORTING, properties={"os_glance_failed_import": "fast"}),
            True,
            1.0,
            ImportState.FAILED,
        ),
        (
            image(ImageStatus.IMPORTING, properties={"os_glance_failed_import": ""}),
            True,
            1.0,
            ImportState.AT_WORK,
        ),
    ],
)
def test_how_far_an_import_is(shown, began, waited, state):
    assert import_state(shown, began=began, waited=waited) is state


SUMS = Sums(size=10, hashes={"md5": "aa", "sha512": "bb"})


@pytest.mark.parametrize(
    ("shown", "may_change", "words"),
    [
        (image(size=10, md5="aa", hash_algo="sha512", hash_value="bb"), False, ""),
        (image(size=10, md5="AA"), False, ""),
        (image(size=10), False, ""),  # the cloud tells no hash
        (
            image(size=10, md5="aa", hash_algo="blake2b", hash_value="zz"),
            False,
            "",
        ),  # one that we do not compute
        (image(size=9, md5="aa"), False, "9 bytes instead of 10"),
        (image(size=None), False, "None bytes"),
        (image(size=10, md5="ab"), False, "md5 is ab"),
        (image(size=10, md5="aa", hash_algo="sha512", hash_value="bc"), False, "sha512 is bc"),
        (image(size=99, md5="ab"), True, ""),
        (image(size=0, md5="ab"), True, "empty"),
        (image(size=None), True, "empty"),
    ],
)
def test_how_an_image_differs_from_its_file(shown, may_change, words):
    found = difference(shown, SUMS, may_change=may_change)
    assert words in found
    assert bool(found) is bool(words)


def test_whether_there_is_anything_to_compare():
    assert comparable(image(md5="x"), SUMS)
    assert comparable(image(hash_algo="sha512", hash_value="x"), SUMS)
    assert not comparable(image(hash_algo="blake2b", hash_value="x"), SUMS)
    assert not comparable(image(md5="x"), Sums(size=10, hashes={}))


def test_what_was_read_is_compared_with_what_was_recorded():
    spec = ImageSpec(name="n", path="/p", size=10, md5="AA", sha256="cc")
    assert sums_of(spec).hashes == {"md5": "aa", "sha256": "cc"}
    assert contradiction(spec, Sums(size=10, hashes={"md5": "aa", "sha512": "zz"})) == ""
    assert "sha256" in contradiction(spec, Sums(size=10, hashes={"md5": "aa", "sha256": "cd"}))


def test_a_known_md5_is_the_only_hash_that_sending_computes():
    assert hashes_to_take(ImageSpec(name="i", path="/i", size=1, md5="aa", sha256="bb")) == ("md5",)
    assert "sha512" in hashes_to_take(ImageSpec(name="i", path="/i", size=1, sha256="bb"))
