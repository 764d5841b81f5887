"""The shared state as this process last saw it, with the indexes the policies ask.

A store owns one `Snapshot` and keeps it current from watch events and from its own writes; everyone else
only reads it, inside `store.reading()`, which keeps it still meanwhile. Nothing is copied: a question
costs what it looks at. Records are immutable and may be kept after reading.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TypeVar

from poolmgr.model.component import Component, ComponentKind
from poolmgr.model.fleet import Peer, ProviderOrder, ProviderStatus, ReclaimApproval, TenantPromises
from poolmgr.model.image import Build, ImageOrder, Order, Upload, UploadState
from poolmgr.model.node import GARBAGE_WHEN_UNLOCKED, Node, NodeState
from poolmgr.model.request import NodeRequest, RequestState
from poolmgr.model.resources import NOTHING, Resources, counted

K = TypeVar("K")
V = TypeVar("V")


class Snapshot:
    """Nodes, requests, components and uploads, indexed. Only its store calls the `put_*` and `drop_*`."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._nodes_by_provider: dict[str, dict[str, Node]] = {}
        self._nodes_by_state: dict[tuple[str, NodeState], dict[str, Node]] = {}  # (provider, state)
        self._nodes_by_request: dict[str, dict[str, Node]] = {}
        self._nodes_by_host: dict[str, dict[str, Node]] = {}  # by hostname; servers in clouds have none
        self._use: dict[tuple[str, str | None], dict[str, float]] = {}  # (provider, pool; None: all pools)
        self._use_by_tenant: dict[str, dict[str, float]] = {}
        self._nodes_by_tenant: dict[str, int] = {}  # how many
        self._unpriced: dict[str, dict[str, Node]] = {}  # by provider: no usable `resources`
        self._promised: dict[str, dict[str, Node]] = {}  # by provider: READY and allocated
        self._garbage: dict[str, dict[str, Node]] = {}  # by provider: to delete, as nobody has it locked
        self._ready_by_label: dict[str, dict[str, Node]] = {}  # READY and unallocated
        self._requests: dict[str, NodeRequest] = {}
        self._requests_by_state: dict[RequestState, dict[str, NodeRequest]] = {}
        self._components: dict[tuple[ComponentKind, str], Component] = {}
        self._nodes_by_image: dict[str, dict[str, Node]] = {}  # by path of the upload
        self._images: set[str] = set()
        self._orders: dict[tuple[str, Order], ImageOrder] = {}
        self._builds: dict[tuple[str, str], Build] = {}
        self._builds_by_image: dict[str, dict[str, Build]] = {}
        self._uploads: dict[str, Upload] = {}
        self._uploads_by_target: dict[tuple[str, str], dict[str, Upload]] = {}  # (image, provider)
        self._uploads_by_build: dict[tuple[str, str], dict[str, Upload]] = {}  # (image, build)
        self._unreadable_images: dict[str, set[str]] = {}  # image -> paths of records that make no sense
        self._locked_builds: dict[str, set[str]] = {}  # by image
        self._locked_uploads: dict[tuple[str, str, str], set[str]] = {}  # by (image, build, provider)
        self._locked_nodes: dict[str, set[str]] = {}
        self._locked_requests: dict[str, set[str]] = {}
        self._unreadable_nodes: set[str] = set()
        self._peers: dict[str, Peer] = {}  # by znode
        self._provider_orders: dict[str, ProviderOrder] = {}
        self._approvals: dict[str, ReclaimApproval] = {}
        self._statuses: dict[str, ProviderStatus] = {}
        self._promises: dict[str, TenantPromises] = {}
        self._owners: dict[str, set[str]] = {}  # provider -> contenders for owning it

    # What policies ask

    def node(self, node_id: str) -> Node | None:
        return self._nodes.get(node_id)

    def nodes(self) -> Collection[Node]:
        return self._nodes.values()

    def nodes_of(self, provider: str, state: NodeState | None = None) -> Collection[Node]:
        """The provider's nodes, in `state` if given."""
        if state is None:
            return self._nodes_by_provider.get(provider, {}).values()
        return self._nodes_by_state.get((provider, state), {}).values()

    def nodes_for(self, request_id: str) -> Collection[Node]:
        """Nodes whose `allocated_to` is this request."""
        return self._nodes_by_request.get(request_id, {}).values()

    def at_host(self, hostname: str) -> Collection[Node]:
        """Nodes of all providers whose record has this `hostname`: those of a static host."""
        return self._nodes_by_host.get(hostname, {}).values()

    def use(self, provider: str, pool: str | None = None) -> Resources:
        """The sum of `resources` of the provider's nodes in every state, of one pool if given."""
        return self._use.get((provider, pool), {})

    def use_by_tenant(self, tenant: str) -> Resources:
        """The sum of `resources` of all nodes that carry this tenant's name."""
        return self._use_by_tenant.get(tenant, {})

    def nodes_by_tenant(self, tenant: str) -> int:
        """How many nodes carry this tenant's name, in every state; "" for those that carry none."""
        return self._nodes_by_tenant.get(tenant, 0)

    def unpriced(self, provider: str) -> Collection[Node]:
        """Nodes whose record has no `resources`; `use` does not count them."""
        return self._unpriced.get(provider, {}).values()

    def promised(self, provider: str) -> Collection[Node]:
        """READY nodes that some request has (or had: it may be gone)."""
        return self._promised.get(provider, {}).values()

    def orphans(self) -> Iterator[Node]:
        """READY nodes of all providers whose request is gone; nobody has them locked, so they will be free."""
        for nodes in self._promised.values():
            for node in nodes.values():
                if node.allocated_to not in self._requests and not self.node_locked(node.id):
                    yield node

    def strays(self) -> Iterator[Node]:
        """BUILDING nodes of all providers that no request wants: free once they are ready."""
        for (_, state), nodes in self._nodes_by_state.items():
            if state is NodeState.BUILDING:
                for node in nodes.values():
                    if node.allocated_to not in self._requests:
                        yield node

    def garbage(self, provider: str) -> Collection[Node]:
        """Nodes in a state that must not be unlocked, and that nobody has locked (zookeeper.md 7.2)."""
        return self._garbage.get(provider, {}).values()

    def ready(self, label: str) -> Collection[Node]:
        """READY nodes with `label` that no request has, of all providers; some may be locked."""
        return self._ready_by_label.get(label, {}).values()

    def node_locked(self, node_id: str) -> bool:
        return bool(self._locked_nodes.get(node_id))

    def node_unreadable(self, node_id: str) -> bool:
        """Whether there is such a node but its record makes no sense: nothing of it may be taken for leaked."""
        return node_id in self._unreadable_nodes

    def request(self, request_id: str) -> NodeRequest | None:
        return self._requests.get(request_id)

    def requests(self, state: RequestState | None = None) -> Collection[NodeRequest]:
        if state is None:
            return self._requests.values()
        return self._requests_by_state.get(state, {}).values()

    def request_locked(self, request_id: str) -> bool:
        """Whether someone contends for its lock. Stores that do not watch request locks answer False."""
        return bool(self._locked_requests.get(request_id))

    def components(self, kind: ComponentKind) -> Iterator[Component]:
        return (c for (k, _), c in self._components.items() if k is kind)

    def pools(self) -> Iterator[Component]:
        """The pools that are registered, of all launchers."""
        return self.components(ComponentKind.POOL)

    def peers(self) -> Collection[Peer]:
        """The launchers of this software that live, this one too once it is announced."""
        return self._peers.values()

    def provider_order(self, provider: str) -> ProviderOrder | None:
        """The operator's, perhaps expired: ask it whether it `stands`."""
        return self._provider_orders.get(provider)

    def provider_orders(self) -> Collection[ProviderOrder]:
        """All of them, those that have expired too."""
        return self._provider_orders.values()

    def approval(self, provider: str) -> ReclaimApproval | None:
        return self._approvals.get(provider)

    def provider_status(self, provider: str) -> ProviderStatus | None:
        """What its owner said last; it may have died since: see `provider_owned`."""
        return self._statuses.get(provider)

    def provider_statuses(self) -> Collection[ProviderStatus]:
        return self._statuses.values()

    def promises(self, tenant: str) -> TenantPromises:
        """What was promised to the tenant's requests; an empty record, which was never stored, if nothing ever was."""
        return self._promises.get(tenant) or TenantPromises(tenant=tenant)

    def provider_owned(self, provider: str) -> bool:
        """Whether someone holds, or contends for, the provider's lock."""
        return bool(self._owners.get(provider))

    def nodes_from(self, upload_path: str) -> Collection[Node]:
        """Nodes in any state whose record says that they boot, or booted, from this upload."""
        return self._nodes_by_image.get(upload_path, {}).values()

    def images(self) -> Collection[str]:
        """Names of all images that have a znode, configured here or not."""
        return self._images

    def order(self, image: str, kind: Order) -> ImageOrder | None:
        return self._orders.get((image, kind))

    def orders(self, kind: Order) -> Iterator[ImageOrder]:
        return (order for (_, k), order in self._orders.items() if k is kind)

    def build(self, image: str, build_id: str) -> Build | None:
        return self._builds.get((image, build_id))

    def builds(self) -> Collection[Build]:
        return self._builds.values()

    def builds_of(self, image: str) -> Collection[Build]:
        """The image's builds in every state, in no order."""
        return self._builds_by_image.get(image, {}).values()

    def build_locked(self, image: str) -> bool:
        """Whether someone contends for the image's build lock: a build of it is going on."""
        return bool(self._locked_builds.get(image))

    def upload(self, path: str) -> Upload | None:
        return self._uploads.get(path)

    def uploads_of(self, image: str, build_id: str) -> Collection[Upload]:
        """The build's uploads to all providers."""
        return self._uploads_by_build.get((image, build_id), {}).values()

    def uploads_to(self, image: str, provider: str) -> Collection[Upload]:
        """The uploads of all builds of the image to one provider."""
        return self._uploads_by_target.get((image, provider), {}).values()

    def upload_locked(self, image: str, build_id: str, provider: str) -> bool:
        """Whether someone contends for the lock of the build's uploads to this provider: one is going on."""
        return bool(self._locked_uploads.get((image, build_id, provider)))

    def image_unreadable(self, image: str) -> bool:
        """Whether some record of the image makes no sense: its cloud images and files must not be taken for leaked."""
        return image in self._unreadable_images

    def unreadable_of(self, image: str) -> Collection[str]:
        """The paths of those records, builds' and uploads'."""
        return self._unreadable_images.get(image, ())

    def uploads(self) -> Collection[Upload]:
        return self._uploads.values()

    def newest_upload(self, image: str, provider: str) -> Upload | None:
        """The READY upload with the greatest state_time, over all builds (zookeeper.md 8.3)."""
        ready = [
            u
            for u in self._uploads_by_target.get((image, provider), {}).values()
            if u.state is UploadState.READY and u.external_id
        ]
        return max(ready, key=lambda u: u.state_time, default=None)

    # What its store tells it

    def put_node(self, node: Node) -> None:
        self.drop_node(node.id)
        self._nodes[node.id] = node
        provider = node.provider or ""
        tenant = node.tenant_name or ""
        self._nodes_by_tenant[tenant] = self._nodes_by_tenant.get(tenant, 0) + 1
        self._nodes_by_provider.setdefault(provider, {})[node.id] = node
        self._nodes_by_state.setdefault((provider, node.state), {})[node.id] = node
        if node.hostname:
            self._nodes_by_host.setdefault(node.hostname, {})[node.id] = node
        if node.image_id:
            self._nodes_by_image.setdefault(node.image_id, {})[node.id] = node
        if node.allocated_to:
            self._nodes_by_request.setdefault(node.allocated_to, {})[node.id] = node
            if node.state is NodeState.READY:
                self._promised.setdefault(provider, {})[node.id] = node
        elif node.state is NodeState.READY:
            for label in node.labels:
                self._ready_by_label.setdefault(label, {})[node.id] = node
        self._judge_garbage(node)
        self._account(node, 1)

    def put_unreadable_node(self, node_id: str) -> None:
        self.drop_node(node_id)
        self._unreadable_nodes.add(node_id)

    def drop_node(self, node_id: str) -> None:
        self._unreadable_nodes.discard(node_id)
        old = self._nodes.pop(node_id, None)
        if old is None:
            return
        provider = old.provider or ""
        tenant = old.tenant_name or ""
        self._nodes_by_tenant[tenant] -= 1
        if not self._nodes_by_tenant[tenant]:
            del self._nodes_by_tenant[tenant]
        _remove(self._nodes_by_provider, provider, node_id)
        _remove(self._nodes_by_state, (provider, old.state), node_id)
        _remove(self._promised, provider, node_id)
        _remove(self._garbage, provider, node_id)
        _remove(self._nodes_by_image, old.image_id, node_id)
        _remove(self._nodes_by_host, old.hostname, node_id)
        self._account(old, -1)
        _remove(self._nodes_by_request, old.allocated_to, node_id)
        for label in old.labels:
            _remove(self._ready_by_label, label, node_id)

    def put_request(self, request: NodeRequest) -> None:
        self.drop_request(request.id)
        self._requests[request.id] = request
        self._requests_by_state.setdefault(request.state, {})[request.id] = request

    def drop_request(self, request_id: str) -> None:
        old = self._requests.pop(request_id, None)
        if old is not None:
            _remove(self._requests_by_state, old.state, request_id)

    def put_component(self, component: Component) -> None:
        self._components[component.kind, component.znode] = component

    def drop_component(self, kind: ComponentKind, znode: str) -> None:
        self._components.pop((kind, znode), None)

    def put_peer(self, peer: Peer) -> None:
        self._peers[peer.znode] = peer

    def drop_peer(self, znode: str) -> None:
        self._peers.pop(znode, None)

    def put_provider_order(self, order: ProviderOrder) -> None:
        self._provider_orders[order.provider] = order

    def drop_provider_order(self, provider: str) -> None:
        self._provider_orders.pop(provider, None)

    def put_approval(self, approval: ReclaimApproval) -> None:
        self._approvals[approval.provider] = approval

    def drop_approval(self, provider: str) -> None:
        self._approvals.pop(provider, None)

    def put_provider_status(self, status: ProviderStatus) -> None:
        self._statuses[status.provider] = status

    def drop_provider_status(self, provider: str) -> None:
        self._statuses.pop(provider, None)

    def put_promises(self, promises: TenantPromises) -> None:
        self._promises[promises.tenant] = promises

    def drop_promises(self, tenant: str) -> None:
        self._promises.pop(tenant, None)

    def put_owner_contender(self, provider: str, contender: str) -> None:
        self._owners.setdefault(provider, set()).add(contender)

    def drop_owner_contender(self, provider: str, contender: str | None = None) -> None:
        """Forget one contender, or all of them when `contender` is None."""
        _discard(self._owners, provider, contender)

    def put_image(self, image: str) -> None:
        self._images.add(image)

    def drop_image(self, image: str) -> None:
        self._images.discard(image)

    def put_order(self, order: ImageOrder) -> None:
        self._orders[order.image, order.kind] = order

    def drop_order(self, image: str, kind: Order) -> None:
        self._orders.pop((image, kind), None)

    def put_build(self, build: Build) -> None:
        self._builds[build.image, build.id] = build
        self._builds_by_image.setdefault(build.image, {})[build.id] = build

    def drop_build(self, image: str, build_id: str) -> None:
        self._builds.pop((image, build_id), None)
        _remove(self._builds_by_image, image, build_id)

    def put_upload(self, upload: Upload) -> None:
        self._uploads[upload.path] = upload
        self._uploads_by_target.setdefault((upload.image, upload.provider), {})[upload.path] = upload
        self._uploads_by_build.setdefault((upload.image, upload.build), {})[upload.path] = upload

    def drop_upload(self, path: str) -> None:
        old = self._uploads.pop(path, None)
        if old is not None:
            _remove(self._uploads_by_target, (old.image, old.provider), path)
            _remove(self._uploads_by_build, (old.image, old.build), path)

    def put_unreadable_image(self, image: str, path: str) -> None:
        """The record at `path`, a build's or an upload's, makes no sense; the caller drops what was there before."""
        self._unreadable_images.setdefault(image, set()).add(path)

    def drop_unreadable_image(self, image: str, path: str) -> None:
        """It makes sense now, or is gone."""
        _discard(self._unreadable_images, image, path)

    def put_build_contender(self, image: str, contender: str) -> None:
        self._locked_builds.setdefault(image, set()).add(contender)

    def drop_build_contender(self, image: str, contender: str | None = None) -> None:
        """Forget one contender for the image's build lock, or all of them when `contender` is None."""
        _discard(self._locked_builds, image, contender)

    def put_upload_contender(self, image: str, build_id: str, provider: str, contender: str) -> None:
        self._locked_uploads.setdefault((image, build_id, provider), set()).add(contender)

    def drop_upload_contender(
        self, image: str, build_id: str, provider: str, contender: str | None = None
    ) -> None:
        _discard(self._locked_uploads, (image, build_id, provider), contender)

    def put_node_contender(self, node_id: str, contender: str) -> None:
        self._locked_nodes.setdefault(node_id, set()).add(contender)
        node = self._nodes.get(node_id)
        if node is not None:
            _remove(self._garbage, node.provider or "", node_id)

    def drop_node_contender(self, node_id: str, contender: str | None = None) -> None:
        """Forget one contender, or all of them when `contender` is None."""
        _discard(self._locked_nodes, node_id, contender)
        node = self._nodes.get(node_id)
        if node is not None:
            self._judge_garbage(node)

    def put_request_contender(self, request_id: str, contender: str) -> None:
        self._locked_requests.setdefault(request_id, set()).add(contender)

    def drop_request_contender(self, request_id: str, contender: str | None = None) -> None:
        _discard(self._locked_requests, request_id, contender)

    def request_locks(self) -> Collection[str]:
        """Ids whose lock has a contender, as far as known."""
        return self._locked_requests.keys()

    def _judge_garbage(self, node: Node) -> None:
        if node.state in GARBAGE_WHEN_UNLOCKED and node.id not in self._locked_nodes:
            self._garbage.setdefault(node.provider or "", {})[node.id] = node

    def _account(self, node: Node, sign: int) -> None:
        provider = node.provider or ""
        amounts = counted(node.resources)
        if not amounts:
            if sign > 0:
                self._unpriced.setdefault(provider, {})[node.id] = node
            else:
                _remove(self._unpriced, provider, node.id)
            return
        _add(self._use, (provider, None), amounts, sign)
        if node.pool is not None:
            _add(self._use, (provider, node.pool), amounts, sign)
        if node.tenant_name:
            _add(self._use_by_tenant, node.tenant_name, amounts, sign)


def _add(index: dict[K, dict[str, float]], key: K, amounts: Resources, sign: int) -> None:
    """Add to a sum. What has come to nothing is dropped: tenants come and go, and fractions leave remainders."""
    sums = index.setdefault(key, {})
    for name, value in amounts.items():
        new = sums.get(name, 0) + sign * value
        if new > NOTHING:
            sums[name] = new
        else:
            sums.pop(name, None)
    if not sums:
        del index[key]


def _remove(index: dict[K, dict[str, V]], key: K | None, item: str) -> None:
    if key is None:
        return
    bucket = index.get(key)
    if bucket is not None:
        bucket.pop(item, None)
        if not bucket:
            del index[key]


def _discard(index: dict[K, set[str]], key: K, item: str | None) -> None:
    if item is None:
        index.pop(key, None)
        return
    bucket = index.get(key)
    if bucket is not None:
        bucket.discard(item)
        if not bucket:
            del index[key]
