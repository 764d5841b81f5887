"""Every fault that a pretend cloud knows: its name, what it does, and which calls it strikes if nobody says otherwise.

`poolmgr simcloud --list-faults` prints the table. The names are what files and /_sim/ take; what a fault needs
besides (`seconds`, `status`, `message`...) is in faults.py.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from poolmgr.simcloud.fault_texts import TEXTS


class FaultKind(enum.Enum):
    """Those of the first groups spoil the conversation, version documents and pages; the others what the cloud does."""

    HTTP_500 = "http-500"
    HTTP_503 = "http-503"
    THROTTLE = "throttle"
    REFUSE = "refuse"
    DROP = "drop"
    HANG = "hang"
    SLOW = "slow"
    LOST_ANSWER = "lost-answer"
    EXPIRED_TOKEN = "expired-token"
    GARBAGE = "garbage"
    MISSING = "missing"
    POLICY = "policy"
    REDIRECT = "redirect"
    CUT = "cut"
    WRONG_DATE = "wrong-date"
    NO_CHUNKED = "no-chunked"

    GUARDED = "guarded"
    WRONG_LINKS = "wrong-links"
    MULTIPLE_CHOICES = "multiple-choices"
    ODD_VERSIONS = "odd-versions"

    FOREIGN_NEXT = "foreign-next"
    REPEATED_PAGE = "repeated-page"
    LINK_HEADER = "link-header"
    STALE_LIST = "stale-list"

    QUOTA = "quota"
    NO_VALID_HOST = "no-valid-host"
    ERROR_SERVER = "error-server"
    STUCK_BUILD = "stuck-build"
    NO_ADDRESS = "no-address"
    LATE_ADDRESS = "late-address"
    NO_SSH = "no-ssh"
    NO_LOGIN = "no-login"
    COMMAND_FAILS = "command-fails"
    COMMAND_HANGS = "command-hangs"
    IGNORED_DELETE = "ignored-delete"
    ERROR_DELETE = "error-delete"
    STUCK_DELETE = "stuck-delete"
    UNFORCED_DELETE = "unforced-delete"
    SLOW_DELETE = "slow-delete"
    SOFT_DELETE = "soft-delete"
    LEAKED_PORT = "leaked-port"
    LEAKED_VOLUME = "leaked-volume"
    DOWN_FLOATING_IP = "down-floating-ip"
    STOLEN_FLOATING_IP = "stolen-floating-ip"
    DOWN_CELL = "down-cell"
    STUCK_VOLUME = "stuck-volume"
    ERROR_VOLUME = "error-volume"

    FAILED_TASK = "failed-task"
    SLOW_IMAGE = "slow-image"
    LATE_IMAGE = "late-image"
    CONVERTED_IMAGE = "converted-image"
    SHORT_IMAGE = "short-image"
    STUCK_IMPORT = "stuck-import"
    FAILED_IMPORT = "failed-import"
    IMAGE_IN_USE = "image-in-use"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """`operations` () means all calls but `identity.*`. `seconds`, `status`, `message`: used if a fault has none."""

    does: str
    operations: tuple[str, ...] = ()
    seconds: float = 0.0
    status: int = 0
    message: str = ""


_DOCUMENTS = ("*.GET.discovery",)
_PAGES = (
    "compute.GET.servers*",
    "compute.GET.flavors*",
    "network.GET.*",
    "image.GET.images*",
    "block-storage.GET.volumes*",
    "object-store.GET.container",
)
_LISTS = ("compute.GET.servers_detail", "compute.GET.servers")
_CREATE = ("compute.POST.servers",)
_DELETE = ("compute.DELETE.server",)
_DATA = ("image.PUT.image_file", "image.PUT.image_stage", "image.PUT.image", "object-store.PUT.object")
_FILLED = ("image.PUT.image_file", "image.PUT.image", "image.POST.image_import", "image.POST.tasks")

KINDS: Mapping[FaultKind, Kind] = {
    FaultKind.HTTP_500: Kind(
        does="500 with `message`; nothing was done",
        message="Unexpected API Error. Please report this at http://bugs.launchpad.net/nova/ and attach the "
        "Nova API log if possible.",
    ),
    FaultKind.HTTP_503: Kind(
        does="503 with `message`, with Retry-After when `retry_after` is set; nothing was done",
        message="The server is currently unavailable. Please try again at a later time.",
    ),
    FaultKind.THROTTLE: Kind(
        does="429, or `status` 413, of a rate limit; Retry-After is `retry_after` (1) as `header` says",
        status=429,
        message="This request was rate-limited.",
    ),
    FaultKind.REFUSE: Kind(
        does="`status` (409) with `message` in the service's envelope", status=409, message="Conflict"
    ),
    FaultKind.DROP: Kind(does="the connection is closed instead of an answer; nothing was done"),
    FaultKind.HANG: Kind(
        does="no answer for `seconds` (an hour), then the connection closes; nothing was done", seconds=3600.0
    ),
    FaultKind.SLOW: Kind(does="the answer takes `seconds` (5) longer", seconds=5.0),
    FaultKind.LOST_ANSWER: Kind(
        does="it was done, but the connection closes, after `seconds` (0), without an answer",
        operations=_CREATE,
    ),
    FaultKind.EXPIRED_TOKEN: Kind(does="the call's token is no longer valid: 401 now and from now on"),
    FaultKind.GARBAGE: Kind(
        does="an HTML page with `status` (200), as of a proxy or a maintenance page", status=200
    ),
    FaultKind.MISSING: Kind(
        does="404, as of an API or a version document that the cloud does not have", operations=_DOCUMENTS
    ),
    FaultKind.POLICY: Kind(
        does="403 of a policy; of quotas and limits if no operation is named",
        operations=("*.GET.limits", "*.GET.quota*", "compute.GET.os-quota-set*"),
        status=403,
        message=TEXTS["policy"].message,
    ),
    FaultKind.REDIRECT: Kind(
        does="`status` (302) to `message`, which is a URL, or a start of one that the path is put after",
        operations=_DOCUMENTS,
        status=302,
        message="http://elsewhere.example",
    ),
    FaultKind.CUT: Kind(does="it was done, but the connection closes in the middle of the answer"),
    FaultKind.WRONG_DATE: Kind(does="the header Date is `seconds` (an hour) ahead", seconds=3600.0),
    FaultKind.NO_CHUNKED: Kind(does="411 to a body without Content-Length", operations=_DATA, status=411),
    FaultKind.GUARDED: Kind(does="401 to a call without a token", operations=_DOCUMENTS),
    FaultKind.WRONG_LINKS: Kind(
        does="links begin with `message`: another scheme and host, as behind a proxy that nobody told of",
        operations=_DOCUMENTS,
        message="https://internal.example:8443",
    ),
    FaultKind.MULTIPLE_CHOICES: Kind(
        does="the version document comes with `status` (300)", operations=_DOCUMENTS, status=300
    ),
    FaultKind.ODD_VERSIONS: Kind(
        does="the version document has entries without id, status or links, and an EXPERIMENTAL v99",
        operations=_DOCUMENTS,
    ),
    FaultKind.FOREIGN_NEXT: Kind(
        does="the link to the next page begins with `message`: another host",
        operations=_PAGES,
        message="http://elsewhere.example",
    ),
    FaultKind.REPEATED_PAGE: Kind(
        does="the second page's link leads to itself; the object store ignores the marker", operations=_PAGES
    ),
    FaultKind.LINK_HEADER: Kind(
        does="the next page is named in a header Link (RFC 5988), not in the body", operations=_PAGES
    ),
    FaultKind.STALE_LIST: Kind(
        does="a list of servers as it was `seconds` (5) ago", operations=_LISTS, seconds=5.0
    ),
    FaultKind.QUOTA: Kind(
        does="refused as over quota: 403 of Nova, 409 of Neutron, 413 of Cinder", operations=_CREATE
    ),
    FaultKind.NO_VALID_HOST: Kind(does="the server goes to ERROR, scheduling failed", operations=_CREATE),
    FaultKind.ERROR_SERVER: Kind(
        does="the server goes to ERROR instead of ACTIVE; `message` or `text` is its fault, `status` (500) its code",
        operations=_CREATE,
        status=500,
        message=TEXTS["no-network"].message,
    ),
    FaultKind.STUCK_BUILD: Kind(does="the server stays in BUILD", operations=_CREATE),
    FaultKind.NO_ADDRESS: Kind(does="ACTIVE, but without ports and addresses", operations=_CREATE),
    FaultKind.LATE_ADDRESS: Kind(
        does="ACTIVE with its ports, but Nova shows no address until `seconds` (5) later",
        operations=_CREATE,
        seconds=5.0,
    ),
    FaultKind.NO_SSH: Kind(does="ACTIVE, but nothing answers on it", operations=_CREATE),
    FaultKind.NO_LOGIN: Kind(does="its SSH server lets nobody in", operations=_CREATE),
    FaultKind.COMMAND_FAILS: Kind(
        does="commands on it say `message` and exit with `status` (1)", operations=_CREATE, status=1
    ),
    FaultKind.COMMAND_HANGS: Kind(does="commands on it never end", operations=_CREATE),
    FaultKind.IGNORED_DELETE: Kind(
        does="204, and nothing happens; also of ports, floating IPs, volumes, images, objects",
        operations=_DELETE,
    ),
    FaultKind.ERROR_DELETE: Kind(
        does="accepted; the server goes to ERROR and stays; of a volume: error_deleting", operations=_DELETE
    ),
    FaultKind.STUCK_DELETE: Kind(
        does="accepted; the server goes to ERROR, still `deleting`, until it is deleted again",
        operations=_DELETE,
    ),
    FaultKind.UNFORCED_DELETE: Kind(
        does="accepted; the server goes to ERROR until it is deleted by force; of a volume: error_deleting",
        operations=_DELETE,
    ),
    FaultKind.SLOW_DELETE: Kind(
        does="the server is `deleting` for `seconds` (60)", operations=_DELETE, seconds=60.0
    ),
    FaultKind.SOFT_DELETE: Kind(
        does="the server is SOFT_DELETED for `seconds` (an hour) unless it is deleted by force",
        operations=_DELETE,
        seconds=3600.0,
    ),
    FaultKind.LEAKED_PORT: Kind(
        does="the server goes, its ports stay, DOWN; of a create call: if it fails", operations=_DELETE
    ),
    FaultKind.LEAKED_VOLUME: Kind(
        does="the server goes, its volumes stay: `detaching` for `seconds` (0), then available",
        operations=_DELETE,
    ),
    FaultKind.DOWN_FLOATING_IP: Kind(
        does="the floating IP stays DOWN though it is bound, for `seconds` after that (for ever)",
        operations=("network.POST.floatingips",),
    ),
    FaultKind.STOLEN_FLOATING_IP: Kind(
        does="`seconds` (0) after the answer the floating IP is bound to somebody else's port",
        operations=("network.POST.floatingips", "network.PUT.floatingip"),
    ),
    FaultKind.DOWN_CELL: Kind(
        does="servers in the zone `message` (all) are stubs with status UNKNOWN; missing below microversion 2.69",
        operations=("compute.GET.servers*", "compute.GET.server"),
    ),
    FaultKind.STUCK_VOLUME: Kind(
        does="the volume stays `creating`", operations=("block-storage.POST.volumes",)
    ),
    FaultKind.ERROR_VOLUME: Kind(
        does="the volume ends in `error`", operations=("block-storage.POST.volumes",)
    ),
    FaultKind.FAILED_TASK: Kind(
        does="a task that imports an image ends in failure, with `message`",
        operations=("image.POST.tasks",),
        message="Image cannot be imported. Error code: '396'",
    ),
    FaultKind.SLOW_IMAGE: Kind(
        does="after its upload the image is `saving` for `seconds` (5)",
        operations=("image.PUT.image_file", "image.PUT.image"),
        seconds=5.0,
    ),
    FaultKind.LATE_IMAGE: Kind(
        does="the task succeeds, but its image is 404 for `seconds` (5)",
        operations=("image.POST.tasks",),
        seconds=5.0,
    ),
    FaultKind.CONVERTED_IMAGE: Kind(
        does="the cloud converts the image: size and hashes are not those of what arrived", operations=_FILLED
    ),
    FaultKind.SHORT_IMAGE: Kind(
        does="the image is active, but the cloud has kept only half of its bytes", operations=_FILLED
    ),
    FaultKind.STUCK_IMPORT: Kind(
        does="the import is accepted; the image keeps its status, or gets `message` as one, for ever",
        operations=("image.POST.image_import",),
    ),
    FaultKind.FAILED_IMPORT: Kind(
        does="the image is queued again, os_glance_failed_import is set, its task says `message`",
        operations=("image.POST.image_import",),
        message="Task was aborted externally",
    ),
    FaultKind.IMAGE_IN_USE: Kind(
        does="409 to the delete of an image, in Glance's words",
        operations=("image.DELETE.image",),
        status=409,
        message="Image {id} could not be deleted because it is in use: The image cannot be deleted because it "
        "is in use through the backend store outside of Glance.",
    ),
}
