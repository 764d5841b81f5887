"""The simulated cloud itself: what faults and refusals become, and its prober. The rest: tests/contract."""

from __future__ import annotations

from typing import Any

import pytest

from poolmgr.cloud.simulated import SimulatedCloud, SimulatedProber
from poolmgr.errors import (
    AuthFailed,
    CloudUnavailable,
    ImageGone,
    NoCapacity,
    NotFound,
    OutcomeUnknown,
    OverQuota,
    PoolmgrError,
    ProbeError,
    Rejected,
    Throttled,
)
from poolmgr.model.server import Owner, Server, ServerSpec, ServerStatus
from poolmgr.simcloud.config import load
from poolmgr.simcloud.world import Fault, FaultKind, World
from tests.fakes import FakeClock

OWNER = Owner(provider="p", node_id="0000000001", deployment="d")


class Scene:
    def __init__(self, **cloud: Any) -> None:
        self.clock = FakeClock()
        self.world = World(load({"clouds": {"one": {"boot": 2, **cloud}}}), self.clock.time)
        self.far = self.world.clouds["one"]
        self.cloud = SimulatedCloud(self.far, clock=self.clock)

    def strike(self, kind: FaultKind, operation: str, **more: Any) -> None:
        self.far.faults.add(Fault(kind=kind, operations=(operation,), **more))

    def create(self, **more: Any) -> str:
        flavor = self.cloud.flavors()[0]
        values = {
            "name": "n",
            "flavor": flavor,
            "image": "debian-12",
            "image_is_id": False,
            "metadata": {},
            **more,
        }
        return self.cloud.create_server(ServerSpec(**values))

    def boot(self) -> Server:
        server_id = self.create()
        self.clock.advance(5)
        return self.cloud.list_servers().items[server_id]


READS = {
    FaultKind.HTTP_500: CloudUnavailable,
    FaultKind.HTTP_503: CloudUnavailable,
    FaultKind.DROP: CloudUnavailable,
    FaultKind.HANG: CloudUnavailable,
    FaultKind.GARBAGE: CloudUnavailable,
    FaultKind.LOST_ANSWER: CloudUnavailable,
    FaultKind.THROTTLE: Throttled,
    FaultKind.REFUSE: Rejected,
}


@pytest.mark.parametrize(("kind", "error"), READS.items())
def test_faults_of_a_read(kind: FaultKind, error: type[PoolmgrError]):
    scene = Scene()
    scene.strike(kind, "compute.GET.limits", times=1)
    with pytest.raises(error):
        scene.cloud.limits()
    assert scene.cloud.limits() == {}


@pytest.mark.parametrize("kind", [FaultKind.HTTP_500, FaultKind.DROP, FaultKind.HANG])
def test_a_create_without_an_answer_is_in_doubt_and_made_nothing(kind: FaultKind):
    scene = Scene()
    scene.strike(kind, "compute.POST.servers")
    with pytest.raises(OutcomeUnknown):
        scene.create()
    assert scene.world.counts()["one"]["servers"] == 0


def test_a_create_whose_answer_was_lost_is_in_doubt_and_made_a_server():
    scene = Scene()
    scene.strike(FaultKind.LOST_ANSWER, "compute.POST.servers")
    with pytest.raises(OutcomeUnknown):
        scene.create()
    assert scene.world.counts()["one"]["servers"] == 1


@pytest.mark.parametrize(
    ("status", "message", "error"),
    [
        (401, "The request you have made requires authentication.", AuthFailed),
        (403, "Quota exceeded for instances", OverQuota),
        (500, "No valid host was found.", NoCapacity),
        (400, "Can not find requested image", ImageGone),
        (404, "Instance could not be found.", NotFound),
        (409, "locked", Rejected),
        (502, "Bad gateway", CloudUnavailable),
    ],
)
def test_refusals(status: int, message: str, error: type[PoolmgrError]):
    scene = Scene()
    scene.strike(FaultKind.REFUSE, "compute.GET.limits", status=status, message=message)
    with pytest.raises(error, match=message):
        scene.cloud.limits()


def test_the_clouds_own_rate_limit_says_when_to_come_back():
    scene = Scene(rate_limit={"rate": 2, "burst": 1})
    scene.cloud.limits()
    with pytest.raises(Throttled) as caught:
        scene.cloud.limits()
    assert caught.value.retry_after == pytest.approx(0.5)


def test_a_list_whose_second_page_fails_is_incomplete():
    scene = Scene(page_size=2)
    for _ in range(3):
        scene.create()
    scene.strike(FaultKind.HTTP_500, "compute.GET.servers_detail", skip=1, times=1)
    listing = scene.cloud.list_servers()
    assert (len(listing.items), listing.complete) == (2, False)
    whole = scene.cloud.list_servers()
    assert (len(whole.items), whole.complete) == (3, True)


def test_a_floating_ip_over_quota_leaves_none():
    scene = Scene(shape="nat")
    server = scene.boot()
    scene.strike(FaultKind.QUOTA, "network.POST.floatingips", times=1)
    with pytest.raises(OverQuota):
        scene.cloud.expose(server, owner=OWNER, auto_floating_ip=True)
    assert not scene.cloud.list_floating_ips().items
    shown = scene.cloud.expose(server, owner=OWNER, auto_floating_ip=True)
    assert scene.cloud.expose(server, owner=OWNER, auto_floating_ip=True) == shown
    assert len(scene.cloud.list_floating_ips().items) == 1


def test_wrong_specs_are_rejected():
    scene = Scene()
    for wrong in ({"image": "nope"}, {"networks": ("nope",)}, {"az": "nope"}, {"security_groups": ("nope",)}):
        with pytest.raises(Rejected):
            scene.create(**wrong)
    with pytest.raises(ImageGone):
        scene.create(image="00000000-0000-4000-8000-000000000000", image_is_id=True)
    with pytest.raises(Rejected, match="external network"):
        Scene(shape="nat").create(networks=("ext-net",))


def test_a_state_that_we_do_not_tell_apart_keeps_its_word():
    scene = Scene()
    server = scene.boot()
    scene.far.compute.set_status(server.id, "PAUSED")
    shown = scene.cloud.get_server(server.id)
    assert (shown.status, shown.status_text) == (ServerStatus.OTHER, "PAUSED")


def test_the_prober_finds_the_guest_and_its_key_stays():
    scene = Scene()
    prober = SimulatedProber(scene.world)
    address = scene.boot().addresses.interface_ip
    first = prober.host_keys(address, 22, connection_type="ssh", timeout=1)
    assert first[0].startswith("ssh-ed25519 ")
    assert prober.host_keys(address, 22, connection_type="ssh", timeout=1) == first
    assert prober.host_keys(address, 5986, connection_type="winrm", timeout=1) == ()
    with pytest.raises(ProbeError, match="nothing answers"):
        prober.host_keys("127.1.9.9", 22, connection_type="ssh", timeout=1)
