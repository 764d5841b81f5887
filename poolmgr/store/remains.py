"""What counts as left over in a tree from which everything should be gone."""

from __future__ import annotations

from collections.abc import Iterable

from poolmgr.store import paths
from poolmgr.store.paths import Kind

#: Directories that stay, as the reference leaves them; what is in them is another matter. An order does not stay:
#: someone waits for what he ordered, or has forgotten it.
_FOLDERS = frozenset(
    {
        Kind.ROOT,
        Kind.COMPONENT_KIND,
        Kind.ELECTION,
        Kind.IMAGE,
        Kind.IMAGE_FOLDER,
        Kind.BUILDS_LOCK,
        Kind.PROVIDER,
        Kind.PROVIDER_LOCK,
        Kind.PROVIDER_STATUS,  # what the last owner said; who is asked is who owns it
        Kind.PROMISES,  # one for each tenant that has limits
    }
)
_OURS = frozenset({paths.parent(paths.DEPLOYMENT), paths.DEPLOYMENT})


def remains(tree: Iterable[str]) -> tuple[str, ...]:
    """The paths that are neither ZooKeeper's own, nor lasting directories, nor the installation's id."""
    return tuple(path for path in tree if not _may_stay(path))


def _may_stay(path: str) -> bool:
    if path == "/zookeeper" or path.startswith("/zookeeper/"):
        return True
    if path in _OURS or path == "/nodepool":
        return True
    return (path.count("/") == 2 and path.startswith("/nodepool/")) or paths.place_of(path).kind in _FOLDERS
