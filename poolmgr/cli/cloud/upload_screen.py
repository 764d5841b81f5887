"""What an upload shows while it runs: a bar with rate and time left on a terminal, else a line now and then."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from poolmgr.model.cloud_image import UploadPhase, UploadProgress
from poolmgr.web.views import size_text

WINDOW = 10.0  # seconds over which the rate is taken
PLAIN_INTERVAL = 5.0  # seconds between two lines of the plain screen
_BAR = 30  # columns

_WORDS = {
    UploadPhase.PREPARING: "looking for what is there already",
    UploadPhase.SENDING: "sending",
    UploadPhase.IMPORTING: "the cloud works on it",
    UploadPhase.VERIFYING: "comparing with the file",
}


class Pace:
    """How fast bytes go out lately. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def see(self, sent: int, at: float) -> None:
        """A number that is smaller than the last begins a new count."""
        if self._seen and sent < self._seen[-1][1]:
            self._seen.clear()
        self._seen.append((at, sent))
        while len(self._seen) > 2 and self._seen[1][0] <= at - WINDOW:
            self._seen.popleft()

    @property
    def rate(self) -> float | None:
        """Bytes per second; None as long as it cannot be told."""
        if len(self._seen) < 2:
            return None
        (began, first), (ended, last) = self._seen[0], self._seen[-1]
        return (last - first) / (ended - began) if ended > began and last > first else None

    def left(self, total: int) -> float | None:
        """Seconds until `total` bytes are out."""
        rate = self.rate
        return None if rate is None else (total - self._seen[-1][1]) / rate


def time_text(seconds: float) -> str:
    """`0:48`, `1:02:03`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def title_of(progress: UploadProgress) -> str:
    """What is being done, and at which try."""
    again = f" (try {progress.attempt})" if progress.attempt > 1 else ""
    return f"{_WORDS[progress.phase]}{again}"


def numbers_of(progress: UploadProgress, pace: Pace) -> str:
    """How far the bytes are, how fast they go, and how long it will take."""
    share = 100 * progress.sent // progress.total if progress.total else 0
    parts = [f"{size_text(progress.sent)} of {size_text(progress.total)} ({share} %)"]
    if (rate := pace.rate) is not None:
        parts.append(f"{size_text(rate)}/s")
    if (left := pace.left(progress.total)) is not None and progress.sent < progress.total:
        parts.append(f"{time_text(left)} left")
    return ", ".join(parts)


class UploadScreen(Protocol):
    def show(self, progress: UploadProgress) -> None: ...

    def close(self) -> None:
        """Leave the terminal as it was. Idempotent."""


class LiveScreen:
    """One line that is drawn again in place."""

    def __init__(self, console: Console, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._pace = Pace()
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def show(self, progress: UploadProgress) -> None:
        if progress.phase is UploadPhase.SENDING:
            self._pace.see(progress.sent, self._monotonic())
        self._live.start()  # does nothing when started
        self._live.update(drawing(progress, self._pace), refresh=True)

    def close(self) -> None:
        self._live.stop()


class PlainScreen:
    """Lines, for logs and pipes: each step, and how far the bytes are."""

    def __init__(self, console: Console, monotonic: Callable[[], float]) -> None:
        self._console = console
        self._monotonic = monotonic
        self._pace = Pace()
        self._title = ""
        self._told_at = 0.0

    def show(self, progress: UploadProgress) -> None:
        now, title = self._monotonic(), title_of(progress)
        sending = progress.phase is UploadPhase.SENDING
        if sending:
            self._pace.see(progress.sent, now)
        done = sending and progress.sent == progress.total
        if title == self._title and not done and not (sending and now - self._told_at >= PLAIN_INTERVAL):
            return
        self._title, self._told_at = title, now
        line = f"{title}: {numbers_of(progress, self._pace)}" if sending else title
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        return None


def drawing(progress: UploadProgress, pace: Pace) -> Table:
    """The upload in one line."""
    line = Table.grid(padding=(0, 1))
    if progress.phase is UploadPhase.SENDING:
        bar = ProgressBar(total=progress.total, completed=progress.sent, width=_BAR)
        line.add_row(title_of(progress), bar, numbers_of(progress, pace))
    else:
        line.add_row(title_of(progress), ProgressBar(total=None, pulse=True, width=_BAR), "")
    return line


def screen_for(console: Console, monotonic: Callable[[], float]) -> UploadScreen:
    kind = LiveScreen if console.is_terminal else PlainScreen
    return kind(console, monotonic)
