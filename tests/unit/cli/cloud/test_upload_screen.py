"""What an upload shows while it runs."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from poolmgr.cli.cloud.upload_screen import LiveScreen, Pace, PlainScreen, screen_for, time_text
from poolmgr.model.cloud_image import UploadPhase, UploadProgress
from poolmgr.web.views import size_text

MIB = 1 << 20


def step(phase=UploadPhase.SENDING, sent=0, **more):
    return UploadProgress(phase=phase, method="put", sent=sent, total=100 * MIB, **more)


def test_the_rate_is_that_of_the_last_seconds():
    pace = Pace()
    assert pace.rate is None
    for second in range(20):
        pace.see(second * MIB, float(second))
    assert pace.rate == pytest.approx(MIB)
    for second in range(20, 40):
        pace.see((20 + (second - 20) * 4) * MIB, float(second))
    assert pace.rate == pytest.approx(4 * MIB)
    assert pace.left(100 * MIB) == pytest.approx((100 - 96) / 4)
    pace.see(0, 41.0)  # a new try
    assert pace.rate is None


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB"), (3 << 50, "3072.0 TiB")],
)
def test_sizes(size, text):
    assert size_text(size) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00"), (59.6, "1:00"), (3723, "1:02:03")])
def test_times(seconds, text):
    assert time_text(seconds) == text


def test_the_plain_screen_tells_steps_and_now_and_then_how_far_it_is():
    now, output = [0.0], io.StringIO()
    screen = PlainScreen(Console(file=output, width=200), lambda: now[0])
    screen.show(step(UploadPhase.PREPARING))
    screen.show(step(UploadPhase.PREPARING, image_id="i"))
    for second in range(21):
        now[0] = float(second)
        screen.show(step(sent=5 * MIB * second))
    screen.show(step(UploadPhase.VERIFYING, sent=100 * MIB))
    screen.show(step(UploadPhase.PREPARING, attempt=2))
    screen.close()
    assert output.getvalue().splitlines() == [
        "looking for what is there already",
        "sending: 0 B of 100.0 MiB (0 %)",
        "sending: 25.0 MiB of 100.0 MiB (25 %), 5.0 MiB/s, 0:15 left",
        "sending: 50.0 MiB of 100.0 MiB (50 %), 5.0 MiB/s, 0:10 left",
        "sending: 75.0 MiB of 100.0 MiB (75 %), 5.0 MiB/s, 0:05 left",
        "sending: 100.0 MiB of 100.0 MiB (100 %), 5.0 MiB/s",
        "comparing with the file",
        "looking for what is there already (try 2)",
    ]


def test_the_live_screen_draws_a_bar_with_rate_and_time_left():
    now, output = [0.0], io.StringIO()
    console = Console(file=output, force_terminal=True, width=120, color_system=None)
    screen = screen_for(console, lambda: now[0])
    assert isinstance(screen, LiveScreen)
    for second in range(3):
        now[0] = float(second)
        screen.show(step(sent=10 * MIB * second))
    screen.show(step(UploadPhase.IMPORTING, sent=100 * MIB))
    screen.close()
    screen.close()
    text = output.getvalue()
    for part in ("━", "20.0 MiB of 100.0 MiB (20 %), 10.0 MiB/s, 0:08 left", "the cloud works on it"):
        assert part in text


def test_a_pipe_gets_lines():
    assert isinstance(screen_for(Console(file=io.StringIO()), lambda: 0.0), PlainScreen)
