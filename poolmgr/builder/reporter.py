"""What a builder tells about itself and the images it knows, as gauges (metrics.md 3 and 4).

Sent when something changed, and again each minute: statsd servers may forget gauges otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from poolmgr.builder.context import Parts
from poolmgr.config.settings import OpenStackProvider, Settings
from poolmgr.model.image import BuildState, Order
from poolmgr.model.snapshot import Snapshot
from poolmgr.runtime.worker import Worker

REFRESH = 60.0
#: Between two reports at least: a burst of changes costs one.
SPACING = 1.0

IDLE, BUILDING, UPLOADING, PAUSED = range(4)


class Reporter:
    """`wake` when something changed."""

    def __init__(self, parts: Parts, *, build_workers: int) -> None:
        self._parts = parts
        self._build_workers = build_workers
        self._worker = Worker("reporter", self.cycle, parts.clock, spacing=SPACING)

    def start(self) -> None:
        self._worker.start()

    def wake(self) -> None:
        self._worker.wake.set()

    def stop(self, timeout: float) -> bool:
        self._worker.stop()
        return self._worker.join(timeout)

    def cycle(self) -> float:
        parts = self._parts
        settings, activity = parts.settings(), parts.activity
        builds = frozenset(image for image, _ in activity.builds)
        uploads = activity.uploads
        who = parts.identity.fqdn
        parts.stats.builder_work(
            who,
            builds=len(builds),
            uploads=len(uploads),
            build_workers=self._build_workers,
            upload_workers=upload_workers(settings),
        )
        if not parts.store.connected:
            return REFRESH
        with parts.store.reading() as snapshot:
            build_states = states_of_builds(snapshot, settings, builds)
            pending = pending_orders(snapshot, settings)
            ages = upload_ages(snapshot, settings, parts.clock.time())
            uploading = frozenset(
                (upload.image, upload.provider) for upload in map(snapshot.upload, uploads) if upload
            )
        parts.stats.builder_states(who, build_states, states_of_uploads(settings, uploading))
        parts.stats.image_requests(pending)
        parts.stats.image_ages(ages)
        return REFRESH


def upload_workers(settings: Settings) -> int:
    """How many uploads this builder may run at once: the sum over its providers, or the limit over all of them."""
    of_providers = sum(provider.max_parallel_uploads for provider in _clouds(settings))
    limit = settings.max_parallel_uploads
    return min(limit, of_providers) if limit else of_providers


def states_of_builds(snapshot: Snapshot, settings: Settings, builds: Collection[str]) -> Mapping[str, int]:
    """By image of the settings; `builds`: images that are being built here."""

    def state(image: str, *, paused: bool) -> int:
        if image in builds:
            return BUILDING
        return PAUSED if paused or snapshot.order(image, Order.PAUSE) else IDLE

    return {image.name: state(image.name, paused=image.pause) for image in settings.diskimages.values()}


def states_of_uploads(
    settings: Settings, uploads: Collection[tuple[str, str]]
) -> Mapping[tuple[str, str], int]:
    """By (image, provider) of the settings; `uploads`: those that run here."""

    def state(pair: tuple[str, str], *, paused: bool) -> int:
        if pair in uploads:
            return UPLOADING
        return PAUSED if paused else IDLE

    return {
        (image.name, provider.name): state((image.name, provider.name), paused=image.pause)
        for provider in _clouds(settings)
        for image in provider.diskimages.values()
    }


def pending_orders(snapshot: Snapshot, settings: Settings) -> Mapping[str, bool]:
    """By image, whether a build is ordered that has not begun."""
    images = {*settings.diskimages, *(order.image for order in snapshot.orders(Order.BUILD))}
    return {image: _pending(snapshot, image) for image in sorted(images)}


def _pending(snapshot: Snapshot, image: str) -> bool:
    order = snapshot.order(image, Order.BUILD)
    if order is None:
        return False
    return not any(
        build.state is BuildState.BUILDING and (build.started or build.state_time) >= order.at
        for build in snapshot.builds_of(image)
    )


def upload_ages(snapshot: Snapshot, settings: Settings, now: float) -> Mapping[tuple[str, str], float]:
    """Seconds since the newest ready upload became so, by (image, provider) of the settings; none: left out."""
    newest = {
        (image, provider.name): snapshot.newest_upload(image, provider.name)
        for provider in _clouds(settings)
        for image in provider.diskimages
    }
    return {pair: max(0.0, now - upload.state_time) for pair, upload in newest.items() if upload}


def _clouds(settings: Settings) -> list[OpenStackProvider]:
    return [p for p in settings.providers.values() if isinstance(p, OpenStackProvider)]
