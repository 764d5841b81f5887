"""What faults make of answers: refusals instead of them, in the service's words or a gateway's, or other contents."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from email.utils import formatdate
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from poolmgr.simcloud.faults import Fault, FaultKind, Trouble
from poolmgr.simcloud.refusal import Refusal
from poolmgr.simcloud.routes import Call
from poolmgr.simcloud.services import Service
from poolmgr.simcloud.settings import RateLimit
from poolmgr.simcloud.wire import DROPPED, Request, Response

_REFUSALS = (
    FaultKind.HTTP_500,
    FaultKind.HTTP_503,
    FaultKind.THROTTLE,
    FaultKind.POLICY,
    FaultKind.REFUSE,
)
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_STATUS = {FaultKind.HTTP_500: 500, FaultKind.HTTP_503: 503}


def instead(trouble: Trouble, service: Service, request: Request, now: float) -> Response | None:
    """The answer that a fault puts in the place of the right one; None if none does."""
    if trouble.of(FaultKind.DROP):
        return DROPPED
    for kind in _REFUSALS:
        if fault := trouble.of(kind):
            return _refusal(fault, service, request, now)
    if trouble.of(FaultKind.NO_CHUNKED) and request.chunked:
        return service.refuse(Refusal(411, "Missing Content-Length"))
    if trouble.of(FaultKind.MISSING):
        return service.refuse(Refusal(404, "The resource could not be found."))
    if fault := trouble.of(FaultKind.REDIRECT):
        whole = "://" in fault.words and fault.words.count("/") > 2
        location = fault.words if whole else f"{fault.words}{request.path}"
        return Response(status=fault.status, headers={"Location": location})
    if fault := trouble.of(FaultKind.GARBAGE):
        page = b"<html><head><title>Maintenance</title></head><body>We will be back soon.</body></html>"
        return Response(status=fault.status, body=page, content_type="text/html")
    return None


def early(trouble: Trouble, service: Service, request: Request, now: float) -> tuple[Response, int] | None:
    """What ends an upload before its body is complete, and after how many bytes; None if nothing does."""
    for kind, fault in trouble.faults.items():
        if fault.after_bytes is None:
            continue
        if kind is FaultKind.HANG:
            return Response(dropped=True, seconds=fault.delay), fault.after_bytes
        answer = instead(Trouble(faults={kind: fault}), service, request, now)
        if answer is not None:
            return answer, fault.after_bytes
    return None


def _refusal(fault: Fault, service: Service, request: Request, now: float) -> Response:
    retry_after = fault.retry_after
    if fault.kind is FaultKind.THROTTLE and retry_after is None:
        retry_after = 1.0
    refusal = Refusal(
        _STATUS.get(fault.kind, fault.status),
        fault.words.replace("{id}", next(iter(_ID.findall(request.path)), "")),
        kind="overLimit" if fault.kind is FaultKind.THROTTLE else fault.refusal_kind,
        retry_after=None if fault.header == "none" else retry_after,
    )
    response = (
        _ENVELOPES[fault.envelope](refusal) if fault.envelope in _ENVELOPES else service.refuse(refusal)
    )
    if refusal.retry_after is not None:
        response.headers["Retry-After"] = _when(refusal.retry_after, now, as_date=fault.header == "date")
    return response


def _when(retry_after: float, now: float, *, as_date: bool) -> str:
    return formatdate(now + retry_after, usegmt=True) if as_date else str(math.ceil(retry_after))


def _gateway(refusal: Refusal) -> Response:
    """As of an API gateway in front of a public cloud: another shape, and the status as text."""
    error = {"class": "Client::TooManyRequests", "message": refusal.message, "status": str(refusal.status)}
    return Response(status=refusal.status, body=json.dumps({"error": error}).encode())


def _faultstring(refusal: Refusal) -> Response:
    body = {"debuginfo": None, "faultcode": "Client", "faultstring": refusal.message}
    return Response(status=refusal.status, body=json.dumps(body).encode())


def _html(refusal: Refusal) -> Response:
    page = f"<html><head><title>{refusal.status} {refusal.message}</title></head><body></body></html>"
    return Response(status=refusal.status, body=page.encode(), content_type="text/html")


def _text(refusal: Refusal) -> Response:
    return Response(status=refusal.status, body=refusal.message.encode(), content_type="text/plain")


_ENVELOPES: dict[str, Callable[[Refusal], Response]] = {
    "gateway": _gateway,
    "faultstring": _faultstring,
    "html": _html,
    "text": _text,
}


def throttled(limit: RateLimit, service: Service, now: float) -> Response:
    """The answer to a call that the cloud's own rate limit stops."""
    words = "This request was rate-limited."
    response = service.refuse(Refusal(429, words, kind="overLimit", retry_after=limit.retry_after))
    if limit.retry_after is not None:
        response.headers["Retry-After"] = _when(limit.retry_after, now, as_date=limit.as_date)
    return response


# -- other contents --------------------------------------------------------------------------------------


def spoiled(response: Response, call: Call, now: float) -> Response:
    """The right answer, but for what the call's faults make of it."""
    trouble = call.trouble
    if fault := trouble.of(FaultKind.WRONG_DATE):
        response.headers["Date"] = formatdate(now + fault.delay, usegmt=True)
    if trouble.of(FaultKind.CUT):
        response.cut = True
    if not 200 <= response.status <= 300 or response.content_type != "application/json":
        return response
    if fault := trouble.of(FaultKind.WRONG_LINKS):
        response.body = response.body.replace(_origin(call).encode(), fault.words.encode())
    if fault := trouble.of(FaultKind.MULTIPLE_CHOICES):
        response.status = fault.status
    if trouble.of(FaultKind.ODD_VERSIONS):
        _add_odd_versions(response)
    if any(trouble.of(kind) for kind in _OF_PAGES):
        _change_next(response, call)
    return response


_OF_PAGES = (FaultKind.FOREIGN_NEXT, FaultKind.REPEATED_PAGE, FaultKind.LINK_HEADER)


def _origin(call: Call) -> str:
    """Scheme, host and port of the service."""
    parts = urlsplit(call.base)
    return f"{parts.scheme}://{parts.netloc}"


def _add_odd_versions(response: Response) -> None:
    body = json.loads(response.body)
    versions = body.get("versions") if isinstance(body, dict) else None
    rows = versions.get("values") if isinstance(versions, dict) else versions
    if isinstance(rows, list) and rows:
        whole = rows[0]
        experimental = {**whole, "id": "v99.0", "status": "EXPERIMENTAL"}
        odd = [{k: v for k, v in whole.items() if k != lost} for lost in ("id", "status", "links")]
        rows[:0] = [experimental, {}, *odd]
        response.body = json.dumps(body).encode()


def _change_next(response: Response, call: Call) -> None:
    """Find the link to the next page in the body, and do to it what the faults say."""
    body = json.loads(response.body)
    if not isinstance(body, dict):
        return
    key = next((k for k in body if k == "next" or k.endswith("_links")), None)
    if key is None:
        return
    href = body[key] if key == "next" else body[key][0]["href"]
    if call.trouble.of(FaultKind.REPEATED_PAGE) and (marker := call.one("marker")):
        parts = urlsplit(href)
        pairs = [(k, marker if k == "marker" else v) for k, v in parse_qsl(parts.query)]
        href = urlunsplit(parts._replace(query=urlencode(pairs)))
    if foreign := call.trouble.of(FaultKind.FOREIGN_NEXT):
        href = foreign.words + href.removeprefix(_origin(call))
    if call.trouble.of(FaultKind.LINK_HEADER):
        del body[key]
        response.headers["Link"] = f'<{href}>; rel="next"'
    else:
        body[key] = href if key == "next" else [{"rel": "next", "href": href}]
    response.body = json.dumps(body).encode()
