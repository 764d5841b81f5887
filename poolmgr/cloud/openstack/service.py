"""One service of a cloud, called by path: endpoint, microversion and retries in one place.

Reads and calls that name what they act on are repeated when they fail (retry.py); a POST is sent once, and so is the
body of an upload: whoever sends one has to begin it anew.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from poolmgr.cloud.openstack.discovery import Discovery, Endpoint
from poolmgr.cloud.openstack.errors import Failure, Forbidden, WrongEndpoint
from poolmgr.cloud.openstack.gate import Timeouts
from poolmgr.cloud.openstack.paging import Pages, read_pages
from poolmgr.cloud.openstack.retry import Retrier
from poolmgr.cloud.openstack.session import Answer, Session
from poolmgr.cloud.openstack.upload_body import Body
from poolmgr.errors import CloudUnavailable, NotFound
from poolmgr.model.trouble import Trouble

log = logging.getLogger(__name__)

Query = Mapping[str, str | list[str]]
Headers = Mapping[str, str]


class Service:
    """Calls to `name` ("compute", ...). Every method raises what `Session.send` does.

    `microversions` False: they go without one, for APIs that newer ones do not have any more.
    """

    def __init__(
        self,
        name: str,
        session: Session,
        discovery: Discovery,
        retrier: Retrier,
        *,
        microversions: bool = True,
    ) -> None:
        self.name = name
        self._microversions = microversions
        self._session = session
        self._discovery = discovery
        self._retrier = retrier

    @property
    def cloud(self) -> str:
        """Its name in clouds.yaml."""
        return self._session.cloud

    def endpoint(self) -> Endpoint | None:
        """Where the service is; None when the cloud has none."""
        return self._discovery.find(self.name)

    def need(self) -> Endpoint:
        """The same; Raises ConfigError, which says why there is none."""
        return self._discovery.need(self.name)

    def get(self, path: str, query: Query | None = None, *, timeouts: Timeouts | None = None) -> Answer:
        return self._repeated("GET", _with_query(path, query), timeouts=timeouts)

    def told(self, path: str) -> dict[str, Any] | None:
        """The document there; None where the cloud has no such thing, or does not show it to us."""
        try:
            document: dict[str, Any] = self.get(path).json()
        except (Forbidden, NotFound) as error:
            log.debug("the cloud does not tell: %s", error)
            return None
        return document

    def head(self, path: str) -> Answer:
        return self._repeated("HEAD", path)

    def delete(self, path: str, query: Query | None = None) -> Answer:
        return self._repeated("DELETE", _with_query(path, query))

    def put(
        self,
        path: str,
        body: Any = None,
        *,
        query: Query | None = None,
        headers: Headers | None = None,
        timeouts: Timeouts | None = None,
    ) -> Answer:
        """Done twice, it has the effect of once."""
        return self._repeated("PUT", _with_query(path, query), body, headers=headers, timeouts=timeouts)

    def patch(self, path: str, body: Any, *, headers: Headers) -> Answer:
        """For patches that may be done twice."""
        return self._repeated("PATCH", path, body, headers=headers)

    def post(self, path: str, body: Any, *, headers: Headers | None = None, about: str = "") -> Answer:
        """Sent once; `about` says in messages what for. OutcomeUnknown: it may have had its effect."""
        return self._send("POST", path, body, extra=headers, about=about)

    def ask(self, path: str, body: Any, *, timeouts: Timeouts | None = None) -> Answer:
        """A POST that only asks something (nova's actions): sent once, no harm if done twice."""
        return self._send("POST", path, body, timeouts=timeouts, repeatable=True)

    def stream(self, method: str, path: str, body: Body, *, headers: Headers) -> Answer | Failure:
        """See `Session.stream`."""
        endpoint = self._discovery.need(self.name)
        return self._session.stream(self.name, method, endpoint.url + path, body, headers=headers)

    def whole(self, path: str, collection: str, query: Query | None = None) -> list[dict[str, Any]]:
        """A list of which a part is of no use. Raises CloudUnavailable if a page is missing."""
        pages = self.pages(path, collection, query)
        if not pages.complete:
            raise self.cut_short(collection, len(pages.items), pages.problem)
        return pages.items

    def cut_short(self, collection: str, read: int, problem: str) -> CloudUnavailable:
        """Of a list only the first items could be read."""
        message = (
            f"cloud {self.cloud}: {self.name}: the list of {collection} breaks off after {read}: {problem}"
        )
        return Trouble.LIST_CUT_SHORT.error(CloudUnavailable, message)

    def list(self, path: str, collection: str, query: Query | None = None) -> Pages:
        """All pages of a list. The first page raises; a later one that fails makes it incomplete."""
        pages = self.pages(path, collection, query)
        if not pages.complete:
            log.warning(
                "the list of %s is incomplete after %d: %s", collection, len(pages.items), pages.problem
            )
        return pages

    def pages(self, path: str, collection: str, query: Query | None) -> Pages:
        """As `list`, for whoever tells what is missing."""
        try:
            return read_pages(lambda more: self.get(path, more), collection, query or {})
        except NotFound as error:  # a list always exists where a service is
            self._discovery.forget(self.name)
            again = Trouble.WRONG_ENDPOINT.error(type(error), error.message, request_id=error.request_id)
            raise again from error

    def _repeated(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Headers | None = None,
        timeouts: Timeouts | None = None,
    ) -> Answer:
        return self._retrier.run(lambda: self._send(method, path, body, extra=headers, timeouts=timeouts))

    def _send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        extra: Headers | None = None,
        timeouts: Timeouts | None = None,
        repeatable: bool = False,
        about: str = "",
    ) -> Answer:
        endpoint = self._discovery.need(self.name)
        headers = dict(extra or {})
        if (
            endpoint.microversion and self._microversions
        ):  # the second name is the one that releases before 2016 know
            headers["OpenStack-API-Version"] = f"{self.name} {endpoint.microversion}"
            headers["X-OpenStack-Nova-API-Version"] = endpoint.microversion
        try:
            return self._session.send(
                self.name,
                method,
                endpoint.url + path,
                headers=headers,
                body=body,
                timeouts=timeouts,
                repeatable=repeatable,
                about=about,
            )
        except WrongEndpoint:
            self._discovery.forget(self.name)
            raise


def _with_query(path: str, query: Query | None) -> str:
    return f"{path}?{urlencode(query, doseq=True)}" if query else path
