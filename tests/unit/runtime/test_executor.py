"""The real executor; and its fakes, where they must behave alike."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future

import pytest

from poolmgr.runtime.executor import Executor, ThreadExecutor
from tests.fakes import InlineExecutor, ManualExecutor

PATIENCE = 10.0  # seconds for another thread to do what it does at once


class Gate:
    """A job that hangs until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.leave = threading.Event()

    def __call__(self) -> str:
        self.entered.set()
        assert self.leave.wait(PATIENCE)
        return "left"


@pytest.fixture
def threads():
    made: list[ThreadExecutor] = []

    def make(size: int) -> ThreadExecutor:
        made.append(ThreadExecutor("test", size))
        return made[-1]

    yield make
    for executor in made:
        executor.stop()


def _run(executor: Executor, future: Future[object]) -> Future[object]:
    if isinstance(executor, ManualExecutor):
        executor.run_all()
    return future


@pytest.fixture(params=[lambda: ThreadExecutor("test", 2), InlineExecutor, ManualExecutor])
def executor(request):
    made = request.param()
    yield made
    made.stop()


def test_a_future_has_what_the_job_returned(executor):
    assert _run(executor, executor.submit(lambda: 42)).result(PATIENCE) == 42


def test_a_future_has_what_the_job_raised_whatever_it_is(executor):
    def job() -> None:
        raise SystemExit(3)

    assert isinstance(_run(executor, executor.submit(job)).exception(PATIENCE), SystemExit)
    assert _run(executor, executor.submit(lambda: "next")).result(PATIENCE) == "next"


def test_after_stop_a_job_is_cancelled_and_says_so_to_who_waits(executor):
    executor.stop()
    told: list[bool] = []
    future = executor.submit(lambda: 42)
    future.add_done_callback(lambda f: told.append(f.cancelled()))
    assert told == [True]


def test_the_manual_executor_drops_what_waits_at_stop():
    executor = ManualExecutor()
    future = executor.submit(lambda: 42)
    executor.stop()
    assert future.cancelled()
    assert len(executor) == 0


def test_jobs_run_side_by_side_but_never_more_than_the_size(threads):
    executor = threads(2)
    gates = [Gate(), Gate(), Gate()]
    futures = [executor.submit(gate) for gate in gates]
    assert gates[0].entered.wait(PATIENCE)
    assert gates[1].entered.wait(PATIENCE)
    assert not futures[2].running()
    gates[0].leave.set()
    assert gates[2].entered.wait(PATIENCE)
    for gate in gates:
        gate.leave.set()
    assert [f.result(PATIENCE) for f in futures] == ["left"] * 3


def test_jobs_begin_in_order_of_submission(threads):
    executor = threads(1)
    begun: list[int] = []
    futures = [executor.submit(lambda n=n: begun.append(n)) for n in range(50)]
    for future in futures:
        future.result(PATIENCE)
    assert begun == list(range(50))


def test_a_job_that_waits_on_a_later_one_finds_a_thread_for_it(threads):
    """No thread may be counted as idle twice: the second job would wait behind the first for ever."""
    executor = threads(2)
    executor.submit(lambda: None).result(PATIENCE)
    for _ in range(5000):  # the result is there a moment before its thread is idle
        if executor._idle:
            break
        threading.Event().wait(0.001)
    later = Gate()
    first = executor.submit(lambda: later.entered.wait(PATIENCE))
    second = executor.submit(later)
    assert first.result(PATIENCE)
    later.leave.set()
    assert second.result(PATIENCE) == "left"


def test_threads_are_started_as_they_are_needed_and_used_again(threads):
    executor = threads(100)
    for _ in range(100):
        executor.submit(lambda: None).result(PATIENCE)
    assert executor._threads < 50  # a job that comes before the last thread is idle again gets a new one


def test_no_thread_keeps_the_process_alive(threads):
    executor = threads(1)
    assert executor.submit(lambda: threading.current_thread().daemon).result(PATIENCE)


def test_stop_drops_what_has_not_begun_though_every_thread_hangs(threads):
    executor = threads(1)
    gate = Gate()
    running = executor.submit(gate)
    assert gate.entered.wait(PATIENCE)
    waiting = executor.submit(lambda: 42)
    executor.stop()
    assert waiting.cancelled()
    gate.leave.set()
    assert running.result(PATIENCE) == "left"  # what runs is left to end


def test_stop_may_be_called_twice(threads):
    executor = threads(1)
    executor.submit(lambda: 42).result(PATIENCE)
    executor.stop()
    executor.stop()


def test_an_idle_thread_holds_on_to_no_result(threads):
    class Listing:
        pass

    executor = threads(1)
    made: list[weakref.ref[Listing]] = []

    def job() -> Listing:
        listing = Listing()
        made.append(weakref.ref(listing))
        return listing

    def consume(submit: Callable[[Callable[[], Listing]], Future[Listing]]) -> None:
        submit(job).result(PATIENCE)

    consume(executor.submit)
    settled = executor.submit(made.copy)  # its thread has gone on from the first job
    settled.result(PATIENCE)
    del settled
    gc.collect()
    assert made[0]() is None
