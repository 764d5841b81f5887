"""The wrappings in which services put refusals and times, and how they cut lists into pages."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urlencode

from poolmgr.simcloud.refusal import Refusal, bad_request
from poolmgr.simcloud.routes import Call
from poolmgr.simcloud.wire import Response

T = TypeVar("T")


def timestamp(seconds: float | None, *, zone: str = "Z", micro: bool = False) -> str | None:
    """ISO 8601 in UTC; None of None."""
    if seconds is None:
        return None
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return text + (".000000" if micro else "") + zone


def seconds_of(text: str) -> float:
    """The epoch seconds of an ISO 8601 time; without a zone it is UTC. Raises Refusal."""
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        raise bad_request(f"Invalid input for query parameters changes-since. Value: {text}.") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def refused(refusal: Refusal, body: Mapping[str, Any]) -> Response:
    """`body` with the refusal's status, and Retry-After where it has one."""
    headers = {}
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(math.ceil(refusal.retry_after))
    return Response(status=refusal.status, body=json.dumps(body).encode(), headers=headers)


def page(
    items: Sequence[T], call: Call, *, key: str = "id", default: int | None = None, most: int | None = None
) -> tuple[Sequence[T], bool]:
    """The items after the query's `marker`, at most `limit` of them, and whether more follow.

    Raises Refusal for a marker that is not among them or a limit that is no number.
    """
    limit_text, marker = call.one("limit"), call.one("marker")
    if limit_text is not None and not limit_text.isdigit():
        raise bad_request(f"Invalid input for query parameters limit. Value: {limit_text}.")
    limit = int(limit_text) if limit_text else default
    if most is not None:
        limit = min(limit or most, most)
    start = 0
    if marker:
        ids = [getattr(item, key) for item in items]
        if marker not in ids:
            raise bad_request(f"marker [{marker}] not found")
        start = ids.index(marker) + 1
    if limit is None:
        return items[start:], False
    return items[start : start + limit], len(items) > start + limit


def next_query(call: Call, marker: str, limit: int | None = None) -> str:
    """The query of the next page: the call's own with another marker."""
    pairs = [(k, v) for k, values in call.query.items() if k not in ("marker", "limit") for v in values]
    size = call.one("limit") or (str(limit) if limit else None)
    return urlencode([*pairs, *([("limit", size)] if size else []), ("marker", marker)])
