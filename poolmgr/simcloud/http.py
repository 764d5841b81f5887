"""OpenStack's API in front of a world: which cloud, which service, what goes wrong, who answers.

    /cloud-<name>/<service>/[<version>/[<project id>/]]<path>    service: identity, compute, network, image,
    /_sim/...                                                    volume, object

The prefix is there since clients look for versions in URLs, and a cloud may be called v6.

A call is counted and its faults are drawn when it arrives; it is carried out after the cloud's latency.
Whatever waits, waits on a timer, so a call that hangs holds up nobody.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

from poolmgr.simcloud import cinder, glance, keystone, neutron, nova, swift
from poolmgr.simcloud.faults import FaultKind, Trouble
from poolmgr.simcloud.images import Digest
from poolmgr.simcloud.refusal import Refusal
from poolmgr.simcloud.routes import Call, Handler, Route, Router, json_response
from poolmgr.simcloud.state import State
from poolmgr.simcloud.wire import DROPPED, Request, Response, Sink
from poolmgr.simcloud.world import SimCloud, World

MOUNT = "cloud-"  # before a cloud's name in URLs

log = logging.getLogger(__name__)
Answer = Callable[[Response], None]


@dataclass(frozen=True, kw_only=True)
class Service:
    """One service's face. `metric` is its name in operations; `key` that of the shape's services."""

    key: str
    metric: str
    versions: tuple[str, ...]
    router: Router
    root: Handler  # GET of the URL without a version
    version: Handler  # GET of the version itself
    refuse: Callable[[Refusal], Response]


SERVICES: Mapping[str, Service] = {
    "identity": Service(
        key="identity",
        metric="identity",
        versions=("v3",),
        router=Router(keystone.ROUTES),
        root=keystone.root,
        version=keystone.version,
        refuse=keystone.refuse,
    ),
    "compute": Service(
        key="compute",
        metric="compute",
        versions=("v2.1", "v2"),
        router=Router(nova.ROUTES),
        root=nova.root,
        version=nova.version,
        refuse=nova.refuse,
    ),
    "network": Service(
        key="network",
        metric="network",
        versions=("v2.0",),
        router=Router(neutron.ROUTES),
        root=neutron.root,
        version=neutron.version,
        refuse=neutron.refuse,
    ),
    "image": Service(
        key="image",
        metric="image",
        versions=("v2",),
        router=Router(glance.ROUTES),
        root=glance.root,
        version=glance.root,
        refuse=glance.refuse,
    ),
    "volume": Service(
        key="volume",
        metric="block-storage",
        versions=("v3",),
        router=Router(cinder.ROUTES),
        root=cinder.root,
        version=cinder.root,
        refuse=nova.refuse,
    ),
    "object": Service(
        key="object-store",
        metric="object-store",
        versions=("v1",),
        router=Router(swift.ROUTES),
        root=swift.info,
        version=swift.info,
        refuse=swift.refuse,
    ),
}


@dataclass(frozen=True, kw_only=True)
class _Target:
    """A request that found its cloud, service and route."""

    cloud: SimCloud
    service: Service
    route: Route
    params: Mapping[str, str]
    base: str

    @property
    def operation(self) -> str:
        return f"{self.service.metric}.{self.route.method}.{self.route.operation}"


class SimApplication:
    """All services of all clouds of a world."""

    def __init__(self, world: World, url: str, loop: asyncio.AbstractEventLoop) -> None:
        """`url` is where clients reach it, with no slash at its end."""
        self._world, self._url, self._loop = world, url, loop
        self._state = State(world)
        self._caches: dict[str, dict[Any, Any]] = {name: {} for name in world.clouds}

    # -- from wire.Application ---------------------------------------------------------------------------

    def sink_for(self, request: Request) -> Sink | None:
        try:
            target = self._target(request)
        except Refusal:
            return None
        return Digest() if target is not None and target.route.streamed else None

    def handle(self, request: Request, answer: Answer) -> None:
        if request.path == "/_sim" or request.path.startswith("/_sim/"):
            answer(self._state.handle(request))
            return
        try:
            target = self._target(request)
        except Refusal as refusal:
            answer(self._refusal(request, refusal))
            return
        if target is None:
            answer(json_response({"error": {"code": 404, "message": "There is no such cloud."}}, 404))
            return
        call = Call(
            cloud=target.cloud,
            request=request,
            params=target.params,
            base=target.base,
            cache=self._caches[target.cloud.name],
        )
        self._begin(target, call, answer)

    # -- finding -----------------------------------------------------------------------------------------

    def _target(self, request: Request) -> _Target | None:
        """None for a cloud or service that does not exist. Raises Refusal for a path that has no route."""
        parts = request.path.split("/", 3)
        name = parts[1].removeprefix(MOUNT) if len(parts) > 2 and parts[1].startswith(MOUNT) else ""
        cloud = self._world.clouds.get(name)
        service = SERVICES.get(parts[2]) if cloud is not None else None
        if cloud is None or service is None or service.key not in cloud.shape.services:
            return None
        base = f"{self._url}/{MOUNT}{cloud.name}/{parts[2]}"
        rest = parts[3] if len(parts) > 3 else ""
        route, params = self._route(service, cloud, request.method, rest)
        return _Target(cloud=cloud, service=service, route=route, params=params, base=base)

    def _route(
        self, service: Service, cloud: SimCloud, method: str, rest: str
    ) -> tuple[Route, dict[str, str]]:
        version, _, path = rest.partition("/")
        if rest == "info" and service.key == "object-store":
            return _document(service.root, "info"), {}
        if not version:
            return _document(service.root, "discovery"), {}
        if version not in service.versions:
            raise Refusal(404, "The resource could not be found.")
        project, _, below = path.partition("/")
        if project.removeprefix("AUTH_") == cloud.identity.credentials.project_id:
            path = below
        if not path and service.key != "object-store":
            return _document(service.version, "discovery"), {}
        return service.router.find(method, path)

    def _refusal(self, request: Request, refusal: Refusal) -> Response:
        service = SERVICES.get((request.path.split("/", 3) + [""] * 3)[2])
        return service.refuse(refusal) if service else json_response({"error": refusal.message}, 404)

    # -- what goes wrong ---------------------------------------------------------------------------------

    def _begin(self, target: _Target, call: Call, answer: Answer) -> None:
        cloud = target.cloud
        with cloud.lock:
            call.trouble = trouble = cloud.call(target.operation, call.subject())
            wait = cloud.throttled()
        delay = cloud.config.latency
        if slow := trouble.of(FaultKind.SLOW):
            delay += slow.delay
        if wait:
            self._later(delay, lambda: answer(_too_many(cloud, target.service)))
        elif hang := trouble.of(FaultKind.HANG):
            self._later(hang.delay, lambda: answer(DROPPED))
        elif broken := _broken(trouble, target.service):
            self._later(delay, lambda: answer(broken))
        else:
            self._later(delay, lambda: self._finish(target, call, answer))

    def _finish(self, target: _Target, call: Call, answer: Answer) -> None:
        response = self._carry_out(target, call)
        if lost := call.trouble.of(FaultKind.LOST_ANSWER):
            self._later(lost.delay, lambda: answer(DROPPED))
        else:
            answer(response)

    def _carry_out(self, target: _Target, call: Call) -> Response:
        cloud = target.cloud
        with cloud.lock:
            cloud.timeline.settle()
            request_id = f"req-{cloud.new_id()}"
            try:
                if not target.route.open:
                    _authenticate(cloud, call)
                response = target.route.handler(call)
            except Refusal as refusal:
                response = target.service.refuse(refusal)
            except Exception:
                # A body that no client of ours sends may break a handler; that must not break the loop.
                log.exception("%s %s", call.request.method, call.request.path)
                response = target.service.refuse(Refusal(500, "Unexpected API Error."))
        response.headers["X-Openstack-Request-Id"] = request_id
        response.headers["Date"] = formatdate(cloud.timeline.time, usegmt=True)
        return response

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        if seconds > 0:
            self._loop.call_later(seconds, act)
        else:
            act()


def _document(handler: Handler, operation: str) -> Route:
    return Route(method="GET", path="", operation=operation, handler=handler, open=True)


def _authenticate(cloud: SimCloud, call: Call) -> None:
    token = call.request.headers.get("x-auth-token")
    if call.trouble.of(FaultKind.EXPIRED_TOKEN):
        cloud.identity.revoke(token)
    if not cloud.identity.valid(token):
        raise Refusal(401, "The request you have made requires authentication.", kind="Unauthorized")


def _broken(trouble: Trouble, service: Service) -> Response | None:
    """The answer that a fault puts in the place of the right one; None if none does."""
    if trouble.of(FaultKind.DROP):
        return DROPPED
    if fault := trouble.of(FaultKind.HTTP_500):
        words = "Unexpected API Error. Please report this at http://bugs.launchpad.net/nova/ and attach the "
        return service.refuse(Refusal(500, fault.message or words + "Nova API log if possible."))
    if fault := trouble.of(FaultKind.HTTP_503):
        words = "The server is currently unavailable. Please try again at a later time."
        return service.refuse(Refusal(503, fault.message or words, retry_after=fault.retry_after))
    if fault := trouble.of(FaultKind.THROTTLE):
        retry_after = 1.0 if fault.retry_after is None else fault.retry_after
        return service.refuse(_overlimit(retry_after))
    if trouble.of(FaultKind.GARBAGE):
        page = b"<html><head><title>Maintenance</title></head><body>We will be back soon.</body></html>"
        return Response(body=page, content_type="text/html")
    if fault := trouble.of(FaultKind.REFUSE):
        return service.refuse(
            Refusal(fault.status, fault.message or "Conflict", retry_after=fault.retry_after)
        )
    return None


def _overlimit(retry_after: float | None) -> Refusal:
    return Refusal(429, "This request was rate-limited.", kind="overLimit", retry_after=retry_after)


def _too_many(cloud: SimCloud, service: Service) -> Response:
    limit = cloud.config.rate_limit
    response = service.refuse(_overlimit(limit.retry_after if limit else None))
    if limit and limit.as_date and limit.retry_after is not None:
        response.headers["Retry-After"] = formatdate(cloud.timeline.time + limit.retry_after, usegmt=True)
    return response
