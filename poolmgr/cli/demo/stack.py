"""The parts a demo runs on. Two kinds: real processes around a real ZooKeeper, or all in this process."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from poolmgr.builder.builder_id import FILE as BUILDER_ID
from poolmgr.builder.images_dir import LOCK_FILE
from poolmgr.cli.demo.plan import Plan
from poolmgr.cli.demo.report import Costs, Left
from poolmgr.store.api import Store

#: Seconds between a builder's looks at what it waits for; real sites have minutes.
BUILDER_IDLE = 2.0

Tell = Callable[[str], None]

#: A proxy in the environment must not come between launcher and pretend clouds.
NO_PROXY = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


def daemon_environ(clouds_path: Path, statsd_port: int) -> dict[str, str]:
    """A daemon's environment: ours, with the demo's clouds and metrics."""
    return {
        **os.environ,
        **NO_PROXY,
        "OS_CLIENT_CONFIG_FILE": str(clouds_path),
        "STATSD_HOST": "127.0.0.1",
        "STATSD_PORT": str(statsd_port),
    }


class Stack(Protocol):
    """Pretend clouds, a store, a launcher, a statsd sink, and a builder where the plan has an image.

    Belongs to one thread, which must outlive it.
    """

    @property
    def plan(self) -> Plan: ...

    @property
    def directory(self) -> Path:
        """Where its files and logs are."""

    @property
    def store(self) -> Store:
        """The client's side, connected once `start` is over."""

    @property
    def metrics(self) -> int:
        """How many distinct statsd names came in so far."""

    def start(self, tell: Tell) -> None:
        """Start all parts, telling a line about each. Raises PoolmgrError; `stop` has to follow all the same."""

    def check(self) -> None:
        """Take in what has come; raises PoolmgrError when a part has died."""

    def begin_counting(self) -> None:
        """Costs count from here."""

    def costs(self) -> Costs:
        """What it took since `begin_counting`. Raises PoolmgrError."""

    def stop_making_ready(self) -> None:
        """Tell the launcher that no label wants ready nodes any more."""

    def stop_launcher(self) -> bool:
        """An orderly stop; whether it was one, in time."""

    def pause_images(self) -> None:
        """Tell the builder to begin no more builds; what is going on goes on."""

    def stop_listing_images(self) -> None:
        """Tell it that no provider wants images any more, either."""

    def image_files(self) -> tuple[str, ...]:
        """Names of what is in the builder's directory, but for its own id and lock."""

    def stop_builder(self) -> bool:
        """As `stop_launcher`."""

    def left(self) -> Left:
        """What the clouds and the store still hold. Raises PoolmgrError."""

    def how_to_talk(self) -> list[str]:
        """Lines that tell a person how to use the running parts."""

    def stop(self) -> None:
        """End every part. Idempotent; never raises."""


def image_files(directory: Path) -> tuple[str, ...]:
    """Names of images and what belongs to them, in the builder's directories below `directory`."""
    found = (path for place in ("images", "tmp") for path in (directory / place).glob("*"))
    return tuple(sorted(path.name for path in found if path.name not in (BUILDER_ID, LOCK_FILE)))


def make_builder_places(directory: Path) -> None:
    for place in ("images", "tmp"):
        (directory / place).mkdir(exist_ok=True)
