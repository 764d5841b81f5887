"""A launcher that is killed again and again, in the middle of everything, and started again each time."""

import random
import time

import pytest
from rich.console import Console

from poolmgr.cli.demo.flow import Course, Flow
from poolmgr.cli.demo.plan import DEMO_CLOUDS, DEMO_LABELS, Plan
from poolmgr.cli.demo.processes import ProcessStack
from poolmgr.cli.demo.report import Left
from poolmgr.cli.demo.screen import PlainScreen
from poolmgr.runtime.clock import SystemClock

REQUESTS = 200
KILLS = 10

pytestmark = pytest.mark.integration


class Killer:
    """Decides, each time it is asked, whether it is time for the next crash; all chance is in `seed`."""

    def __init__(self, stack, seed):
        self.stack = stack
        self.rng = random.Random(seed)
        self.at = sorted(self.rng.sample(range(1, REQUESTS - 10), KILLS))  # in fulfilled requests
        self.kills = 0

    def look(self, fulfilled):
        if self.at and fulfilled >= self.at[0]:
            self.at.pop(0)
            time.sleep(self.rng.random() * 0.5)  # into whatever is being done then
            self.stack.launcher.kill()
            self.stack.launcher.start()
            self.kills += 1


@pytest.mark.parametrize("seed", [1])
def test_killed_ten_times_it_fulfils_everything_and_leaves_nothing(tmp_path, seed):
    plan = Plan(
        clouds=DEMO_CLOUDS,
        labels=DEMO_LABELS,
        boot=0.5,
        spread=0.3,
        rate=0.002,
        session_timeout=2.0,
        seed=seed,
    )
    clock = SystemClock()
    stack = ProcessStack(plan, tmp_path, clock)
    flow = Flow(stack, Course(requests=REQUESTS, outstanding=20, hold=0.3), clock, PlainScreen(Console()))
    killer = Killer(stack, seed)
    try:
        flow.start()
        flow.serve(each_time=lambda: killer.look(flow.tally.fulfilled))
        flow.drain()
        assert stack.stop_launcher()
        assert killer.kills == KILLS
        assert flow.tally.failures == []
        assert flow.tally.fulfilled == REQUESTS
        assert stack.left() == Left()
    finally:
        flow.close()
        stack.stop()
