"""Two launchers on the same providers, one of them frozen past its session again and again."""

import os
import signal
import time

import pytest
from rich.console import Console

from poolmgr.cli.demo.daemon_process import DaemonProcess
from poolmgr.cli.demo.flow import Course, Flow
from poolmgr.cli.demo.plan import DEMO_CLOUDS, DEMO_LABELS, Plan
from poolmgr.cli.demo.processes import ProcessStack
from poolmgr.cli.demo.report import Left
from poolmgr.cli.demo.screen import PlainScreen
from poolmgr.runtime.clock import SystemClock

pytestmark = pytest.mark.integration

REQUESTS = 240
SESSION_TIMEOUT = 2.0


class Freezer:
    """Stops the first launcher, as a hypervisor does with a machine it moves, for longer than its session lives."""

    def __init__(self, stack):
        self.stack = stack
        self.at = [10, 80, 150]  # in fulfilled requests
        self.frozen_until = None

    def look(self, fulfilled):
        if self.frozen_until is not None and time.monotonic() >= self.frozen_until:
            os.kill(self.stack.launcher.pid, signal.SIGCONT)
            self.frozen_until = None
        elif self.frozen_until is None and self.at and fulfilled >= self.at[0]:
            self.at.pop(0)
            os.kill(self.stack.launcher.pid, signal.SIGSTOP)
            self.frozen_until = time.monotonic() + 3 * SESSION_TIMEOUT


def test_a_launcher_that_wakes_after_its_session_ended_harms_nothing(tmp_path):
    clock = SystemClock()
    plan = Plan(
        clouds=DEMO_CLOUDS,
        labels=DEMO_LABELS,
        boot=1.0,
        spread=0.3,
        rate=0.002,
        session_timeout=SESSION_TIMEOUT,
    )
    stack = ProcessStack(plan, tmp_path, clock)
    flow = Flow(stack, Course(requests=REQUESTS, outstanding=15, hold=0.5), clock, PlainScreen(Console()))
    first = stack.launcher
    second = DaemonProcess("launcher", first.config_path, tmp_path / "second.log", first.environ)
    freezer = Freezer(stack)
    try:
        flow.start()
        second.start()
        flow.serve(each_time=lambda: freezer.look(flow.tally.fulfilled))
        if freezer.frozen_until is not None:
            os.kill(first.pid, signal.SIGCONT)
        flow.drain()
        second.check()
        assert freezer.at == [], "it was frozen three times"
        assert flow.tally.failures == []
        assert flow.tally.fulfilled == REQUESTS
        assert second.stop()
        assert stack.stop_launcher()
        assert stack.left() == Left()
    finally:
        second.kill()
        flow.close()
        stack.stop()
