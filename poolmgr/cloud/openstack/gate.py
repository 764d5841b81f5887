"""The one place through which every HTTP request to a cloud leaves, those of keystoneauth's plugins included.

Here a request waits for the limiter, gets its timeouts, is measured and counted, and is kept from following a
redirect to another host or out of TLS. A refusal of one call too many pauses its service for all callers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter

from poolmgr.cloud.openstack.calls import CallCounter, ServiceMap, call_name
from poolmgr.cloud.openstack.errors import retry_after
from poolmgr.cloud.openstack.limiter import RateLimiter
from poolmgr.errors import Rejected
from poolmgr.model.trouble import Trouble
from poolmgr.observe.api_name import ApiCall
from poolmgr.runtime.clock import Clock

Timeouts = tuple[float, float]  # seconds: to connect, to wait for (more of) an answer

TOO_MANY = 429
TOO_LARGE = 413  # older services say so instead of 429
REDIRECTS = (301, 302, 303, 305, 307, 308)


class Gate(HTTPAdapter):
    """A requests transport for one provider. `on_call` is told of each request after it ended."""

    def __init__(
        self,
        *,
        services: ServiceMap,
        limiter: RateLimiter,
        clock: Clock,
        timeouts: Timeouts,
        pool_size: int,
        concurrency: Mapping[str, int],
        on_call: Callable[[ApiCall], None] | None,
        counter: CallCounter | None = None,
    ) -> None:
        """`counter` None: one of its own. Gates of one provider share the limiter and count together."""
        super().__init__(pool_connections=8, pool_maxsize=pool_size, max_retries=0)
        self.counter = counter or CallCounter()
        self._services = services
        self._limiter = limiter
        self._clock = clock
        self.timeouts = timeouts
        self._on_call = on_call
        self._slots = {name: threading.BoundedSemaphore(size) for name, size in concurrency.items()}

    def send(  # type: ignore[override]  # requests' own signature has six positional arguments
        self, request: requests.PreparedRequest, stream: bool = False, timeout: Any = None, **more: Any
    ) -> requests.Response:
        """As HTTPAdapter.send, with the body read already unless `stream`."""
        service, path = self._services.locate(request.url or "")
        if not isinstance(timeout, tuple):  # keystoneauth knows only one number for both
            timeout = self.timeouts
        with self._slot(service):
            self._limiter.acquire(service)
            response = self._timed(service, path, request, stream, timeout, more)
        self._heed(service, response)
        refuse_strange_redirect(request.url or "", response)
        return response

    def _timed(
        self,
        service: str,
        path: str,
        request: requests.PreparedRequest,
        stream: bool,
        timeout: Timeouts,
        more: Mapping[str, Any],
    ) -> requests.Response:
        began = self._clock.monotonic()
        status: int | None = None
        try:
            response = super().send(request, stream=stream, timeout=timeout, **more)
            if not stream:
                _ = response.content  # read here, so that a body that breaks off counts as no answer
            status = response.status_code
            return response
        finally:
            self._report(
                ApiCall(
                    service=service,
                    method=request.method or "GET",
                    name=call_name(service, path),
                    status=status,
                    seconds=self._clock.monotonic() - began,
                )
            )

    def _report(self, call: ApiCall) -> None:
        self.counter.add(call)
        if self._on_call is not None:
            self._on_call(call)

    def _heed(self, service: str, response: requests.Response) -> None:
        """Let the limiter learn from the answer."""
        wait = retry_after(response.headers, self._clock.time())
        too_many = response.status_code == TOO_MANY or (response.status_code == TOO_LARGE and wait)
        if too_many and service != "image":  # an image service's 413 is about a size
            self._limiter.pause(service, wait)
        elif response.status_code < 500:
            self._limiter.answered(service)

    def _slot(self, service: str) -> AbstractContextManager[Any]:
        return self._slots.get(service) or nullcontext()


def refuse_strange_redirect(url: str, response: requests.Response) -> None:
    """Raises Rejected when `response` sends us, and with us the token, to another host or out of TLS."""
    target = response.headers.get("location")
    if response.status_code not in REDIRECTS or not target:
        return
    here, there = urlsplit(url), urlsplit(urljoin(url, target))
    if there.hostname != here.hostname or (here.scheme == "https" and there.scheme != "https"):
        message = f"it redirects to {there.scheme}://{there.netloc}, which was not followed"
        raise Trouble.STRANGE_REDIRECT.error(Rejected, message)
