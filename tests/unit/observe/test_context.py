"""What log messages begin with."""

from __future__ import annotations

import logging

import pytest

from poolmgr.observe.context import context_logger

log = logging.getLogger("poolmgr.test.context")


@pytest.mark.parametrize(
    ("context", "prefix"),
    [
        ({"event": "abc", "request": "200-0000000001", "node": "0000000007"},
         "[e: abc] [node_request: 200-0000000001] [node: 0000000007] "),
        ({"request": "200-0000000001"}, "[node_request: 200-0000000001] "),
        ({"node": "0000000007", "event": None, "provider": "north"}, "[node: 0000000007] "),
        ({}, ""),
    ],
)  # fmt: skip
def test_prefix_names_what_is_known_in_this_order(caplog, context, prefix):
    with caplog.at_level("INFO"):
        context_logger(log, **context).info("launched in %s s", 12)
    assert caplog.messages == [f"{prefix}launched in 12 s"]


def test_binding_more_keeps_what_was_bound(caplog):
    request = context_logger(log, event="abc", request="200-1", provider="north")
    with caplog.at_level("INFO"):
        context_logger(request, node="7").info("ready", extra={"action": "launch"})
        request.info("done")
    assert caplog.messages == [
        "[e: abc] [node_request: 200-1] [node: 7] ready",
        "[e: abc] [node_request: 200-1] done",
    ]
    first = caplog.records[0]
    assert (first.request, first.node, first.provider, first.action) == ("200-1", "7", "north", "launch")


def test_a_foreign_event_id_can_neither_forge_lines_nor_break_formatting(caplog):
    with caplog.at_level("INFO"):
        context_logger(log, event="x\n2026 INFO forged %s").info("value %d", 5)
    assert caplog.messages == ["[e: x_2026 INFO forged _s] value 5"]
