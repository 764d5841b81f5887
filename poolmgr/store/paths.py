"""Every path in the store, and what each znode is: under `/nodepool` (zookeeper.md 3), and ours under `/poolmgr`.

`place_of` is the inverse of the builders: it names the kind of thing a path holds and the ids in it. It is
called for each watch event, so it only splits and compares.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import quote, unquote

from poolmgr.model.component import ComponentKind
from poolmgr.model.image import Order

REQUESTS = "/nodepool/requests"
REQUEST_LOCKS = "/nodepool/requests-lock"
NODES = "/nodepool/nodes"
COMPONENTS = "/nodepool/components"
IMAGES = "/nodepool/images"
ELECTIONS = "/nodepool/elections"
#: What is ours alone lives here, never under /nodepool.
DEPLOYMENT = "/poolmgr/deployment"
PEERS = "/poolmgr/peers"
PROVIDERS = "/poolmgr/providers"
TENANTS = "/poolmgr/tenants"

#: The trees that a store keeps in its snapshot.
ROOTS = (COMPONENTS, IMAGES, NODES, REQUESTS, REQUEST_LOCKS, ELECTIONS, PEERS, PROVIDERS, TENANTS)

#: A contender's name ends so (zookeeper.md 4); the sequence turns negative after 2^31 children.
_CONTENDER = re.compile(r"__lock__(-?\d{10})$")
#: What ZooKeeper takes in no path, and the slash.
_UNUSABLE = re.compile("[/\x00-\x1f\x7f-\x9f\ud800-\uf8ff\ufff0-\uffff]")
#: Characters that stay as they are in a provider's folder, beside letters and digits in ASCII and `_.-~`.
_PLAIN = " !#$&'()*+,:;<=>?@[]^`{|}"
_ORDERS = frozenset(order.value for order in Order)


class Kind(enum.Enum):
    """What a path holds. The ids that `Place.ids` has for it are in parentheses."""

    ROOT = enum.auto()  # one of ROOTS
    REQUEST = enum.auto()  # (request)
    REQUEST_LOCK = enum.auto()  # (request)
    REQUEST_CONTENDER = enum.auto()  # (request, contender)
    NODE = enum.auto()  # (node)
    NODE_LOCK = enum.auto()  # (node)
    NODE_CONTENDER = enum.auto()  # (node, contender)
    COMPONENT_KIND = enum.auto()  # (kind)
    COMPONENT = enum.auto()  # (kind, znode)
    ELECTION = enum.auto()  # (name)
    ELECTION_CONTENDER = enum.auto()  # (name, contender)
    IMAGE = enum.auto()  # (image)
    ORDER = enum.auto()  # (image, name of the order)
    IMAGE_FOLDER = enum.auto()  # any other level between the root and the records
    BUILDS_LOCK = enum.auto()  # (image)
    BUILDS_CONTENDER = enum.auto()  # (image, contender)
    BUILD = enum.auto()  # (image, build)
    UPLOADS_LOCK = enum.auto()  # (image, build, provider)
    UPLOADS_CONTENDER = enum.auto()  # (image, build, provider, contender)
    UPLOAD = enum.auto()  # (image, build, provider, upload)
    RECORD_LOCK = enum.auto()  # of one build (image, build) or upload (image, build, provider, upload)
    RECORD_CONTENDER = enum.auto()  # (ids of its RECORD_LOCK, contender)
    PEER = enum.auto()  # (znode)
    PROVIDER = enum.auto()  # (provider)
    PROVIDER_LOCK = enum.auto()  # (provider)
    PROVIDER_CONTENDER = enum.auto()  # (provider, contender)
    PROVIDER_ORDER = enum.auto()  # (provider)
    APPROVAL = enum.auto()  # (provider)
    PROVIDER_STATUS = enum.auto()  # (provider)
    PROMISES = enum.auto()  # (tenant)
    OTHER = enum.auto()  # nothing a snapshot shows


class Place(NamedTuple):
    kind: Kind
    ids: tuple[str, ...] = ()


_OTHER = Place(Kind.OTHER)
_ROOT = Place(Kind.ROOT)


def request(request_id: str) -> str:
    return f"{REQUESTS}/{request_id}"


def request_lock(request_id: str) -> str:
    return f"{REQUEST_LOCKS}/{request_id}"


def node(node_id: str) -> str:
    return f"{NODES}/{node_id}"


def node_lock(node_id: str) -> str:
    return f"{NODES}/{node_id}/lock"


def component(kind: ComponentKind, znode: str = "") -> str:
    """The record's path, or the directory of its kind without `znode`."""
    folder = f"{COMPONENTS}/{kind.value}"
    return f"{folder}/{znode}" if znode else folder


def election(name: str) -> str:
    return f"{ELECTIONS}/{name}"


def order(image: str, kind: Order) -> str:
    return f"{IMAGES}/{image}/{kind.value}"


def builds(image: str) -> str:
    """The directory of an image's builds."""
    return f"{IMAGES}/{image}/builds"


def build(image: str, build_id: str) -> str:
    return f"{IMAGES}/{image}/builds/{build_id}"


def uploads(image: str, build_id: str, provider: str) -> str:
    """The directory of a build's uploads to one provider."""
    return f"{build(image, build_id)}/providers/{provider}/images"


def peer(znode: str) -> str:
    return f"{PEERS}/{znode}"


def provider(name: str) -> str:
    """The folder of what launchers agree on about a provider."""
    return f"{PROVIDERS}/{_quoted(name)}"


def promises(tenant: str) -> str:
    return f"{TENANTS}/{_quoted(tenant)}"


def _quoted(name: str) -> str:
    """A name may hold what no path may."""
    quoted = quote(name, safe=_PLAIN, errors="surrogatepass")
    if not quoted.strip("."):  # it would mean another folder, or none
        quoted = quoted.replace(".", "%2E") or "%"
    return quoted


def _unquoted(quoted: str) -> str | None:
    """None for what nobody of us has made."""
    name = "" if quoted == "%" else unquote(quoted, errors="surrogatepass")
    return name if _quoted(name) == quoted else None


def provider_order(name: str) -> str:
    return f"{provider(name)}/order"


def approval(provider_name: str) -> str:
    return f"{provider(provider_name)}/approval"


def provider_status(name: str) -> str:
    return f"{provider(name)}/status"


def lock(path: str) -> str:
    """The lock directory of a record, or of a directory of records."""
    return f"{path}/lock"


def usable(name: str) -> bool:
    """Whether a path may have `name` as a part: ZooKeeper refuses some, and `lock` means something else."""
    return name not in ("", ".", "..", "lock") and not _UNUSABLE.search(name)


def parent(path: str) -> str:
    """The path one level up; "" for a top-level one."""
    return path.rpartition("/")[0]


def name(path: str) -> str:
    return path.rpartition("/")[2]


def sequence_of(contender: str) -> str | None:
    """The sequence part of a contender's name, or None for a name that does not contend.

    Compared as text, as kazoo does: who holds a lock must be the same for all its contenders.
    """
    match = _CONTENDER.search(contender)
    return match.group(1) if match else None


def place_of(path: str) -> Place:
    """What is at `path` (without chroot)."""
    parts = path.split("/")
    if len(parts) == 3:
        return _ROOT if path in ROOTS else _OTHER
    reader = _READERS.get(f"/{parts[1]}/{parts[2]}") if len(parts) > 3 else None
    return reader(parts[3:]) if reader else _OTHER


def root_of(path: str) -> str:
    """Which of `ROOTS` a path below one is below."""
    return path[: path.index("/", path.index("/", 1) + 1)]


def _in_requests(ids: list[str]) -> Place:
    # `lock` is a reserved name below requests, left by old releases.
    return Place(Kind.REQUEST, (ids[0],)) if len(ids) == 1 and ids[0] != "lock" else _OTHER


def _in_request_locks(ids: list[str]) -> Place:
    if len(ids) == 1:
        return Place(Kind.REQUEST_LOCK, (ids[0],))
    if len(ids) == 2 and sequence_of(ids[1]):
        return Place(Kind.REQUEST_CONTENDER, (ids[0], ids[1]))
    return _OTHER


def _in_nodes(ids: list[str]) -> Place:
    if len(ids) == 1:
        return Place(Kind.NODE, (ids[0],)) if ids[0] != "lock" else _OTHER
    if ids[1] == "lock":
        if len(ids) == 2:
            return Place(Kind.NODE_LOCK, (ids[0],))
        if len(ids) == 3 and sequence_of(ids[2]):
            return Place(Kind.NODE_CONTENDER, (ids[0], ids[2]))
    return _OTHER


def _in_components(ids: list[str]) -> Place:
    if len(ids) == 1:
        return Place(Kind.COMPONENT_KIND, (ids[0],))
    return Place(Kind.COMPONENT, (ids[0], ids[1])) if len(ids) == 2 else _OTHER


def _in_elections(ids: list[str]) -> Place:
    if len(ids) == 1:
        return Place(Kind.ELECTION, (ids[0],))
    if len(ids) == 2 and sequence_of(ids[1]):
        return Place(Kind.ELECTION_CONTENDER, (ids[0], ids[1]))
    return _OTHER


def _in_images(ids: list[str]) -> Place:
    # <image> / builds / <build> / providers / <provider> / images / <upload>
    if len(ids) == 2 and ids[1] in _ORDERS:
        return Place(Kind.ORDER, (ids[0], ids[1]))
    if "lock" in ids[2:]:
        return _in_image_locks(ids)
    if len(ids) > 7 or not _named_so(ids):
        return _OTHER
    if len(ids) == 1:
        return Place(Kind.IMAGE, (ids[0],))
    if len(ids) == 3:
        return Place(Kind.BUILD, (ids[0], ids[2]))
    if len(ids) == 7:
        return Place(Kind.UPLOAD, (ids[0], ids[2], ids[4], ids[6]))
    return Place(Kind.IMAGE_FOLDER)


def _in_image_locks(ids: list[str]) -> Place:
    end = ids.index("lock", 2)
    kinds = _IMAGE_LOCKS.get(end)
    if kinds is None or not _named_so(ids[:end]):
        return _OTHER
    guarded = tuple(ids[:end:2])  # each second part is a name, the others are words
    if len(ids) == end + 1:
        return Place(kinds[0], guarded)
    if len(ids) == end + 2 and sequence_of(ids[-1]):
        return Place(kinds[1], (*guarded, ids[-1]))
    return _OTHER


def _in_peers(ids: list[str]) -> Place:
    return Place(Kind.PEER, (ids[0],)) if len(ids) == 1 else _OTHER


def _in_providers(ids: list[str]) -> Place:
    name = _unquoted(ids[0])
    if name is None:
        return _OTHER
    if len(ids) == 1:
        return Place(Kind.PROVIDER, (name,))
    if len(ids) == 2 and ids[1] in _OF_PROVIDERS:
        return Place(_OF_PROVIDERS[ids[1]], (name,))
    if len(ids) == 3 and ids[1] == "lock" and sequence_of(ids[2]):
        return Place(Kind.PROVIDER_CONTENDER, (name, ids[2]))
    return _OTHER


def _in_tenants(ids: list[str]) -> Place:
    tenant = _unquoted(ids[0])
    return Place(Kind.PROMISES, (tenant,)) if tenant is not None and len(ids) == 1 else _OTHER


def _named_so(ids: list[str]) -> bool:
    """Whether the directories down to here have the names that they must have."""
    return all(ids[i] == word for i, word in ((1, "builds"), (3, "providers"), (5, "images")) if i < len(ids))


#: By depth of the lock directory: its kind, and that of who contends in it.
_IMAGE_LOCKS = {
    2: (Kind.BUILDS_LOCK, Kind.BUILDS_CONTENDER),
    3: (Kind.RECORD_LOCK, Kind.RECORD_CONTENDER),
    6: (Kind.UPLOADS_LOCK, Kind.UPLOADS_CONTENDER),
    7: (Kind.RECORD_LOCK, Kind.RECORD_CONTENDER),
}
_OF_PROVIDERS = {
    "lock": Kind.PROVIDER_LOCK,
    "order": Kind.PROVIDER_ORDER,
    "approval": Kind.APPROVAL,
    "status": Kind.PROVIDER_STATUS,
}
_READERS: dict[str, Callable[[list[str]], Place]] = {
    REQUESTS: _in_requests,
    REQUEST_LOCKS: _in_request_locks,
    NODES: _in_nodes,
    COMPONENTS: _in_components,
    ELECTIONS: _in_elections,
    IMAGES: _in_images,
    PEERS: _in_peers,
    PROVIDERS: _in_providers,
    TENANTS: _in_tenants,
}
