"""What the demo shows."""

import io

import pytest
from rich.console import Console

from poolmgr.cli.demo.images import ImageLine
from poolmgr.cli.demo.screen import Line, LiveScreen, PlainScreen, View

VIEW = View(
    phase="serving",
    elapsed=10.0,
    providers=(Line(name="sim-nat", about="nat", states=(1, 2, 3, 0, 4), delivered=7),),
    labels=(Line(name="debian", about="small", states=(0, 0, 3, 0, 0), delivered=7),),
    images=(ImageLine(name="sim-v6", format="raw", ready=1, uploading=2, deleting=0, serves="0a1b2c3d"),),
    builds="3 built so far, 1 building",
    requests=40,
    submitted=20,
    waiting=5,
    held=3,
    fulfilled=12,
    failed=1,
    p50=2.5,
    p95=3.5,
    metrics=99,
)


@pytest.fixture
def output():
    return io.StringIO()


def test_the_live_screen_shows_providers_labels_requests_and_latency(output):
    screen = LiveScreen(Console(file=output, force_terminal=True, width=120, color_system=None))
    screen.show(VIEW)
    screen.close()
    text = output.getvalue()
    for part in (
        "sim-nat",
        "debian",
        "12 of 40 fulfilled",
        "1 failed",
        "p50 2.50 s",
        "99 metric names",
        "in-use",
        "sim-v6",
        "0a1b2c3d",
        "3 built so far, 1 building",
    ):
        assert part in text


def test_the_live_screen_can_be_closed_before_it_shows_anything(output):
    LiveScreen(Console(file=output, force_terminal=True)).close()


def test_the_plain_screen_tells_changes_but_not_more_than_once_a_second(output):
    screen = PlainScreen(Console(file=output, width=40))
    for elapsed, fulfilled in ((0.0, 1), (0.5, 2), (1.5, 2), (3.0, 2), (9.0, 3)):
        screen.show(View(**{**vars(VIEW), "elapsed": elapsed, "fulfilled": fulfilled}))
    assert [line.split()[0] for line in output.getvalue().splitlines()] == ["0.0", "1.5", "9.0"]


def test_names_in_brackets_are_not_taken_for_markup(output):
    PlainScreen(Console(file=output)).tell("[/red] left: [x]")
    assert output.getvalue() == "[/red] left: [x]\n"
