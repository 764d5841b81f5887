"""Signals sent to this very process."""

from __future__ import annotations

import logging
import signal
import threading

import pytest

from poolmgr.runtime.signals import daemon_signals, handling, stacks, stop_signals

PATIENCE = 30.0  # for a thread to be scheduled; not a measure of anything


def ignore() -> None:
    pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_daemon_stops_on_what_a_supervisor_or_a_person_sends(number):
    stopped = threading.Event()
    with daemon_signals(stop=stopped.set, reload=ignore, louder=ignore):
        signal.raise_signal(number)
        assert stopped.wait(PATIENCE)


def test_a_daemon_reloads_on_sighup_and_goes_on():
    reloaded, stopped = threading.Event(), threading.Event()
    with daemon_signals(stop=stopped.set, reload=reloaded.set, louder=ignore):
        signal.raise_signal(signal.SIGHUP)
        assert reloaded.wait(PATIENCE)
        assert not stopped.is_set()


def test_a_failed_reload_leaves_the_daemon_stoppable(caplog):
    stopped = threading.Event()

    def fail() -> None:
        raise ValueError("bad file")

    with daemon_signals(stop=stopped.set, reload=fail, louder=ignore):
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGTERM)
        assert stopped.wait(PATIENCE)
    assert "Handling SIGHUP failed" in caplog.text


def test_handlers_do_not_run_on_the_main_thread():
    # There they could meet the lock of the event they set, held by the interrupted code.
    where: list[threading.Thread] = []
    done = threading.Event()

    def stop() -> None:
        where.append(threading.current_thread())
        done.set()

    with stop_signals(stop):
        signal.raise_signal(signal.SIGTERM)
        assert done.wait(PATIENCE)
    assert where[0] is not threading.main_thread()


def test_every_arrival_counts():
    arrived = threading.Semaphore(0)
    with stop_signals(arrived.release):
        signal.raise_signal(signal.SIGINT)
        assert arrived.acquire(timeout=PATIENCE)
        signal.raise_signal(signal.SIGINT)
        assert arrived.acquire(timeout=PATIENCE)


def test_what_was_before_returns_and_no_thread_stays():
    before, threads = signal.getsignal(signal.SIGTERM), threading.active_count()
    with handling({signal.SIGTERM: ignore}):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
    assert threading.active_count() == threads


def test_sigusr1_dumps_the_stacks_of_all_threads(caplog):
    release = threading.Event()
    waiting = threading.Thread(target=release.wait, args=(PATIENCE,), name="north-worker", daemon=True)
    waiting.start()
    try:
        with (
            caplog.at_level(logging.DEBUG, "nodepool.stack_dump"),
            daemon_signals(stop=ignore, reload=ignore, louder=ignore),
        ):
            signal.raise_signal(signal.SIGUSR1)
    finally:
        release.set()
        waiting.join()
    [record] = [r for r in caplog.records if r.name == "nodepool.stack_dump"]
    assert record.levelno == logging.DEBUG
    assert f"Thread: {waiting.ident} north-worker daemon: True" in record.getMessage()
    assert "MainThread" in record.getMessage()


def test_a_dump_is_seen_even_where_the_log_keeps_debug_back(caplog):
    with (
        caplog.at_level(logging.WARNING, "nodepool.stack_dump"),
        daemon_signals(stop=ignore, reload=ignore, louder=ignore),
    ):
        signal.raise_signal(signal.SIGUSR1)
    [record] = caplog.records
    assert record.levelno == logging.WARNING


def test_sigusr2_makes_it_louder():
    louder = threading.Event()
    with daemon_signals(stop=ignore, reload=ignore, louder=louder.set):
        signal.raise_signal(signal.SIGUSR2)
        assert louder.wait(PATIENCE)


def test_a_daemon_may_add_to_the_dump(caplog):
    with (
        caplog.at_level(logging.DEBUG, "nodepool.stack_dump"),
        daemon_signals(stop=ignore, reload=ignore, louder=ignore, dump=lambda: "north: 3 launches"),
    ):
        signal.raise_signal(signal.SIGUSR1)
    assert caplog.messages == ["north: 3 launches"]


def test_stacks_show_where_a_thread_is():
    assert "test_stacks_show_where_a_thread_is" in stacks()
