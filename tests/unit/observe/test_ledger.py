from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from poolmgr.errors import CloudUnavailable
from poolmgr.observe.ledger import Deletion, Ledger, read
from tests.fakes import FakeClock

THING = Deletion(kind="server", id="s-1", why="node is used", provider="north", node="7", evidence={"x": 1})


def nothing() -> None:
    pass


def test_the_first_line_is_in_the_file_before_the_call_is_made(tmp_path: Path):
    path = str(tmp_path / "ledger")
    ledger = Ledger(FakeClock(), path)
    seen = []
    ledger.delete(THING, lambda: seen.extend(read(path)))
    (before,) = seen
    assert (before["event"], before["id"], before["why"]) == ("delete", "s-1", "node is used")
    assert before["evidence"] == {"x": 1}
    assert before["pid"]
    _, after = read(path)
    assert (after["event"], after["outcome"], after["number"]) == ("outcome", "accepted", before["number"])
    assert ledger.last() == (before, after)


def test_what_the_call_raises_is_the_outcome(tmp_path: Path):
    ledger = Ledger(FakeClock(), str(tmp_path / "ledger"))

    def fail() -> None:
        raise CloudUnavailable("503")

    with pytest.raises(CloudUnavailable):
        ledger.delete(THING, fail)
    assert "503" in read(str(tmp_path / "ledger"))[-1]["outcome"]


def test_files_are_put_aside_and_so_many_kept(tmp_path: Path):
    path = tmp_path / "ledger"
    ledger = Ledger(FakeClock(), str(path), size=1000, files=2)
    for _ in range(50):
        ledger.delete(THING, nothing)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["ledger", "ledger.1", "ledger.2"]
    assert all(one.stat().st_size <= 1000 for one in tmp_path.iterdir())
    numbers = [line["number"] for line in read(str(path), files=2)]
    assert numbers == sorted(numbers)
    assert numbers[-1] == 50


def test_several_writers_lose_no_line(tmp_path: Path):
    path = str(tmp_path / "ledger")
    ledgers = [Ledger(FakeClock(), path, size=2000, files=100) for _ in range(4)]
    threads = [
        threading.Thread(target=lambda one=one: [one.delete(THING, nothing) for _ in range(25)])
        for one in ledgers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read(path, files=100)) == 200


@pytest.mark.parametrize("place", ["none/ledger", "."])
def test_a_ledger_that_cannot_be_written_is_told_once_and_stops_nothing(
    place: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    ledger = Ledger(FakeClock(), str(tmp_path / place))
    done = []
    with caplog.at_level(logging.INFO):
        for n in range(3):
            ledger.delete(THING, lambda n=n: done.append(n))
        ledger.follow(str(tmp_path / "good"))
        ledger.delete(THING, nothing)
    assert done == [0, 1, 2]
    assert caplog.text.count("cannot be written") == 1
    assert "6 lines are missing" in caplog.text
    assert ledger.lost == 6
    assert len(read(str(tmp_path / "good"))) == 2


def test_half_a_line_spoils_no_other(tmp_path: Path):
    path = tmp_path / "ledger"
    path.write_text('{"event": "delete", "id": "x"')
    ledger = Ledger(FakeClock(), str(path))
    ledger._failing = True
    ledger.delete(THING, nothing)
    assert [line["event"] for line in read(str(path))] == ["delete", "outcome"]


def test_the_last_thousand_lines_are_kept_in_memory():
    ledger = Ledger(FakeClock())
    for _ in range(600):
        ledger.delete(THING, nothing)
    assert len(ledger.last()) == 1000
