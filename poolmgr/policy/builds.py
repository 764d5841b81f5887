"""When an image is built, by whom, and why not (builder.md 3; of its known weak points 3, 11 and 13).

Pure: a snapshot, settings, what this builder knows of itself, and `now` in; decisions with a reason out.

What a person orders goes first. It is done once a build that began after the order is READY, whoever began that and
why (`policy.image_orders`). It waits for nothing but a pause, another build, the disk, and the backoff of failures
that came after it: ordering again is how to try at once. A scheduled build begins when there is none, or when the
newest lacks a format, or when it is time (`policy.schedule`).
"""

from __future__ import annotations

import enum
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field

from poolmgr.config.settings import DiskImage, ImageBuild, OpenStackProvider, Settings
from poolmgr.model.image import Build, BuildState, ImageOrder, Order
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy import image_times
from poolmgr.policy.growth import doubling
from poolmgr.policy.image_orders import answered, given_after, pause_of
from poolmgr.policy.image_tuning import ImageTuning
from poolmgr.policy.schedule import cron_time, cron_time_from

_DURATIONS = 5  # of so many last ready builds


class Cause(enum.Enum):
    """Why a build is begun; the value goes into the record."""

    REQUESTED = "requested"
    MISSING = "missing"  # there is no ready build
    AGE = "rebuild-age"
    CRON = "rebuild-cron"
    FORMAT = "format"  # the newest ready build lacks a format that is wanted now


class Rest(enum.Enum):
    """Why no build of an image is begun now; the value is the word in logs, tables and tests."""

    PAUSED = "paused"
    NO_FORMAT = "no-format"  # no provider in this builder's file lists it, and it has no `formats`
    FRESH = "fresh"
    BUILDING = "building"  # someone holds the build lock
    BACKOFF = "backoff"  # the last ones failed
    NOT_DUE = "not-due"  # old enough, but the cron expression says later
    NO_SPACE = "no-space"  # less disk free than the last build needed
    UNREADABLE = "unreadable"  # some record of it makes no sense


@dataclass(frozen=True, kw_only=True)
class BuilderFacts:
    """What one builder knows besides the store.

    `image_formats`: by provider that manages images, the format its cloud takes. `free`: bytes of disk free where
    images are built, None if that is not known.
    """

    builder_id: str
    image_formats: Mapping[str, str] = field(default_factory=dict)
    free: int | None = None


@dataclass(frozen=True, kw_only=True)
class BuildDue:
    """Begin a build. `order` is the manual request it answers; it is withdrawn once a build begun after it is READY."""

    image: str
    cause: Cause
    formats: tuple[str, ...]  # sorted
    failures: int = 0  # failed builds in a row before it
    order: ImageOrder | None = None


@dataclass(frozen=True, kw_only=True)
class BuildRest:
    """Nothing to do for the image. `until`: epoch seconds at which to ask again at the latest, None: only on change."""

    image: str
    rest: Rest
    until: float | None = None
    detail: str = ""  # a sentence for people


def wanted_formats(settings: Settings, image_formats: Mapping[str, str]) -> Mapping[str, tuple[str, ...]]:
    """By image of `settings`: its `formats` and those of the providers that list it, sorted."""
    wanted = {name: set(image.build.formats) for name, image in settings.diskimages.items()}
    for provider in settings.providers.values():
        image_format = image_formats.get(provider.name)
        if image_format is None or not isinstance(provider, OpenStackProvider):
            continue
        for name in provider.diskimages.keys() & wanted.keys():
            wanted[name].add(image_format)
    return {name: tuple(sorted(formats)) for name, formats in wanted.items()}


def builds_due(
    snapshot: Snapshot, settings: Settings, facts: BuilderFacts, tuning: ImageTuning, now: float
) -> tuple[BuildDue | BuildRest, ...]:
    """One answer for each image of `settings`: first those with a manual request, the oldest first; else file order."""
    orders = {name: snapshot.order(name, Order.BUILD) for name in settings.diskimages}

    def urgency(name: str) -> float:
        order = orders[name]
        return math.inf if order is None or answered(snapshot, order) else order.at

    images = sorted(settings.diskimages, key=urgency)  # stable: else in the order of the file
    return tuple(
        build_of(snapshot, settings.diskimages[name], settings, facts, tuning, now) for name in images
    )


def build_of(
    snapshot: Snapshot,
    image: DiskImage,
    settings: Settings,
    facts: BuilderFacts,
    tuning: ImageTuning,
    now: float,
    *,
    holding_lock: bool = False,
) -> BuildDue | BuildRest:
    """The answer for one image; `holding_lock`: the build lock is ours, ask everything else again."""
    formats = wanted_formats(settings, facts.image_formats).get(image.name, ())
    if not formats:
        return BuildRest(
            image=image.name, rest=Rest.NO_FORMAT, detail="no provider here lists it, nor has it formats"
        )
    if pause := pause_of(snapshot, image):
        return BuildRest(image=image.name, rest=Rest.PAUSED, detail=pause)
    if snapshot.build_locked(image.name) and not holding_lock:
        return BuildRest(image=image.name, rest=Rest.BUILDING, detail=_builder_at_work(snapshot, image.name))
    wish = _ordered(snapshot, image, formats) or _scheduled(snapshot, image, formats, facts, tuning, now)
    if isinstance(wish, BuildRest):
        return wish
    return _held_back(snapshot, wish, settings, facts, tuning, now) or wish


def _builder_at_work(snapshot: Snapshot, image: str) -> str:
    going = [b for b in snapshot.builds_of(image) if b.state is BuildState.BUILDING]
    latest = max(going, key=lambda b: (b.state_time, b.id), default=None)
    return f"{latest.builder or 'a builder'} builds it" if latest is not None else "a builder has its lock"


def _ordered(snapshot: Snapshot, image: DiskImage, formats: tuple[str, ...]) -> BuildDue | None:
    order = snapshot.order(image.name, Order.BUILD)
    if order is None or answered(snapshot, order):
        return None
    return BuildDue(image=image.name, cause=Cause.REQUESTED, formats=formats, order=order)


def _scheduled(
    snapshot: Snapshot,
    image: DiskImage,
    formats: tuple[str, ...],
    facts: BuilderFacts,
    tuning: ImageTuning,
    now: float,
) -> BuildDue | BuildRest:
    newest = newest_ready(snapshot, image.name, now, tuning.clock_skew)
    if newest is None:
        return _first(snapshot, image.name, formats)
    if set(formats) - set(newest.format_names):
        if newest.builder_id != facts.builder_id:  # two builders with other formats would take turns for ever
            formats = tuple(sorted({*formats, *newest.format_names}))
        return BuildDue(image=image.name, cause=Cause.FORMAT, formats=formats)
    answer = _by_time(image.build, newest, tuning, now)
    if isinstance(answer, Cause):
        return BuildDue(image=image.name, cause=answer, formats=formats)
    rest, until = answer
    return BuildRest(image=image.name, rest=rest, until=until)


def _first(snapshot: Snapshot, image: str, formats: tuple[str, ...]) -> BuildDue | BuildRest:
    """None is READY, unless it is one whose record makes no sense."""
    unreadable = _unreadable_builds(snapshot, image)
    if unreadable:
        return BuildRest(
            image=image, rest=Rest.UNREADABLE, detail=f"a build's record makes no sense: {unreadable[0]}"
        )
    return BuildDue(image=image, cause=Cause.MISSING, formats=formats)


def _unreadable_builds(snapshot: Snapshot, image: str) -> list[str]:
    """Paths of such records of builds; those of uploads are longer."""
    above = f"/nodepool/images/{image}/builds/"
    return sorted(path for path in snapshot.unreadable_of(image) if "/" not in path.removeprefix(above))


def _by_time(build: ImageBuild, newest: Build, tuning: ImageTuning, now: float) -> Cause | tuple[Rest, float]:
    """Why to build again now, or why not, and until when not."""
    ended = image_times.ended_at(newest, now, tuning.clock_skew)
    if ended is None:
        return Cause.AGE  # nobody knows how old it is
    old = ended + build.rebuild_age
    if build.rebuild_cron is None:
        return Cause.AGE if now >= old else (Rest.FRESH, old)
    if not build.rebuild_age:
        at = cron_time(build.rebuild_cron, _began(newest, ended))
    else:
        at = cron_time_from(build.rebuild_cron, old)
    if now >= at:
        return Cause.CRON
    return (Rest.NOT_DUE if now >= old else Rest.FRESH), at


def _began(build: Build, ended: float) -> float:
    """A record from the future may have the begin it says, or not."""
    began = build.started if build.started is not None else ended - (build.duration or 0.0)
    return min(began, ended)


def _held_back(
    snapshot: Snapshot,
    due: BuildDue,
    settings: Settings,
    facts: BuilderFacts,
    tuning: ImageTuning,
    now: float,
) -> BuildDue | BuildRest | None:
    """`due` with the failures before it, or why it waits all the same."""
    failures, last = _failures(snapshot, due.image, now, tuning.clock_skew)
    if last is not None and not given_after(due.order, last):
        since = image_times.ended_at(last, now, tuning.clock_skew)
        at = retry_at(failures, since or 0.0, first=tuning.retry_first, most=settings.image_retry_max)
        if now < at:
            detail = f"{failures} failed in a row" + (f": {last.reason}" if last.reason else "")
            return BuildRest(image=due.image, rest=Rest.BACKOFF, until=at, detail=detail)
    if shortage := _shortage(snapshot, due.image, facts, tuning, now):
        return BuildRest(image=due.image, rest=Rest.NO_SPACE, until=now + tuning.idle_cycle, detail=shortage)
    return BuildDue(image=due.image, cause=due.cause, formats=due.formats, failures=failures, order=due.order)


def _failures(snapshot: Snapshot, image: str, now: float, skew: float) -> tuple[int, Build | None]:
    """How many builds failed since the newest READY one, and the last of them.

    Ours carry the number: some end without being a failure of the image, and some of the records may be gone.
    """
    failures, last = 0, None
    for build in image_times.in_order(snapshot.builds_of(image), now, skew):
        if build.state is BuildState.READY:
            failures, last = 0, None
        elif build.state is BuildState.FAILED:
            failures, last = build.failures if build.started is not None else failures + 1, build
    return failures, last


def _shortage(snapshot: Snapshot, image: str, facts: BuilderFacts, tuning: ImageTuning, now: float) -> str:
    measured = [b for b in _ready(snapshot, image) if b.space is not None]
    last = image_times.newest(measured, now, tuning.clock_skew)
    if last is None or last.space is None or facts.free is None:
        return ""
    needed = int(last.space * tuning.space_margin)
    if facts.free >= needed:
        return ""
    return f"{facts.free >> 20} MiB are free, {needed >> 20} MiB are needed by what {last.name} took"


def expected_duration(snapshot: Snapshot, image: str) -> float | None:
    """Seconds that a build of it takes, by the median of the last ready ones; None if there is none."""
    ready = image_times.in_order(_ready(snapshot, image), math.inf, 0.0)
    durations = [b.duration for b in ready if b.duration is not None][-_DURATIONS:]
    return statistics.median(durations) if durations else None


def newest_ready(snapshot: Snapshot, image: str, now: float = math.inf, skew: float = 0.0) -> Build | None:
    """The READY build that ended last, of any builder; times more than `skew` seconds after `now` are not believed."""
    return image_times.newest(_ready(snapshot, image), now, skew)


def _ready(snapshot: Snapshot, image: str) -> list[Build]:
    return [build for build in snapshot.builds_of(image) if build.state is BuildState.READY]


def retry_at(failures: int, since: float, *, first: float, most: float) -> float:
    """When to try again, in epoch seconds, after so many failures in a row, the last of which ended at `since`.

    `first` seconds after the first failure, twice as long after each further one, `most` seconds at most.
    """
    if failures <= 0:
        return since
    return since + doubling(first, failures - 1, most)
