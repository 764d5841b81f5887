"""Lists that come in pages (cloud.md 3.3): follow to the end, or say that the end was not reached.

Of a link to the next page only the query is used, on our own URL: links often name a host behind a proxy, and
following one to a foreign host would hand out the token.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from poolmgr.cloud.openstack.session import Answer
from poolmgr.cloud.openstack.timestamps import epoch_of_http_date
from poolmgr.errors import AuthFailed, CloudError, CloudUnavailable
from poolmgr.model.trouble import Trouble

Query = Mapping[str, str | list[str]]

_LINK_HEADER = re.compile(r'<([^>]*)>\s*;[^,]*\brel="?next"?', re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pages:
    """The JSON objects of all pages in order; `complete` False: a page failed or the pages went in circles.

    `answered_at` is when the first page was answered, in epoch seconds by the service's clock; None: it did not say.
    """

    items: list[dict[str, Any]]
    complete: bool
    problem: str = ""  # why it is not
    answered_at: float | None = None


def read_pages(fetch: Callable[[Query], Answer], collection: str, query: Query) -> Pages:
    """All items below the key `collection`. Raises what `fetch` raises for the first page."""
    items: list[dict[str, Any]] = []
    seen: list[Query] = []
    answered_at: float | None = None
    now: Query | None = query
    while now is not None:
        seen.append(now)
        try:
            answer = fetch(now)
            document = answer.json()
            if collection not in document:
                message = f"{answer.call}: {answer.status} without {collection}"
                raise Trouble.WRONG_ENDPOINT.error(CloudUnavailable, message)
        except AuthFailed:
            raise
        except CloudError as error:
            if len(seen) == 1:
                raise
            return Pages(items=items, complete=False, problem=str(error), answered_at=answered_at)
        if len(seen) == 1:
            answered_at = epoch_of_http_date(answer.headers.get("date", ""))
        items.extend(document.get(collection) or ())
        now = next_query(document, collection, answer.headers)
        if now in seen:
            problem = f"{answer.call}: page {len(seen)} links back to an earlier page"
            return Pages(items=items, complete=False, problem=problem, answered_at=answered_at)
    return Pages(items=items, complete=True, answered_at=answered_at)


def next_query(document: Mapping[str, Any], collection: str, headers: Mapping[str, str]) -> Query | None:
    """The query of the link to the next page, None on the last one.

    Nova, cinder and neutron have `<collection>_links`, glance has `next`, some gateways a Link header.
    """
    for link in document.get(f"{collection}_links") or ():
        if link.get("rel") == "next":
            return parse_qs(urlsplit(str(link.get("href"))).query)
    if isinstance(document.get("next"), str):
        return parse_qs(urlsplit(document["next"]).query)
    header = _LINK_HEADER.search(headers.get("link", ""))
    return parse_qs(urlsplit(header[1]).query) if header else None
