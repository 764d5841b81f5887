"""What can be wrong with a cloud, and what to do about it: one table.

A trouble's word is stable: it is the `reason` of errors and of the doctor's findings (`poolmgr cloud show`), and
what tests and scripts compare. Its remedy ends the message wherever the trouble is told.
"""

from __future__ import annotations

import enum
from typing import Any, Self, TypeVar

from poolmgr.errors import PoolmgrError

E = TypeVar("E", bound=PoolmgrError)


@enum.unique
class Trouble(enum.Enum):
    """`value` is the word, `remedy` a sentence for the operator, without a full stop."""

    remedy: str

    def __new__(cls, word: str, remedy: str) -> Self:
        trouble = object.__new__(cls)
        trouble._value_ = word
        trouble.remedy = remedy
        return trouble

    @classmethod
    def of(cls, word: str) -> Self | None:
        """The trouble of that word, as errors have it in `reason`; None for a word that is none."""
        return next((trouble for trouble in cls if trouble.value == word), None)

    def error(self, leaf: type[E], message: str, **more: Any) -> E:
        """An error whose text is `message` and then what to do."""
        return leaf(message, reason=self.value, remedy=self.remedy, **more)

    # -- no answer -------------------------------------------------------------------------------------------
    UNKNOWN_HOST = "unknown-host", "check the host name in the URL, and name resolution on this machine"
    CONNECTION_REFUSED = (
        "connection-refused",
        "nothing listens there: check host and port in the URL, or whether the service is down",
    )
    UNREACHABLE = (
        "unreachable",
        "check the address, this machine's routes, firewalls, and whether a proxy is needed",
    )
    SILENT = "silent", "the service hangs or is overloaded: try again later, then ask the cloud's operator"
    CUT_OFF = (
        "cut-off",
        "something cuts connections: a proxy or firewall on the way, or a service that wants https://",
    )
    PROXY_FAILED = "proxy-failed", "check the variables HTTP_PROXY, HTTPS_PROXY and NO_PROXY"
    UNTRUSTED_CERTIFICATE = (
        "untrusted-certificate",
        "set cacert in clouds.yaml to a file with the certificate of the authority that signed it",
    )
    CERTIFICATE_OF_ANOTHER_HOST = (
        "certificate-of-another-host",
        "use the name that the certificate is for in auth_url or endpoint overrides, or have it issued anew",
    )
    EXPIRED_CERTIFICATE = (
        "expired-certificate",
        "have the cloud's operator renew it, and check this machine's clock",
    )
    BAD_CERTIFICATE_FILE = (
        "bad-certificate-file",
        "cacert, cert and key in clouds.yaml must be PEM files, and key must belong to cert",
    )
    TLS_FAILED = (
        "tls-failed",
        "the two sides do not agree on TLS: check URL and port (is it http://?), and the client certificate",
    )
    PLAIN_HTTP = (
        "plain-http",
        "the service speaks no TLS on this port: use http:// or the port of its https://",
    )
    TLS_WANTED = "tls-wanted", "the service speaks TLS on this port: use https:// in the URL"
    BAD_URL = "bad-url", "check the URL in clouds.yaml: https://<host>[:<port>]/<path>"

    # -- an answer that is none ------------------------------------------------------------------------------
    WEB_PAGE = (
        "web-page",
        "a web server answers, not the service: check the URL and whether a proxy or login page is in the way",
    )
    NOT_JSON = "not-json", "check that the URL is the service's own, and what stands between it and us"
    STRANGE_REDIRECT = "strange-redirect", "put the URL it redirects to into clouds.yaml, if you trust it"
    SERVICE_FAILS = (
        "service-fails",
        "the fault is the cloud's: try again later; its operator finds the call by the request id",
    )

    # -- logging in ------------------------------------------------------------------------------------------
    WRONG_AUTH_URL = (
        "wrong-auth-url",
        (
            "auth_url must be the Identity service's, version 3: mostly https://<host>:5000/v3 or "
            "https://<host>/identity/v3"
        ),
    )
    LOGIN_REFUSED = (
        "login-refused",
        (
            "check under auth in clouds.yaml user name, password and domains (or the application credential), that "
            "the project exists, and that the user has a role in it"
        ),
    )
    LOGIN_FORBIDDEN = "login-forbidden", "ask the cloud's operator whether the account is locked or disabled"
    TOKEN_ENDED = (
        "token-ended",
        (
            "a given token cannot be renewed: put a new one into clouds.yaml, or log in by password or application "
            "credential"
        ),
    )
    TOKEN_REFUSED = (
        "token-refused",
        (
            "the service does not accept tokens of this Identity service: check that its URL is one of this cloud, and "
            "the clocks"
        ),
    )
    NO_PROJECT = (
        "no-project",
        "the login is good for no project: name one under auth in clouds.yaml (project_name or project_id)",
    )
    NO_ROLE = (
        "no-role",
        "the login may not do this: ask the cloud's operator for a role in the project (mostly `member`)",
    )

    # -- finding services ------------------------------------------------------------------------------------
    REGION_UNKNOWN = "region-unknown", "set region_name in clouds.yaml to one of the catalog's; case matters"
    SERVICE_MISSING = (
        "service-missing",
        "check interface and region_name in clouds.yaml, or set an endpoint override for the service",
    )
    SERVICE_DENIED = "service-denied", "remove that key from clouds.yaml, or set it to true"
    NO_CATALOG = "no-catalog", "set an endpoint override for the service in clouds.yaml"
    WRONG_ENDPOINT = (
        "wrong-endpoint",
        "this seems not to be the service's URL: check the catalog, or the endpoint override in clouds.yaml",
    )
    VERSION_REFUSED = (
        "version-refused",
        (
            "the service refuses a version that it offers itself: set compute_default_microversion in clouds.yaml "
            "lower, and tell the cloud's operator"
        ),
    )
    MICROVERSION_NOT_OFFERED = (
        "microversion-not-offered",
        "remove default_microversion from clouds.yaml, or choose one that is offered",
    )
    BAD_OVERRIDE = "bad-override", "only %(project_id)s and %(user_id)s stand for something in it"

    # -- lists and names -------------------------------------------------------------------------------------
    LIST_CUT_SHORT = (
        "list-cut-short",
        "a part of a list is of no use, so nothing was done: try again, then ask the cloud's operator",
    )
    NETWORK_UNKNOWN = "network-unknown", "use one of those names, or an id; case matters"
    NETWORK_AMBIGUOUS = "network-ambiguous", "use one of the ids instead of the name"
    NETWORK_DOWN = "network-down", "switch it on (`openstack network set --enable`), or use another network"
    NETWORK_WITHOUT_SUBNET = (
        "network-without-subnet",
        "add a subnet to it, or use another network",
    )
    NO_NETWORK = (
        "no-network",
        "make a network with a subnet in the project, or have the cloud's operator share one with it",
    )
    SEVERAL_NETWORKS = (
        "several-networks",
        "name one in the pool's or label's `networks`, or give one default_interface: true in clouds.yaml",
    )
    SEVERAL_NAT_SOURCES = (
        "several-nat-sources",
        "set nat_source: true on one of them under `networks` in clouds.yaml",
    )
    SEVERAL_NAT_DESTINATIONS = (
        "several-nat-destinations",
        "set nat_destination: true on one of them under `networks` in clouds.yaml",
    )
    NO_NAT_SOURCE = (
        "no-nat-source",
        "set requires_floating_ip: false in clouds.yaml, or ask the cloud's operator for an external network",
    )
    NO_FLOATING_IPS = (
        "no-floating-ips",
        "if the cloud's Compute service makes floating IPs, set floating_ip_source: nova in clouds.yaml, else null",
    )
    GROUP_UNKNOWN = "group-unknown", "use one of those names, or an id; case matters"
    GROUP_AMBIGUOUS = "group-ambiguous", "use one of the ids instead of the name"
    IMAGE_UNKNOWN = (
        "image-unknown",
        "use the name or id of an active image that the project can see; case matters",
    )
    IMAGE_AMBIGUOUS = "image-ambiguous", "use one of the ids instead of the name, or rename all but one"
    FLAVOR_UNKNOWN = "flavor-unknown", "use one of those names, or an id; case matters"
    FLAVOR_AMBIGUOUS = "flavor-ambiguous", "use one of the ids instead of the name"
    NAME_UNKNOWN = (
        "name-unknown",
        "the cloud does not know a name or id in the call (any more): check the label's settings against it",
    )
    KEY_PAIR_DIFFERS = (
        "key-pair-differs",
        "choose another name for the key pair, or delete the one in the cloud if nobody needs it",
    )
    IMAGE_GONE = "image-gone", "the image was deleted or is not active: upload it again, or use another one"

    # -- uploading images ------------------------------------------------------------------------------------
    IMAGE_QUOTA = (
        "image-quota",
        "delete images that nobody needs, or ask the cloud's operator for a larger quota",
    )
    IMAGE_TOO_LARGE = (
        "image-too-large",
        "the cloud takes no images of this size: make it smaller (qcow2 instead of raw), or ask the cloud's operator",
    )
    IMAGE_CHANGED = (
        "image-changed",
        "set image_content_may_change: true in clouds.yaml if the cloud converts images, else tell its operator",
    )
    IMAGE_EXISTS = "image-exists", "choose another name, or delete that image if nobody needs it"
    FILE_CHANGED = "file-changed", "the file is damaged or was replaced: build it anew"
    FILE_UNREADABLE = "file-unreadable", "check the path, and the permissions of the file"
    IMPORT_FAILED = (
        "import-failed",
        "set image_upload_method in clouds.yaml to another way, or tell the cloud's operator",
    )
    TASK_FAILED = "task-failed", "check that the file has the image_format that the cloud wants"
    UPLOAD_REFUSED = (
        "upload-refused",
        "set image_upload_method in clouds.yaml to a way that the cloud takes: put, import, tasks, v1",
    )

    # -- what only the doctor sees ---------------------------------------------------------------------------
    CLOCK_SKEW = (
        "clock-skew",
        "set this machine's clock (chrony, NTP), or tell the cloud's operator: tokens and signatures end by it",
    )
    PROJECT_REFUSED = (
        "project-refused",
        "set project_name (or project_id) in clouds.yaml to one that the login may use, or ask for a role in it",
    )
    ADMIN_LOGIN = (
        "admin-login",
        "use a login that has only the role `member`: an administrator's mistakes cost more",
    )
    SHORT_TOKENS = "short-tokens", "ask the cloud's operator for tokens that live for an hour at least"
    UNENCRYPTED = "unencrypted", "use the https:// URL of the cloud, if it has one"
    CERTIFICATE_UNCHECKED = (
        "certificate-unchecked",
        "remove `verify: false` from clouds.yaml, and set cacert if the authority is not a known one",
    )
    CERTIFICATE_ENDS = "certificate-ends", "have the cloud's operator renew it"
    NO_NETWORK_SERVICE = (
        "no-network-service",
        "nothing, if that is so: networks and floating IPs follow other rules",
    )
    NO_VOLUMES = "no-volumes", "leave boot-from-volume out of the labels for this cloud"
    NO_FLAVORS = (
        "no-flavors",
        "have the cloud's operator make flavors public, or give the project access to some",
    )
    ONLY_DISKLESS = (
        "only-diskless",
        "set boot-from-volume: true and a volume-size in the labels for this cloud",
    )
    ZONE_DOWN = "zone-down", "leave it out of the pool's availability-zones, or ask the cloud's operator"
    NO_IPV6_ROUTE = (
        "no-ipv6-route",
        "give this machine a way to the IPv6 internet, or a network with IPv4 to the servers",
    )
    PRIVATE_ONLY = (
        "private-only",
        (
            "see that they can be reached from this machine, then set private: true; else join their network to an "
            "external one by a router, for floating IPs"
        ),
    )
    SSH_CLOSED = (
        "ssh-closed",
        (
            "let TCP port 22 in (`openstack security group rule create --dst-port 22 <group>`), or name another group "
            "in the pool's security-groups"
        ),
    )
    QUOTA_FULL = "quota-full", "delete what nobody needs, or ask the cloud's operator for a larger quota"
    CALL_REFUSED = "call-refused", "the cloud's own words say why"
    UNREADABLE = (
        "unreadable",
        "the answer is not as the API reference has it: run again with --debug, and report it",
    )
