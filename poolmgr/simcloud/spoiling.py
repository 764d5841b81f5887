"""What faults make of answers: refusals instead of them, in the service's words or a gateway's."""

from __future__ import annotations

import json
from collections.abc import Callable
from email.utils import formatdate

from poolmgr.simcloud.faults import Fault, FaultKind, Trouble
from poolmgr.simcloud.refusal import Refusal
from poolmgr.simcloud.services import Service
from poolmgr.simcloud.settings import RateLimit
from poolmgr.simcloud.wire import DROPPED, Request, Response

_REFUSALS = (FaultKind.HTTP_500, FaultKind.HTTP_503, FaultKind.THROTTLE, FaultKind.REFUSE)
_STATUS = {FaultKind.HTTP_500: 500, FaultKind.HTTP_503: 503}


def instead(trouble: Trouble, service: Service, request: Request, now: float) -> Response | None:
    """The answer that a fault puts in the place of the right one; None if none does."""
    if trouble.of(FaultKind.DROP):
        return DROPPED
    for kind in _REFUSALS:
        if fault := trouble.of(kind):
            return _refusal(fault, service, now)
    if trouble.of(FaultKind.NO_CHUNKED) and request.chunked:
        return service.refuse(Refusal(411, "Missing Content-Length"))
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


def _refusal(fault: Fault, service: Service, now: float) -> Response:
    retry_after = fault.retry_after
    if fault.kind is FaultKind.THROTTLE and retry_after is None:
        retry_after = 1.0
    refusal = Refusal(
        _STATUS.get(fault.kind, fault.status),
        fault.words,
        kind="overLimit" if fault.kind is FaultKind.THROTTLE else fault.refusal_kind,
        retry_after=None if fault.header == "none" else retry_after,
    )
    response = (
        _ENVELOPES[fault.envelope](refusal) if fault.envelope in _ENVELOPES else service.refuse(refusal)
    )
    if refusal.retry_after is not None and fault.header == "date":
        response.headers["Retry-After"] = formatdate(now + refusal.retry_after, usegmt=True)
    return response


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
    if limit.as_date and limit.retry_after is not None:
        response.headers["Retry-After"] = formatdate(now + limit.retry_after, usegmt=True)
    return response
