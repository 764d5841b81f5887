"""The bytes of one try, and sending several at once; test_upload_wire has the connections."""

from __future__ import annotations

import hashlib
import threading

import pytest

from poolmgr.cloud.openstack.upload_body import BLOCK, Aborted, Body, hashes_of
from poolmgr.cloud.openstack.upload_transfer import Part, Piece, UploadStopped, Watch, transfer
from poolmgr.errors import CloudUnavailable, ConfigError
from tests.fakes import FakeClock, InlineExecutor

CONTENT = bytes(range(256)) * 4000


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "disk.img"
    file.write_bytes(CONTENT)
    return str(file)


def md5(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.mark.parametrize(("offset", "length"), [(0, len(CONTENT)), (1000, 500_000), (len(CONTENT) - 1, 1)])
def test_a_body_gives_its_part_of_the_file_and_the_hashes_of_that(path, offset, length):
    with Body(path, offset, length, ("md5", "sha512")) as body:
        assert len(body) == length
        pieces = list(body)
        assert b"".join(pieces) == CONTENT[offset : offset + length]
        assert max(map(len, pieces)) <= BLOCK
        assert body.whole
        assert body.read() == b""
        assert body.digests()["md5"] == md5(CONTENT[offset : offset + length])


def test_a_new_body_begins_at_its_beginning(path):
    piece = Piece(Part(path=path, offset=10, length=300_000), hashes=("md5",))
    with piece.body() as first:
        first.read()
        assert piece.sent == BLOCK
    with piece.body() as second:
        assert piece.sent == 0
        assert b"".join(second) == CONTENT[10:300_010]
    assert piece.whole


def test_a_file_that_cannot_be_read_or_has_shrunk_is_the_operators(path, tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        Body(str(tmp_path / "none"), 0, 5, ())
    with Body(path, 0, len(CONTENT) + 1, ()) as body, pytest.raises(ConfigError, match="shorter"):
        list(body)


def test_hashes_of_a_whole_file(path):
    assert hashes_of(path, len(CONTENT), ("md5",)) == {"md5": md5(CONTENT)}


def test_an_aborted_body_gives_nothing_more_and_a_piece_no_other_body(path):
    piece = Piece(Part(path=path, offset=0, length=len(CONTENT)))
    with piece.body() as body:
        body.read()
        piece.abort()
        with pytest.raises(Aborted):
            body.read()
        with pytest.raises(Aborted):
            body.goes_over(object())
    with pytest.raises(UploadStopped):
        piece.body()


def test_a_transfer_tells_how_far_it_is_and_gives_the_answers_in_order(path):
    pieces = [Piece(Part(path=path, offset=at, length=1000), hashes=()) for at in (0, 1000, 2000)]

    def send(piece):
        with piece.body() as body:
            return b"".join(body)

    told = []
    jobs = [(piece, lambda piece=piece: send(piece)) for piece in pieces]
    watch = Watch(FakeClock(), None, None)
    assert b"".join(transfer(jobs, InlineExecutor(), watch, told.append)) == CONTENT[:3000]
    assert told[-1] == 3000


def test_the_first_failure_of_a_transfer_ends_the_others(path):
    pieces = [Piece(Part(path=path, offset=0, length=10)) for _ in range(2)]

    def fail():
        raise CloudUnavailable("no")

    jobs = [(pieces[0], fail), (pieces[1], lambda: None)]
    with pytest.raises(CloudUnavailable, match="no"):
        transfer(jobs, InlineExecutor(), Watch(FakeClock(), None, None), lambda _: None)
    with pytest.raises(UploadStopped):
        pieces[1].body()


def test_a_watch_ends_with_its_time_or_when_it_is_told():
    clock, cancelled = FakeClock(), threading.Event()
    watch = Watch(clock, cancelled, 10.0)
    watch.pause(9.0)
    with pytest.raises(UploadStopped, match="not done within 10 s"):
        watch.pause(9.0)
    assert clock.monotonic() == 10.0
    cancelled.set()
    with pytest.raises(UploadStopped, match="cancelled"):
        watch.check()
