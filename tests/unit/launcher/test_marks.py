from __future__ import annotations

import pytest

from poolmgr.errors import CloudUnavailable, NotFound, Rejected
from poolmgr.launcher.jobs import Jobs
from poolmgr.launcher.marks import VolumeMarks
from poolmgr.model.server import Owner, Server, ServerStatus
from poolmgr.policy.tuning import Tuning
from tests.fakes import FakeClock, ManualExecutor

OWNER = Owner(provider="north", node_id="7", deployment="d")


def server(*volumes: str) -> Server:
    return Server(id="s-1", name="np7", status=ServerStatus.BUILD, volumes=volumes)


class Cloud:
    """The part of a cloud that marks; `marks` are in force once `run` has let the calls happen."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.executor = ManualExecutor()
        self.jobs = Jobs(lambda: None)
        self.calls: list[tuple[str, ...]] = []
        self.error: Exception | None = None
        tuning = Tuning(mark_retry=5.0, mark_retry_max=20.0)
        self.marks = VolumeMarks(self, self.jobs, self.executor, self.clock, tuning)  # type: ignore[arg-type]

    def mark_volumes(self, server: Server, *, owner: Owner) -> None:
        assert owner == OWNER
        self.calls.append(server.volumes)
        if self.error is not None:
            raise self.error

    def run(self) -> None:
        self.executor.run_all()
        self.jobs.deliver()


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


def test_a_volume_is_marked_once_however_often_it_is_listed(cloud):
    for _ in range(3):
        cloud.marks.note(server("v-1"), OWNER)
        assert len(cloud.executor) == 1
    assert cloud.marks.missing(server("v-1")), "it is on its way"
    cloud.run()
    assert not cloud.marks.missing(server("v-1"))
    cloud.marks.note(server("v-1"), OWNER)
    cloud.run()
    assert cloud.calls == [("v-1",)]


def test_a_server_without_volumes_has_nothing_to_mark(cloud):
    assert not cloud.marks.missing(server())
    cloud.marks.note(server(), OWNER)
    assert len(cloud.executor) == 0


@pytest.mark.parametrize("later", [False, True], ids=["while the first is marked", "afterwards"])
def test_another_volume_is_marked_too(cloud, later):
    cloud.marks.note(server("v-1"), OWNER)
    if later:
        cloud.run()
    cloud.marks.note(server("v-1", "v-2"), OWNER)
    cloud.run()
    cloud.marks.advance(cloud.clock.monotonic())
    cloud.run()
    assert cloud.calls[-1] == ("v-1", "v-2")
    assert not cloud.marks.missing(server("v-1", "v-2"))


def test_what_fails_is_tried_again_ever_more_rarely(cloud):
    cloud.error = CloudUnavailable("503")
    cloud.marks.note(server("v-1"), OWNER)
    pauses = []
    for _ in range(4):
        cloud.run()
        now = cloud.clock.monotonic()
        pauses.append(cloud.marks.advance(now) - now)
        cloud.clock.advance(pauses[-1])
        cloud.marks.advance(cloud.clock.monotonic())
    assert pauses == [5.0, 10.0, 20.0, 20.0]
    cloud.error = None
    cloud.run()
    assert not cloud.marks.missing(server("v-1"))
    assert cloud.marks.advance(1e9) == float("inf")


@pytest.mark.parametrize("error", [NotFound("gone"), Rejected("you may not")])
def test_what_cannot_be_marked_is_let_be(cloud, error, caplog):
    cloud.error = error
    cloud.marks.note(server("v-1"), OWNER)
    cloud.run()
    assert "stay without our mark" in caplog.text
    assert cloud.marks.advance(1e9) == float("inf")


def test_of_a_server_that_is_gone_nothing_is_remembered(cloud):
    cloud.marks.note(server("v-1"), OWNER)
    cloud.marks.forget("s-1")
    cloud.run()
    assert cloud.marks.missing(server("v-1"))
    assert cloud.marks.advance(1e9) == float("inf")
