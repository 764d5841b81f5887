"""Looks for what we left in the clouds: images and objects without a record, and servers of trials.

Each provider is looked at on a thread of its own, so the one that hangs is the only one that is not.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from functools import partial

from poolmgr.builder.context import ImageProvider, Parts
from poolmgr.errors import CloudError, PoolmgrError
from poolmgr.policy.image_leaks import Leaks, Sighting, image_leaks

log = logging.getLogger(__name__)


class ImageSweep:
    """`begin_due` is called by the janitor's thread. `trusts_store`: whether a missing record proves anything now."""

    def __init__(
        self,
        parts: Parts,
        trusts_store: Callable[[], bool],
        stopping: threading.Event,
        wake: Callable[[], None],
    ) -> None:
        self._parts, self._store, self._trusts_store = parts, parts.store, trusts_store
        self._stopping, self._wake = stopping, wake
        self._running: dict[str, Future[None]] = {}  # by provider
        self._next: dict[str, float] = {}  # monotonic seconds, by provider
        self._seen: dict[str, Mapping[str, Sighting]] = {}  # by provider; written by one thread at a time
        self._told: dict[str, str] = {}  # by provider and act, what went wrong last

    def begin_due(self) -> float:
        """Begin the looks that are due; returns when the next one is, in monotonic seconds."""
        now, places = self._parts.clock.monotonic(), self._parts.providers()
        self._running = {name: future for name, future in self._running.items() if not future.done()}
        for known in (self._next, self._seen):
            for name in known.keys() - places.keys():
                del known[name]
        for name, place in places.items():
            if name not in self._running and now >= self._next.get(name, now):
                self._next[name] = now + self._parts.tuning.sweep_interval
                self._running[name] = place.deletions.submit(partial(self._sweep, place))
                self._running[name].add_done_callback(partial(self._ended, name))
        return min((at for name, at in self._next.items() if name not in self._running), default=float("inf"))

    def drain(self, timeout: float) -> bool:
        """Whether all that runs has ended within `timeout` seconds."""
        return not wait(self._running.values(), max(0.0, timeout)).not_done

    def _ended(self, name: str, future: Future[None]) -> None:
        error = None if future.cancelled() else future.exception()
        if error is not None:
            log.error("provider %s: the sweep of its images crashed", name, exc_info=error)
        self._wake()

    def _sweep(self, place: ImageProvider) -> None:
        for what, act in (("images", self._sweep_images), ("servers of trials", self._sweep_servers)):
            key = f"{place.name} {what}"
            try:
                act(place)
                self._told.pop(key, None)
            except PoolmgrError as error:
                level = logging.DEBUG if self._told.get(key) == type(error).__name__ else logging.WARNING
                log.log(level, "provider %s: cannot look for leaked %s: %s", place.name, what, error)
                self._told[key] = type(error).__name__

    def _sweep_servers(self, place: ImageProvider) -> None:
        found = place.canary.sweep()
        if found:
            log.warning("provider %s: %d servers of trials were left and are removed", place.name, found)

    def _sweep_images(self, place: ImageProvider) -> None:
        """The lists come first: a record that was made after them is in the snapshot, its image not in the list."""
        epoch, now = self._store.epoch, self._parts.clock.monotonic()
        if not self._is_same(epoch):
            return
        images, objects = place.images.list_images(), place.images.list_staged()
        if not self._is_same(epoch):
            return
        with self._store.reading() as snapshot:
            leaks = image_leaks(
                snapshot,
                place.name,
                self._parts.identity.deployment,
                images,
                objects,
                self._seen.get(place.name, {}),
                self._parts.tuning,
                now,
            )
        self._seen[place.name] = leaks.seen
        if (leaks.images or leaks.objects) and self._may_delete(epoch):
            self._delete(place, leaks)

    def _may_delete(self, epoch: int) -> bool:
        """The last look: a store of another installation has none of our records."""
        return (
            not self._stopping.is_set()
            and self._trusts_store()
            and self._store.deployment() == self._parts.identity.deployment
            and self._is_same(epoch)
        )

    def _is_same(self, epoch: int) -> bool:
        """Whether the store is there for sure, in the session it was in."""
        return self._store.connected and self._store.fresh and self._store.epoch == epoch

    def _delete(self, place: ImageProvider, leaks: Leaks) -> None:
        for image in leaks.images:
            named = f"image {image.id} ({image.name})"
            self._delete_one(place, named, "images", partial(place.images.delete_image, image.id))
        for staged in leaks.objects:
            named = f"object {staged.container}/{staged.name}"
            self._delete_one(place, named, "objects", partial(place.images.delete_staged, staged))

    def _delete_one(self, place: ImageProvider, named: str, kind: str, act: Callable[[], None]) -> None:
        key = f"{place.name} {named}"
        try:
            act()
        except CloudError as error:  # the next look finds it again
            level = logging.DEBUG if key in self._told else logging.WARNING
            log.log(level, "provider %s: %s has no record, but stays: %s", place.name, named, error)
            self._told[key] = type(error).__name__
        else:
            self._told.pop(key, None)
            log.warning("provider %s: %s had no record, and is deleted", place.name, named)
            self._parts.stats.image_leaked(place.name, kind)
