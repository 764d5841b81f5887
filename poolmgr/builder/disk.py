"""Keeps the images directory to what the records say, as `policy.image_files` judges it.

A store that does not know our builds is more likely a wrong or an emptied one than a right one: that is told, once, and
as long as it lasts nothing in the clouds is taken for leaked either.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from dataclasses import replace

from poolmgr.builder.context import Parts
from poolmgr.builder.files import ImageFiles
from poolmgr.errors import ConfigError
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.image_files import Fate, FileFate, Marker, adoptable, file_fates

log = logging.getLogger(__name__)


class Disk:
    """Owned by the janitor's thread; `trusts_store` may be read by any."""

    def __init__(self, parts: Parts, files: ImageFiles) -> None:
        self._parts, self._files = parts, files
        self._told: dict[str, str] = {}  # by build, what was said last about its files
        self.trusts_store = True

    def tidy(self) -> None:
        """One look at all markers. Raises ConfigError when the directory cannot be read."""
        markers = self._files.markers()
        if self._adopt(markers):
            markers = self._files.markers()
        fates = self._fates(markers)
        for one in fates:
            self._obey(one)
        self._judge_store(fates)

    def let_go(self, image: str, build: str) -> None:
        """Remove the files of a build whose record is about to go. Raises ConfigError when they cannot be."""
        marker = self._files.marker(image, build)
        if marker is None or not self._files.is_ours(marker):
            return
        (fate,) = self._fates([marker])
        if fate.fate is Fate.DELETE:
            self._files.remove(marker)

    def _fates(self, markers: Iterable[Marker]) -> tuple[FileFate, ...]:
        busy = self._parts.activity.builds  # before the records: a build may end in between
        with self._parts.store.reading() as snapshot:
            return self._judged(markers, snapshot, busy)

    def _judged(
        self, markers: Iterable[Marker], snapshot: Snapshot, busy: Iterable[tuple[str, str]]
    ) -> tuple[FileFate, ...]:
        return file_fates(
            markers,
            snapshot,
            deployment=self._parts.identity.deployment,
            builder_id=self._parts.identity.id,
            busy=busy,
            grace=self._parts.settings().image_orphan_grace,
            now=self._parts.clock.time(),
        )

    def _obey(self, one: FileFate) -> None:
        name = f"{one.marker.image}-{one.marker.build}"
        try:
            match one.fate:
                case Fate.DELETE:
                    self._delete(one.marker)
                case Fate.ORPHAN if one.marker.orphan_since is None:
                    self._files.mark(replace(one.marker, orphan_since=self._parts.clock.time()))
                case Fate.FOUND:
                    self._files.mark(replace(one.marker, orphan_since=None))
            self._told.pop(name, None)
        except ConfigError as error:
            if self._told.get(name) != str(error):
                log.error("files of %s: %s", name, error)
            self._told[name] = str(error)

    def _delete(self, marker: Marker) -> None:
        store = self._parts.store
        if not (store.connected and store.fresh) or self._fates([marker])[0].fate is not Fate.DELETE:
            return
        log.info("removing the files of %s-%s", marker.image, marker.build)
        self._files.remove(marker)

    def _adopt(self, markers: Collection[Marker]) -> bool:
        """Builds that nodepool-builder made in this directory are ours from now on, and those of before the store
        was restored into a new one. Whether there were any."""
        found, me = self._files.found(), self._parts.identity
        with self._parts.store.reading() as snapshot:
            taken = adoptable(found, markers, snapshot, deployment=me.deployment, builder_id=me.id)
        known = {(marker.image, marker.build): marker for marker in markers}
        # A marker that makes no sense is left alone, and so are the files that it may be of.
        new = [one for one in taken if one in known or not self._files.has_marker(*one)]
        for image, build in new:
            log.info("taking over the files of %s-%s", image, build)
            old = known.get((image, build))
            self._files.mark(
                Marker(
                    image=image,
                    build=build,
                    deployment=me.deployment,
                    builder_id=me.id,
                    formats=found[image, build],
                    tmpdir=old.tmpdir if old else None,
                )
            )
        return bool(new)

    def _judge_store(self, fates: Iterable[FileFate]) -> None:
        me = self._parts.identity
        orphans = [one for one in fates if one.fate is Fate.ORPHAN]
        strange = [
            one.marker
            for one in fates
            if one.marker.builder_id == me.id and one.marker.deployment != me.deployment
        ]
        trusts = not orphans and not strange
        if self.trusts_store and orphans:
            grace = self._parts.settings().image_orphan_grace
            log.error(
                "the store has no record of %d builds whose files are here, such as %s-%s: their files are kept for"
                " %.0f hours, and nothing in the clouds is swept meanwhile. Is it the right ZooKeeper, and whole?",
                len(orphans),
                orphans[0].marker.image,
                orphans[0].marker.build,
                grace / 3600,
            )
        if self.trusts_store and strange:
            log.error(
                "files of %d builds here, such as %s-%s, are of installation %s, the store is of %s: they are left"
                " alone, and nothing in the clouds is swept. Is it the right ZooKeeper?",
                len(strange),
                strange[0].image,
                strange[0].build,
                strange[0].deployment,
                me.deployment,
            )
        if trusts and not self.trusts_store:
            log.info("the store accounts for all files again")
        self.trusts_store = trusts
