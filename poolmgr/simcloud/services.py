"""The services of a pretend cloud: which there are, which versions they have, who answers for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from poolmgr.simcloud import cinder, glance, glance_v1, keystone, neutron, nova, swift
from poolmgr.simcloud.refusal import Refusal
from poolmgr.simcloud.routes import Handler, Route, Router
from poolmgr.simcloud.wire import Response
from poolmgr.simcloud.world import SimCloud


@dataclass(frozen=True, kw_only=True)
class Service:
    """One service's face. `metric` is its name in operations; `key` that of the shape's services.

    `routers` has one for each version; which of them a cloud offers is in `offers`.
    """

    key: str
    metric: str
    routers: Mapping[str, Router]
    root: Handler  # GET of the URL without a version
    version: Handler  # GET of the version itself
    refuse: Callable[[Refusal], Response]

    def find(self, cloud: SimCloud, method: str, rest: str) -> tuple[Route, dict[str, str]]:
        """The route of a path below the service's URL. Raises Refusal."""
        version, _, path = rest.partition("/")
        if not version or (rest == "info" and self.key == "object-store"):
            return _document(self.root, "info" if version else "discovery"), {}
        if version not in self._offered(cloud):
            if self.key == "image" and method == "GET":
                return _document(self.root, "discovery"), {}  # Glance shows what it has, with 300
            raise Refusal(404, "The resource could not be found.")
        project, _, below = path.partition("/")
        if project.removeprefix("AUTH_") == cloud.identity.credentials.project_id:
            path = below
        if not path and self.key != "object-store":
            return _document(self.version, "discovery"), {}
        return self.routers[version].find(method, path)

    def _offered(self, cloud: SimCloud) -> tuple[str, ...]:
        return cloud.shape.image_api.versions if self.key == "image" else tuple(self.routers)


def _document(handler: Handler, operation: str) -> Route:
    return Route(method="GET", path="", operation=operation, handler=handler, open=True)


_NOVA = Router(nova.ROUTES)

#: By the first part of their path.
SERVICES: Mapping[str, Service] = {
    "identity": Service(
        key="identity",
        metric="identity",
        routers={"v3": Router(keystone.ROUTES)},
        root=keystone.root,
        version=keystone.version,
        refuse=keystone.refuse,
    ),
    "compute": Service(
        key="compute",
        metric="compute",
        routers={"v2.1": _NOVA, "v2": _NOVA},
        root=nova.root,
        version=nova.version,
        refuse=nova.refuse,
    ),
    "network": Service(
        key="network",
        metric="network",
        routers={"v2.0": Router(neutron.ROUTES)},
        root=neutron.root,
        version=neutron.version,
        refuse=neutron.refuse,
    ),
    "image": Service(
        key="image",
        metric="image",
        routers={"v2": Router(glance.ROUTES), "v1": Router(glance_v1.ROUTES)},
        root=glance.root,
        version=glance.root,
        refuse=glance.refuse,
    ),
    "volume": Service(
        key="volume",
        metric="block-storage",
        routers={"v3": Router(cinder.ROUTES)},
        root=cinder.root,
        version=cinder.root,
        refuse=nova.refuse,
    ),
    "object": Service(
        key="object-store",
        metric="object-store",
        routers={"v1": Router(swift.ROUTES)},
        root=swift.info,
        version=swift.info,
        refuse=swift.refuse,
    ),
}
