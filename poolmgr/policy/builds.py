"""When an image is built, by whom, and why not (builder.md 3; issue of known weak points: 3, 11, 13).

Pure: a snapshot, settings, what this builder knows of itself, and `now` in; decisions with a reason out.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from poolmgr.config.settings import DiskImage, Settings
from poolmgr.model.image import Build, ImageOrder
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.image_tuning import ImageTuning


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
    raise NotImplementedError


def builds_due(
    snapshot: Snapshot, settings: Settings, facts: BuilderFacts, tuning: ImageTuning, now: float
) -> tuple[BuildDue | BuildRest, ...]:
    """One answer for each image of `settings`: first those with a manual request, the oldest first; else file order."""
    raise NotImplementedError


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
    raise NotImplementedError


def expected_duration(snapshot: Snapshot, image: str) -> float | None:
    """Seconds that a build of it takes, by the median of the last ready ones; None if there is none."""
    raise NotImplementedError


def newest_ready(snapshot: Snapshot, image: str) -> Build | None:
    """The READY build with the greatest state_time, of any builder."""
    raise NotImplementedError


def retry_at(failures: int, since: float, *, first: float, most: float) -> float:
    """When to try again, in epoch seconds, after so many failures in a row, the last of which ended at `since`."""
    raise NotImplementedError
