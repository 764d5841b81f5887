from __future__ import annotations

import threading

import pytest

from poolmgr.errors import CloudUnavailable, NotFound, StoreUnavailable
from poolmgr.launcher.jobs import Jobs, Outcome
from poolmgr.runtime.executor import ThreadExecutor
from tests.fakes import InlineExecutor, ManualExecutor


class Desk:
    """Jobs, and what came of them."""

    def __init__(self) -> None:
        self.woken = 0
        self.jobs = Jobs(self._wake)
        self.outcomes: list[Outcome[object]] = []

    def _wake(self) -> None:
        self.woken += 1


@pytest.fixture
def desk() -> Desk:
    return Desk()


def fail(error: BaseException) -> object:
    raise error


def test_a_jobs_value_is_handed_out_in_deliver_and_not_before(desk):
    executor = InlineExecutor()
    desk.jobs.run(executor, lambda: 42, desk.outcomes.append)
    assert desk.outcomes == []
    assert (desk.woken, desk.jobs.running) == (1, 1)
    assert desk.jobs.deliver() == 1
    assert desk.outcomes == [Outcome(value=42)]
    assert desk.jobs.running == 0
    assert desk.jobs.deliver() == 0


def test_a_job_that_has_not_ended_is_not_waited_for(desk):
    executor = ManualExecutor()
    desk.jobs.run(executor, lambda: 42, desk.outcomes.append)
    assert desk.jobs.deliver() == 0
    executor.run_all()
    assert desk.jobs.deliver() == 1


def test_the_functions_run_on_the_workers_thread(desk):
    executor = ThreadExecutor("test", 1)
    ended = threading.Event()
    desk.jobs = Jobs(ended.set)
    seen: list[bool] = []
    desk.jobs.run(
        executor,
        threading.get_ident,
        lambda outcome: seen.append(threading.get_ident() == outcome.value),
    )
    assert ended.wait(10.0)
    desk.jobs.deliver()
    executor.stop()
    assert seen == [False]


def test_jobs_are_handed_out_in_the_order_they_ended(desk):
    slow, quick = ManualExecutor(), ManualExecutor()
    desk.jobs.run(slow, lambda: "slow", desk.outcomes.append)
    desk.jobs.run(quick, lambda: "quick", desk.outcomes.append)
    quick.run_all()
    slow.run_all()
    desk.jobs.deliver()
    assert [outcome.value for outcome in desk.outcomes] == ["quick", "slow"]


def test_a_poolmgr_error_is_an_outcome(desk):
    error = CloudUnavailable("503")
    desk.jobs.run(InlineExecutor(), lambda: fail(error), desk.outcomes.append)
    desk.jobs.deliver()
    assert desk.outcomes == [Outcome(error=error)]


def test_a_bug_is_an_outcome_too_and_is_raised(desk):
    """Whoever waits for the job must not wait for ever, and the bug must not pass unseen."""
    desk.jobs.run(InlineExecutor(), lambda: fail(ZeroDivisionError("a bug")), desk.outcomes.append)
    desk.jobs.run(InlineExecutor(), lambda: 42, desk.outcomes.append)
    with pytest.raises(ZeroDivisionError):
        desk.jobs.deliver()
    assert str(desk.outcomes[0].error) == "ZeroDivisionError: a bug"
    assert desk.jobs.deliver() == 1  # the others are handed out by the next cycle
    assert desk.outcomes[1] == Outcome(value=42)


def test_a_bug_does_not_hide_behind_trouble_in_dealing_with_it(desk):
    def then(_: Outcome[object]) -> None:
        raise StoreUnavailable("session lost")

    desk.jobs.run(InlineExecutor(), lambda: fail(ZeroDivisionError("a bug")), then)
    with pytest.raises(ZeroDivisionError):
        desk.jobs.deliver()


def test_trouble_in_dealing_with_one_job_keeps_the_others_for_the_next_cycle(desk):
    def then(_: Outcome[object]) -> None:
        raise StoreUnavailable("session lost")

    desk.jobs.run(InlineExecutor(), lambda: 1, then)
    desk.jobs.run(InlineExecutor(), lambda: fail(NotFound("2")), desk.outcomes.append)
    with pytest.raises(StoreUnavailable):
        desk.jobs.deliver()
    assert desk.jobs.running == 1
    assert desk.jobs.deliver() == 1
    assert isinstance(desk.outcomes[0].error, NotFound)


def test_a_job_that_was_dropped_at_stop_has_no_outcome(desk):
    executor = ManualExecutor()
    desk.jobs.run(executor, lambda: 42, desk.outcomes.append)
    executor.stop()
    desk.jobs.run(executor, lambda: 42, desk.outcomes.append)
    assert desk.jobs.deliver() == 2
    assert desk.outcomes == []
    assert desk.jobs.running == 0


def test_a_function_may_start_the_next_job(desk):
    executor = InlineExecutor()
    desk.jobs.run(executor, lambda: 1, lambda _: desk.jobs.run(executor, lambda: 2, desk.outcomes.append))
    desk.jobs.deliver()
    assert desk.outcomes == [Outcome(value=2)]
