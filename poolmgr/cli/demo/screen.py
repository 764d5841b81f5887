"""What the demo shows while it runs: a live table on a terminal, else a line whenever something changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from poolmgr.cli.demo.images import ImageLine, ImageTally, builds_text, image_lines
from poolmgr.cli.demo.plan import Plan
from poolmgr.cli.demo.report import percentile
from poolmgr.cli.demo.traffic import Traffic
from poolmgr.model.node import NodeState
from poolmgr.model.snapshot import Snapshot

#: The states shown, in the order of a node's life.
STATES = (
    NodeState.BUILDING,
    NodeState.READY,
    NodeState.IN_USE,
    NodeState.USED,
    NodeState.DELETING,
)
#: Seconds between two lines of the plain screen.
PLAIN_INTERVAL = 1.0


@dataclass(frozen=True, kw_only=True)
class Line:
    """One provider or label: nodes by state, in the order of STATES, and how many went to requests so far."""

    name: str
    about: str  # the cloud's shape, or the label's flavor
    states: tuple[int, ...]
    delivered: int


@dataclass(frozen=True, kw_only=True)
class View:
    """One look at the run. Latencies in seconds, None before the first request was fulfilled."""

    phase: str
    elapsed: float
    providers: tuple[Line, ...]
    labels: tuple[Line, ...]
    images: tuple[ImageLine, ...]  # () without a builder
    builds: str
    requests: int  # how many there will be
    submitted: int
    waiting: int
    held: int
    fulfilled: int
    failed: int
    p50: float | None
    p95: float | None
    metrics: int


def view_of(
    plan: Plan,
    snapshot: Snapshot,
    traffic: Traffic,
    *,
    phase: str,
    requests: int,
    elapsed: float,
    metrics: int,
    images: ImageTally,
) -> View:
    tally = traffic.tally
    return View(
        phase=phase,
        elapsed=elapsed,
        providers=tuple(
            Line(
                name=cloud.name,
                about=cloud.shape,
                states=tuple(len(snapshot.nodes_of(cloud.name, state)) for state in STATES),
                delivered=tally.nodes_by_cloud[cloud.name],
            )
            for cloud in plan.clouds
        ),
        labels=_label_lines(plan, snapshot, traffic),
        images=image_lines(plan, snapshot),
        builds=builds_text(plan, snapshot, images),
        requests=requests,
        submitted=tally.submitted,
        waiting=traffic.waiting,
        held=traffic.held,
        fulfilled=tally.fulfilled,
        failed=tally.failed,
        p50=percentile(tally.latencies, 0.5) if tally.latencies else None,
        p95=percentile(tally.latencies, 0.95) if tally.latencies else None,
        metrics=metrics,
    )


class Screen(Protocol):
    def show(self, view: View) -> None: ...

    def tell(self, line: str) -> None:
        """A line that stays."""

    def close(self) -> None:
        """Leave the last view visible and the terminal as it was. Idempotent."""


class LiveScreen:
    """A table that is drawn again in place."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False)

    def show(self, view: View) -> None:
        self._live.start()  # does nothing when started
        self._live.update(drawing(view), refresh=True)

    def tell(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False)

    def close(self) -> None:
        self._live.stop()


class PlainScreen:
    """Lines, for logs and pipes: what is told, and a summary each second while it changes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told_at = -PLAIN_INTERVAL
        self._told = ""

    def show(self, view: View) -> None:
        line = summary(view)
        if line != self._told and view.elapsed - self._told_at >= PLAIN_INTERVAL:
            self._told, self._told_at = line, view.elapsed
            self.tell(f"{view.elapsed:6.1f} s  {line}")

    def tell(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        return None


def summary(view: View) -> str:
    """The view in one line, without its time."""
    totals = [sum(line.states[i] for line in view.providers) for i in range(len(STATES))]
    nodes = ", ".join(f"{count} {state.value}" for state, count in zip(STATES, totals, strict=True) if count)
    text = f"{view.phase}: requests {view.fulfilled}/{view.requests} fulfilled, {view.waiting} waiting"
    if view.failed:
        text += f", {view.failed} failed"
    text += f"; nodes: {nodes or 'none'}"
    if view.images:
        uploading = sum(line.uploading for line in view.images)
        text += f"; image: {view.builds}, {sum(line.ready for line in view.images)} uploads ready"
        text += f", {uploading} going on" if uploading else ""
    if view.p50 is not None:
        text += f"; latency p50 {view.p50:.1f} s"
    return text


def drawing(view: View) -> Group:
    """The view as tables."""
    numbers = Text.assemble(
        (f"{view.phase}  ", "bold"),
        f"{view.elapsed:.0f} s   requests: {view.fulfilled} of {view.requests} fulfilled, ",
        f"{view.waiting} waiting, {view.held} in use, ",
        (f"{view.failed} failed", "bold red" if view.failed else ""),
    )
    latency = "" if view.p50 is None else f"latency p50 {view.p50:.2f} s, p95 {view.p95 or 0.0:.2f} s   "
    images = Group(_image_table(view.images), f"image: {view.builds}") if view.images else Group()
    return Group(
        numbers,
        _table("Provider", "Cloud", view.providers),
        _table("Label", "Flavor", view.labels),
        images,
        Text(f"{latency}{view.metrics} metric names"),
    )


def _table(first: str, second: str, lines: Sequence[Line]) -> Table:
    table = Table(first, second, expand=False)
    for title in (*(state.value for state in STATES), "delivered"):
        table.add_column(title, justify="right")
    for line in lines:
        counts = [str(count) if count else "·" for count in (*line.states, line.delivered)]
        table.add_row(line.name, line.about, *counts)
    return table


def _image_table(lines: Sequence[ImageLine]) -> Table:
    table = Table("Provider", "Format", "Nodes boot from build", expand=False)
    for title in ("ready", "uploading", "deleting"):
        table.add_column(title, justify="right")
    for line in lines:
        counts = [str(count) if count else "·" for count in (line.ready, line.uploading, line.deleting)]
        table.add_row(line.name, line.format or "·", line.serves or "·", *counts)
    return table


def _label_lines(plan: Plan, snapshot: Snapshot, traffic: Traffic) -> tuple[Line, ...]:
    counts = {label.name: dict.fromkeys(STATES, 0) for label in plan.labels}
    for node in snapshot.nodes():
        if node.label in counts and node.state in counts[node.label]:
            counts[node.label][node.state] += 1
    return tuple(
        Line(
            name=label.name,
            about=label.flavor,
            states=tuple(counts[label.name].values()),
            delivered=traffic.tally.nodes_by_label[label.name],
        )
        for label in plan.labels
    )
