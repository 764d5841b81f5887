"""Builds that were complete when their builder was killed, all but the record: they become READY after all.

That the manifest is there and fits the files is the proof: it is the last thing written before the record. All other
remains of a killed builder are the janitor's.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from poolmgr.builder.build import ready_changes
from poolmgr.builder.build_files import fits
from poolmgr.builder.build_record import BuildRecord
from poolmgr.builder.context import Parts
from poolmgr.builder.files import ImageFiles
from poolmgr.builder.manifest import read_manifest
from poolmgr.errors import LockBusy
from poolmgr.model.image import Build, BuildState

log = logging.getLogger(__name__)


class Recovery:
    """What it has claimed counts as being worked on, so that the janitor leaves it alone."""

    def __init__(self, parts: Parts, files: ImageFiles) -> None:
        self._parts, self._files = parts, files
        self._lock = threading.Lock()
        self._claimed = list(self._complete_ones())
        for build, _ in self._claimed:
            parts.activity.begin_build(build.image, build.id, parts.clock.time())

    @property
    def waits(self) -> bool:
        """Whether there is something to `complete` later: the dead builder's lock may last as long as its session."""
        return bool(self._claimed)

    def complete(self, stopping: threading.Event) -> None:
        """Raises StoreUnavailable."""
        with self._lock:
            for build, document in list(self._claimed):
                try:
                    self._record(build, document, stopping)
                except LockBusy:
                    continue
                self._claimed.remove((build, document))
                self._parts.activity.end_build(build.image, build.id)

    def _record(self, build: Build, document: Mapping[str, Any], stopping: threading.Event) -> None:
        store = self._parts.store
        record = BuildRecord(self._parts, store.lock_builds(build.image), build)
        try:
            with store.reading() as snapshot:
                changes = ready_changes(document, snapshot, build, self._parts.clock.time())
            if record.settle(stopping, **changes):
                log.info("build %s was complete when its builder died, and is ready", build.name)
        finally:
            record.let_go()

    def _complete_ones(self) -> list[tuple[Build, Mapping[str, Any]]]:
        markers = {(one.image, one.build) for one in self._files.markers() if self._files.is_ours(one)}
        with self._parts.store.reading() as snapshot:
            ours = [
                build
                for build in snapshot.builds()
                if build.state is BuildState.BUILDING and build.builder_id == self._parts.identity.id
            ]
        found = [
            (build, read_manifest(self._files.manifest_path(build.image, build.id)))
            for build in ours
            if (build.image, build.id) in markers
        ]
        return [
            (build, document) for build, document in found if document and self._is_whole(build, document)
        ]

    def _is_whole(self, build: Build, document: Mapping[str, Any]) -> bool:
        told = document.get("files")
        if not isinstance(told, Mapping) or set(told) != set(build.format_names):
            return False
        return all(fits(Path(self._files.path(build.image, build.id, name)), told[name]) for name in told)
