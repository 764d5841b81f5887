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
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

from poolmgr.simcloud import spoiling
from poolmgr.simcloud.content import Digest
from poolmgr.simcloud.downloads import fetching
from poolmgr.simcloud.faults import FaultKind
from poolmgr.simcloud.refusal import Refusal
from poolmgr.simcloud.routes import MOUNT, Call, Route, Upload, json_response
from poolmgr.simcloud.services import SERVICES, Service
from poolmgr.simcloud.spool import Spool
from poolmgr.simcloud.state import State
from poolmgr.simcloud.wire import DROPPED, Request, Response, Sink
from poolmgr.simcloud.world import SimCloud, World

log = logging.getLogger(__name__)
Answer = Callable[[Response], None]


@dataclass(kw_only=True, slots=True)
class _Target:
    """A request that found its cloud, service and route. `wait`: seconds until a rate limit lets it through."""

    cloud: SimCloud
    service: Service
    route: Route
    call: Call
    wait: float = 0.0

    @property
    def operation(self) -> str:
        return f"{self.service.metric}.{self.route.method}.{self.route.operation}"


class SimApplication:
    """All services of all clouds of a world."""

    def __init__(self, world: World, url: str, loop: asyncio.AbstractEventLoop, spool: Spool) -> None:
        """`url` is where clients reach it, with no slash at its end. `spool` takes what they upload."""
        self._world, self._url, self._loop, self._spool = world, url, loop, spool
        self._state = State(world)
        for cloud in world.clouds.values():
            cloud.imports.fetch = fetching(cloud, loop, spool)
        self._caches: dict[str, dict[Any, Any]] = {name: {} for name in world.clouds}

    # -- from wire.Application ---------------------------------------------------------------------------

    def sink_for(self, request: Request) -> Sink | None:
        """An upload is judged when it begins: its token, and what will go wrong with it."""
        try:
            target = self._target(request)
        except Refusal:
            return None
        if target is None or not target.route.streamed:
            return None
        upload = Upload(Digest(self._spool.take()))
        request.sink, request.context = upload, target
        self._strike(target)
        if end := self._early_end(target):
            upload.end_early(*end)
        return upload

    def handle(self, request: Request, answer: Answer) -> None:
        if request.path == "/_sim" or request.path.startswith("/_sim/"):
            answer(self._state.handle(request))
            return
        if isinstance(request.context, _Target):  # an upload, judged when it began
            self._begin(request.context, answer)
            return
        try:
            target = self._target(request)
        except Refusal as refusal:
            answer(self._refusal(request, refusal))
            return
        if target is None:
            answer(json_response({"error": {"code": 404, "message": "There is no such cloud."}}, 404))
            return
        self._strike(target)
        self._begin(target, answer)

    # -- finding -----------------------------------------------------------------------------------------

    def _target(self, request: Request) -> _Target | None:
        """None for a cloud or service that does not exist. Raises Refusal for a path that has no route."""
        parts = request.path.split("/", 3)
        name = parts[1].removeprefix(MOUNT) if len(parts) > 2 and parts[1].startswith(MOUNT) else ""
        cloud = self._world.clouds.get(name)
        service = SERVICES.get(parts[2]) if cloud is not None else None
        if cloud is None or service is None or service.key not in cloud.shape.services:
            return None
        route, params = service.find(cloud, request.method, parts[3] if len(parts) > 3 else "")
        call = Call(
            cloud=cloud,
            request=request,
            params=params,
            base=f"{self._reached_as(request)}/{MOUNT}{cloud.name}/{parts[2]}",
            cache=self._caches[cloud.name],
        )
        return _Target(cloud=cloud, service=service, route=route, call=call)

    def _reached_as(self, request: Request) -> str:
        """Links lead to where the caller came from, so that they go through what stands in between, a proxy say."""
        host = request.headers.get("host")
        return f"{self._url.partition('://')[0]}://{host}" if host else self._url

    def _refusal(self, request: Request, refusal: Refusal) -> Response:
        service = SERVICES.get((request.path.split("/", 3) + [""] * 3)[2])
        return service.refuse(refusal) if service else json_response({"error": refusal.message}, 404)

    # -- what goes wrong ---------------------------------------------------------------------------------

    def _strike(self, target: _Target) -> None:
        """The call arrives: it is counted, and its faults are drawn."""
        cloud, call = target.cloud, target.call
        with cloud.lock:
            call.trouble = cloud.call(target.operation, call.subject(), call.detail())
            target.wait = cloud.throttled()

    def _early_end(self, target: _Target) -> tuple[Response, int] | None:
        """The answer that ends an upload, and after how many bytes; None if it is taken in whole."""
        cloud, call = target.cloud, target.call
        expired = call.trouble.of(FaultKind.EXPIRED_TOKEN)
        try:
            with cloud.lock:
                if not target.route.open:
                    _authenticate(cloud, call)
        except Refusal as refusal:
            return target.service.refuse(refusal), (expired and expired.after_bytes) or 0
        return spoiling.early(call.trouble, target.service, call.request, cloud.timeline.time)

    def _begin(self, target: _Target, answer: Answer) -> None:
        cloud, call, service = target.cloud, target.call, target.service
        trouble, now = call.trouble, cloud.timeline.time
        delay = cloud.config.latency
        if slow := trouble.of(FaultKind.SLOW):
            delay += slow.delay
        if target.wait and (limit := cloud.config.rate_limit):
            response = spoiling.throttled(limit, service, now)
            self._later(delay, lambda: answer(response))
        elif hang := trouble.of(FaultKind.HANG):
            self._later(hang.delay, lambda: answer(DROPPED))
        elif broken := spoiling.instead(trouble, service, call.request, now):
            self._later(delay, lambda: answer(broken))
        else:
            self._later(delay, lambda: self._finish(target, answer))

    def _finish(self, target: _Target, answer: Answer) -> None:
        response = self._carry_out(target)
        if lost := target.call.trouble.of(FaultKind.LOST_ANSWER):
            self._later(lost.delay, lambda: answer(DROPPED))
        else:
            answer(response)

    def _carry_out(self, target: _Target) -> Response:
        cloud, call = target.cloud, target.call
        with cloud.lock:
            cloud.timeline.settle()
            request_id = f"req-{cloud.new_id()}"
            try:
                if not target.route.open or call.trouble.of(FaultKind.GUARDED):
                    _authenticate(cloud, call)
                response = target.route.handler(call)
            except Refusal as refusal:
                response = target.service.refuse(refusal)
            except Exception:
                # A body that no client of ours sends may break a handler; that must not break the loop.
                log.exception("%s %s", call.request.method, call.request.path)
                response = target.service.refuse(Refusal(500, "Unexpected API Error."))
        response.headers["X-Openstack-Request-Id"] = request_id
        now = cloud.timeline.time
        response.headers["Date"] = formatdate(now, usegmt=True)
        return spoiling.spoiled(response, call, now) if call.trouble.faults else response

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        if seconds > 0:
            self._loop.call_later(seconds, act)
        else:
            act()


def _authenticate(cloud: SimCloud, call: Call) -> None:
    token = call.request.headers.get("x-auth-token")
    if call.trouble.of(FaultKind.EXPIRED_TOKEN):
        cloud.identity.revoke(token)
    if not cloud.identity.valid(token):
        raise Refusal(401, "The request you have made requires authentication.", kind="Unauthorized")
