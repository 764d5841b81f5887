"""Alien images in the clouds of a configuration: found, judged, and, when a person wants it, deleted."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from poolmgr.cloud.api import ImageCloud
from poolmgr.errors import CloudError, ConfigError, PoolmgrError
from poolmgr.model.cloud_image import CloudImage
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.alien_images import Keep, nodes_from, why_keep
from poolmgr.policy.image_leaks import aliens
from poolmgr.runtime.executor import ThreadExecutor
from poolmgr.store.api import Store
from poolmgr.web.views import Row

Clouds = Mapping[str, ImageCloud | ConfigError]

_THREADS = 8


@dataclass(frozen=True, kw_only=True)
class Alien:
    """One alien image, seen in the project of `provider`. `keep` None: it may be deleted. `result`: what was done."""

    provider: str
    image: CloudImage
    keep: Keep | None
    nodes: int = 0
    result: str | None = None
    failed: bool = False

    def row(self) -> Row:
        owner = self.image.owner
        return {
            "provider": self.provider,
            "name": self.image.name,
            "id": self.image.id,
            "image": owner.image if owner else None,
            "build_id": owner.build if owner else None,
            "upload_id": owner.upload if owner else None,
            "named_provider": owner.provider if owner else None,
            "deployment": owner.deployment if owner else None,
            "status": self.image.status_text or self.image.status.value,
            "size": self.image.size,
            "created": self.image.created_at,
            "protected": self.image.protected,
            "nodes": self.nodes,
            "stays": self.keep.value if self.keep else None,
            "result": self.result,
        }

    def kept(self) -> Alien:
        """Said that it stays, and why."""
        assert self.keep is not None
        return replace(self, result=f"kept: {self.keep.value}")


class Hunt:
    """Looks through the clouds, all at the same time. `trouble`: providers that could not be gone through."""

    def __init__(self, store: Store, clouds: Clouds) -> None:
        self._store = store
        self._deployment = store.deployment()
        self._clouds = clouds
        self.trouble: set[str] = set()

    def look(self) -> list[Alien]:
        """All aliens by provider and name; an image that several providers show only once."""
        found = self._everywhere(dict.fromkeys(self._clouds))
        return _once([alien for aliens_there in found.values() for alien in aliens_there])

    def delete(self, chosen: Iterable[Alien]) -> list[Alien]:
        """Look again, and delete those of `chosen` that are alien and may go by what is known now."""
        wanted: dict[str, dict[str, Alien]] = {}
        for alien in chosen:
            wanted.setdefault(alien.provider, {})[alien.image.id] = alien
        found = self._everywhere({name: images.keys() for name, images in wanted.items()})
        ended = []
        for name, images in wanted.items():
            now = {alien.image.id: alien for alien in found.get(name, [])}
            ended += [now.get(image_id) or self._missing(alien) for image_id, alien in images.items()]
        return ended

    def _missing(self, alien: Alien) -> Alien:
        if alien.provider in self.trouble:
            return replace(alien, result="not deleted: the cloud could not be asked again", failed=True)
        return replace(alien, result="not deleted: it is gone, or no alien any more")

    def _everywhere(self, targets: Mapping[str, Collection[str] | None]) -> dict[str, list[Alien]]:
        """By provider what `_there` gives; providers that cannot be asked are told and left out."""
        threads = ThreadExecutor("images", min(_THREADS, max(1, len(targets))))
        futures = {
            name: threads.submit(partial(self._there, name, delete)) for name, delete in targets.items()
        }
        found = {}
        for name, future in futures.items():
            try:
                found[name] = future.result()
            except PoolmgrError as error:
                self._tell(name, error)
        threads.stop()
        return found

    def _there(self, provider: str, delete: Collection[str] | None) -> list[Alien]:
        """The provider's aliens; with `delete` only those of these ids, deleted where they may be."""
        cloud = self._clouds[provider]
        if isinstance(cloud, ConfigError):
            raise cloud
        listing = cloud.list_images()
        if not listing.complete:
            self._tell(provider, PoolmgrError("the cloud gave only a part of its list"))
        with self._store.reading() as snapshot:
            found = [
                self._judged(provider, image, snapshot)
                for image in aliens(snapshot, listing)
                if delete is None or image.id in delete
            ]
        return found if delete is None else [self._deleted(cloud, alien) for alien in found]

    def _judged(self, provider: str, image: CloudImage, snapshot: Snapshot) -> Alien:
        keep = why_keep(image, provider, snapshot, self._deployment)
        return Alien(provider=provider, image=image, keep=keep, nodes=nodes_from(image, snapshot))

    def _deleted(self, cloud: ImageCloud, alien: Alien) -> Alien:
        """Deleted, if it still may be: other deletions may have taken their time."""
        if not (self._store.connected and self._store.fresh):
            return replace(alien, result="not deleted: no connection to ZooKeeper", failed=True)
        with self._store.reading() as snapshot:
            alien = self._judged(alien.provider, alien.image, snapshot)
        if alien.keep is not None:
            return alien.kept()
        try:
            cloud.delete_image(alien.image.id)
        except CloudError as error:
            return replace(alien, result=f"not deleted: {error}", failed=True)
        return replace(alien, result="deleted")

    def _tell(self, provider: str, error: PoolmgrError) -> None:
        self.trouble.add(provider)
        print(f"poolmgr: provider {provider}: {error}", file=sys.stderr)


def _once(found: Iterable[Alien]) -> list[Alien]:
    """Without doubles: providers may share a project. The provider that the image names has precedence."""
    by_id: dict[str, Alien] = {}
    for alien in found:
        owner = alien.image.owner
        if alien.image.id not in by_id or (owner is not None and owner.provider == alien.provider):
            by_id[alien.image.id] = alien
    return sorted(by_id.values(), key=lambda alien: (alien.provider, alien.image.name, alien.image.id))
