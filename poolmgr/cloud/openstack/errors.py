"""A refused HTTP call as one of our errors: pure, and a table.

`failure_of` reads the several shapes in which OpenStack services report an error; `RULES` says, first match
wins, which leaf of `poolmgr.errors` it is (cloud.md 3.18). Where a rule's message pattern comes from: the
public API references, and answers recorded from Nova, Neutron and Keystone of the Zed release.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from poolmgr.cloud.openstack.timestamps import epoch_of_http_date
from poolmgr.errors import (
    AuthFailed,
    CloudError,
    CloudUnavailable,
    ConfigError,
    ImageGone,
    NoCapacity,
    NotFound,
    OutcomeUnknown,
    OverQuota,
    Rejected,
    Throttled,
)
from poolmgr.model.trouble import Trouble

MESSAGE_LIMIT = 500  # characters of a cloud's message that we repeat


class StaleName(Rejected):
    """The call names a flavor, zone, key, network or group the cloud does not know (any more)."""


class WrongEndpoint(Rejected):
    """The service does not speak the version we ask for."""


class NoSuchApi(NotFound):
    """The service is there, but not this part of its API."""


class AlreadyBound(Rejected):
    """The port has a floating IP already."""


class Forbidden(AuthFailed):
    """The login is good, but a policy of the cloud does not let it do this."""


@dataclass(frozen=True, slots=True)
class Call:
    """What was asked; its text opens every message about it."""

    cloud: str
    service: str
    method: str
    url: str
    about: str = ""  # what the body asks for, where the URL does not say and answers leave it out

    def __str__(self) -> str:
        parts = urlsplit(self.url)
        host = parts.netloc.rpartition("@")[2]
        about = f" ({self.about})" if self.about else ""
        return f"cloud {self.cloud}: {self.service}: {self.method} {parts.path} at {host}{about}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """What a refused call said. `kind` is the service's word for the error, "" where it has none."""

    call: Call
    status: int
    kind: str = ""
    message: str = ""
    request_id: str | None = None
    retry_after: float | None = None  # seconds; None where the answer did not say

    def __str__(self) -> str:
        word = f" {self.kind}" if self.kind else ""
        message = self.message[:MESSAGE_LIMIT] or "no message"
        ident = f" ({self.request_id})" if self.request_id else ""
        return f"{self.call}: {self.status}{word}: {message}{ident}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One row: which answers, and what they are. An absent condition holds always."""

    leaf: type[CloudError]
    trouble: Trouble | None = None  # None: the cloud's own words say enough
    statuses: frozenset[int] | None = None
    services: frozenset[str] | None = None
    methods: frozenset[str] | None = None
    text: re.Pattern[str] | None = None  # searched in kind and message
    waits: bool | None = None  # whether the answer asks for a wait longer than 0

    def matches(self, failure: Failure) -> bool:
        return (
            (self.statuses is None or failure.status in self.statuses)
            and (self.services is None or failure.call.service in self.services)
            and (self.methods is None or failure.call.method in self.methods)
            and (self.waits is None or bool(failure.retry_after) is self.waits)
            and (self.text is None or self.text.search(f"{failure.kind} {failure.message}") is not None)
        )


def _rule(
    leaf: type[CloudError],
    *statuses: int,
    trouble: Trouble | None = None,
    text: str | None = None,
    **more: Any,
) -> Rule:
    pattern = re.compile(text, re.IGNORECASE | re.DOTALL) if text else None
    return Rule(leaf=leaf, trouble=trouble, statuses=frozenset(statuses) or None, text=pattern, **more)


_IDENTITY = frozenset({"identity"})
_POST = frozenset({"POST"})
_IMAGE = frozenset({"image"})
_LIMITED = frozenset({"compute", "block-storage", "network"})  # 413 from the others is a size

RULES: tuple[Rule, ...] = (
    _rule(AuthFailed, 401, services=_IDENTITY, trouble=Trouble.LOGIN_REFUSED),
    _rule(AuthFailed, 401, trouble=Trouble.TOKEN_REFUSED),
    _rule(
        AuthFailed,
        400,
        403,
        404,
        services=_IDENTITY,
        text=r"could not find|find domain",
        trouble=Trouble.LOGIN_REFUSED,
    ),
    _rule(AuthFailed, 403, services=_IDENTITY, trouble=Trouble.LOGIN_FORBIDDEN),
    _rule(AuthFailed, 400, text=r"plain http", services=_IDENTITY, trouble=Trouble.TLS_WANTED),
    _rule(AuthFailed, 404, 405, 410, services=_IDENTITY, trouble=Trouble.WRONG_AUTH_URL),
    _rule(Rejected, 400, text=r"plain http", trouble=Trouble.TLS_WANTED),
    _rule(Throttled, 429),
    _rule(Throttled, 413, services=_LIMITED, waits=True),
    _rule(CloudUnavailable, 413, services=_IMAGE, text=r"storage media is full"),
    _rule(
        OverQuota,
        413,
        services=_IMAGE,
        text=r"exceeds the storage quota|will exceed the limit|is over a? ?limit",
        trouble=Trouble.IMAGE_QUOTA,
    ),
    _rule(
        OverQuota,
        *(403, 409, 413),
        text=r"quota exceeded|exceeds? quota|OverQuota|allocation over quota"
        r"|maximum number of (ports|instances|volumes|metadata|floating ?ips)",
    ),
    _rule(OverQuota, 413, services=_LIMITED),  # old nova: quota, with a Retry-After of 0
    _rule(
        NoCapacity,
        *(400, 404, 409, 500, 503),
        text=r"ExternalIpAddressExhausted|IpAddressGenerationFailure|no more (ip addresses|floating ips)"
        r"|no valid host was found|insufficient compute resources|exceeded maximum number of retries",
    ),
    _rule(
        ImageGone,
        *(400, 404),
        services=frozenset(
            {"compute", "block-storage"}
        ),  # to the image service itself it is a plain NotFound
        trouble=Trouble.IMAGE_GONE,
        text=r"can not find requested image|image \S+ (could not be found|is unacceptable|is not active)"
        r"|no image found with id|invalid image identifier",
    ),
    _rule(AlreadyBound, 409, text=r"FloatingIPPortAlreadyAssociated|already has a floating ip"),
    _rule(
        StaleName,
        *(400, 404),
        trouble=Trouble.NAME_UNKNOWN,
        methods=_POST,
        text=r"invalid key_name|availability zone is not available|flavor\S* .*could not be found"
        r"|network \S+ could not be found|security group \S+ (not found|does not exist)"
        r"|unable to find security_?group|keypair .*not found|floating ip pool .*not found",
    ),
    _rule(Rejected, 404, text=r"not reachable from subnet|ExternalGatewayForFloatingIPNotFound"),
    _rule(Rejected, 403, text=r"external network"),
    _rule(Rejected, 403, text=r":create:"),  # policy of one option of the call, not of the login
    _rule(
        Forbidden,
        403,
        trouble=Trouble.NO_ROLE,
        text=r"policy doesn.?t allow|disallowed by policy|not authorized|access was denied|^\s*$",
    ),
    _rule(CloudUnavailable, 409, text=r"(try|retry) again|please retry"),
    _rule(WrongEndpoint, 406, trouble=Trouble.VERSION_REFUSED),
    _rule(WrongEndpoint, 405, trouble=Trouble.WRONG_ENDPOINT),
    _rule(NoSuchApi, 404, text=r"^\S*\s*the resource could not be found"),
    _rule(NotFound, 404),
    _rule(NotFound, 410),
    _rule(Rejected, 413, services=_IMAGE, trouble=Trouble.IMAGE_TOO_LARGE),
    _rule(Rejected, 501, 505),
    _rule(OutcomeUnknown, 408, *range(500, 600), methods=_POST),
    _rule(CloudUnavailable, 408, *range(500, 600), trouble=Trouble.SERVICE_FAILS),
    _rule(Rejected),
)


def error_of(failure: Failure, *, repeatable: bool) -> CloudError:
    """The error to raise for `failure`. `repeatable`: doing the call twice does no harm, though it is a POST."""
    rule = next(rule for rule in RULES if rule.matches(failure))
    leaf = CloudUnavailable if rule.leaf is OutcomeUnknown and repeatable else rule.leaf
    more: dict[str, Any] = {"request_id": failure.request_id}
    if leaf is Throttled:
        more["retry_after"] = failure.retry_after
    if rule.trouble is None:
        return leaf(str(failure), **more)
    return rule.trouble.error(leaf, str(failure), **more)


@contextmanager
def in_name_of(cloud: str) -> Iterator[None]:
    """Errors of pure functions, which know no cloud, pass with its name before their text."""
    try:
        yield
    except (CloudError, ConfigError) as error:
        if not str(error).startswith("cloud "):
            error.args = (f"cloud {cloud}: {error}",)
            error.message = f"cloud {cloud}: {error.message}"
        raise


def failure_of(call: Call, status: int, headers: Mapping[str, str], body: bytes, now: float) -> Failure:
    """What an answer with `status` says. `now` is epoch seconds, to read a Retry-After that is a date."""
    kind, message, wait = _reading(body)
    after = retry_after(headers, now)
    return Failure(
        call=call,
        status=status,
        kind=kind,
        message=message,
        request_id=headers.get("x-openstack-request-id") or headers.get("x-compute-request-id"),
        retry_after=wait if after is None else after,
    )


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """The seconds that a Retry-After header asks to wait, which may be a number or an HTTP date; else None."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    until = epoch_of_http_date(text)
    return None if until is None else max(0.0, until - now)


def _reading(body: bytes) -> tuple[str, str, float | None]:
    """(kind, message, seconds to wait) in an error body, whatever its shape."""
    text = body[:100_000].decode("utf-8", "replace")
    try:
        document = json.loads(text)
    except ValueError:
        return "", _page_text(text), None
    if not isinstance(document, dict):
        return "", _page_text(text), None
    for name, value in document.items():
        if isinstance(value, dict) and isinstance(value.get("message"), str):
            return _kind(name, value), _without_tags(value["message"]), _seconds(value)
        if name == "NeutronError" and isinstance(value, str):
            return "", value, None
    for name in ("message", "faultstring", "description"):
        if isinstance(document.get(name), str):
            return "", _without_tags(document[name]), None
    return "", _page_text(text), None


def _kind(name: str, value: Mapping[str, Any]) -> str:
    """Nova names the object (`badRequest`); neutron puts a `type` in it; keystone a `title`."""
    if name in ("NeutronError", "error"):
        return str(value.get("type") or value.get("title") or "")
    return name


def _seconds(value: Mapping[str, Any]) -> float | None:
    try:
        return max(0.0, float(value["retryAfter"]))
    except (KeyError, TypeError, ValueError):
        return None


def plain_text(text: str) -> str:
    """The title of an HTML page, else the text on one line."""
    title = re.search(r"<title>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    return " ".join((title.group(1) if title else text).split())


def _page_text(text: str) -> str:
    """As `plain_text`, and what a short page says below its title: older Glance has its words there."""
    title = plain_text(text)
    below = re.search(r"<body[^>]*>(.*)</body>", text, re.IGNORECASE | re.DOTALL)
    words = " ".join(re.sub(r"<[^>]*>", " ", below.group(1)).split()) if below else ""
    words = words.removeprefix(title).strip()
    return f"{title}: {words}" if words and len(words) <= MESSAGE_LIMIT else title


def _without_tags(message: str) -> str:
    """`message` on one line. Glance ends its JSON messages with `<br /><br />` (seen on Glance Zed)."""
    return " ".join(re.sub(r"<br */?>", " ", message).split())
