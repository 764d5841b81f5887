"""Every query of the dashboard in etc/grafana finds what a demo run sends."""

from __future__ import annotations

import json
import urllib.request

import pytest
from rich.console import Console

from poolmgr.cli.demo.flow import Course, Flow
from poolmgr.cli.demo.plan import DEMO_CLOUDS, DEMO_IMAGE, DEMO_LABELS, DEMO_TENANTS, Plan
from poolmgr.cli.demo.processes import ProcessStack
from poolmgr.cli.demo.screen import PlainScreen
from poolmgr.runtime.clock import SystemClock
from tests.dashboard import finds, queries

pytestmark = pytest.mark.integration

#: So that there is a launch that fails, and a cloud that is asked for one server to hear why.
FAULT = {"kind": "error-server", "times": 2}
SETTINGS = {"fault-in-lists": False}


def test_a_demo_sends_all_that_the_dashboard_asks_for(tmp_path):
    clock = SystemClock()
    plan = Plan(
        clouds=DEMO_CLOUDS, labels=DEMO_LABELS, tenants=DEMO_TENANTS, image=DEMO_IMAGE, boot=0.5, spread=0.2
    )
    stack = ProcessStack(plan, tmp_path, clock)
    flow = Flow(stack, Course(requests=20, outstanding=10, hold=0.3), clock, PlainScreen(Console()))
    try:
        flow.start()
        change(stack, "sim-nat/settings", SETTINGS)
        change(stack, "sim-nat/faults", FAULT)
        flow.serve()
        assert flow.tally.fulfilled == 20
        flow.drain()
        stack.check()
        missing = [query for query in queries() if not finds(query, stack.sent)]
        assert missing == []
    finally:
        flow.close()
        stack.stop()


def change(stack, what, to):
    url, body = f"{stack.state_url}{what}", json.dumps(to).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as answer:
        assert answer.status < 300
