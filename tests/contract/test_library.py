"""`poolmgr.cloud.connect` as another program uses it: over HTTP, on pretend clouds whose time passes when told."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time
from typing import Any

import pytest

from poolmgr.cloud.library.connection import Connection, connect
from poolmgr.cloud.library.records import Progress, Reach, Stage
from poolmgr.config.clouds import load_clouds
from poolmgr.errors import (
    CloudUnavailable,
    ConfigError,
    NoCapacity,
    NotFound,
    OverQuota,
    PoolmgrError,
    ProbeError,
    Refused,
    Rejected,
    ServerFailed,
)
from poolmgr.model.server import META_NODE_ID, META_PROVIDER, Server, ServerStatus
from poolmgr.policy.leftovers import GRACE, Leftovers
from poolmgr.simcloud.faults import Fault, FaultKind
from poolmgr.simcloud.server import running
from poolmgr.simcloud.world import SimCloud, World
from tests.contract.clouds import IMAGE, SHAPES, TIMEOUTS, sim_config
from tests.fakes import FakeClock

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJxE0n7v3o5pQh7y1x8rLZ0f7s6k8i3oJ8r8m1l2k3j4 someone@somewhere"
LIST = "compute.GET.servers_detail"
LISTS = frozenset({LIST, "network.GET.ports", "network.GET.floatingips", "block-storage.GET.volumes_detail"})


class Knocker:
    """A prober whose servers answer from `opens_at` on (monotonic seconds)."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock, self.opens_at = clock, 0.0
        self.asked: list[tuple[str, int, str]] = []

    def host_keys(self, address: str, port: int, *, connection_type: str, timeout: float) -> tuple[str, ...]:
        self.asked.append((address, port, connection_type))
        if self.clock.monotonic() < self.opens_at:
            raise ProbeError(f"{address} port {port}: Connection refused")
        return ("ssh-ed25519 AAAA",) if connection_type == "ssh" else ()


@dataclass(frozen=True, kw_only=True)
class Desk:
    """A program's connection, and what is behind it."""

    cloud: Connection
    far: SimCloud
    world: World
    clock: FakeClock
    prober: Knocker
    again: Callable[..., Connection]  # another program's connection to the same cloud
    told: list[Progress] = field(default_factory=list)

    def create(self, name: str = "my-server", **more: Any) -> Server:
        plain = {"image": IMAGE, "flavor": "small", "progress": self.told.append}
        return self.cloud.create_server(name, **{**plain, **more})

    def strike(self, kind: str, *operations: str, **more: Any) -> None:
        with self.far.lock:
            self.far.faults.add(Fault(kind=FaultKind(kind), operations=operations, **more))

    def calm(self) -> None:
        with self.far.lock:
            self.far.faults.clear()

    def put(self, name: str, metadata: dict[str, str] | None = None) -> str:
        """A server that somebody else made; its id."""
        with self.far.lock:
            return self.far.compute.put_foreign(
                name=name, metadata=metadata or {}, networks=(), flavor=None
            ).id

    def left(self) -> tuple[int, int, int, int]:
        """(servers, ports, floating IPs, volumes) that really are there."""
        counts = self.world.counts()[self.far.name]
        return counts["servers"], counts["ports"], counts["floating_ips"], counts["volumes"]

    def stages(self) -> list[Stage]:
        return [progress.stage for progress in self.told]

    @contextmanager
    def calls(self) -> Iterator[dict[str, int]]:
        """The calls of a block, by operation."""
        before, made = dict(self.cloud.calls), {}
        yield made
        made.update({k: n - before.get(k, 0) for k, n in self.cloud.calls.items() if n != before.get(k, 0)})


NOTHING = (0, 0, 0, 0)


@contextmanager
def desk(shape: str, *, settings: dict[str, Any] | None = None, **more: Any) -> Iterator[Desk]:
    clock = FakeClock(time())  # keystoneauth compares a token's end with the machine's clock
    with running(sim_config(shape, **more), clock.time) as sim, ExitStack() as stack:
        with TemporaryDirectory() as directory:
            file = sim.write_clouds_yaml(Path(directory) / "clouds.yaml")
            wanted = replace(
                load_clouds(paths=[str(file)], environ={}).get("north", None), **(settings or {})
            )
        prober = Knocker(clock)
        numbers = itertools.count(1)

        def again(**options: Any) -> Connection:
            options = {"timeouts": TIMEOUTS, "reachable_v6": True, "prober": prober, **options}
            cloud = Connection(wanted, clock=clock, new_id=lambda: f"call-{next(numbers)}", **options)
            stack.callback(cloud.close)
            return cloud

        world = sim.world
        yield Desk(
            cloud=again(), far=world.clouds["north"], world=world, clock=clock, prober=prober, again=again
        )


@pytest.fixture
def at() -> Iterator[Callable[..., Desk]]:
    with ExitStack() as stack:
        yield lambda shape, **more: stack.enter_context(desk(shape, **more))


@pytest.fixture
def nat(at) -> Desk:
    """A cloud whose servers need floating IPs."""
    return at("nat")


# -- one call that works everywhere ----------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_a_server_with_a_working_address_and_then_nothing(at, shape):
    here = at(shape)
    server = here.create()
    assert server.status is ServerStatus.ACTIVE
    guest = here.world.guest_at(server.addresses.interface_ip)
    assert guest is not None
    assert guest.id == server.id
    assert [s.id for s in here.cloud.list_servers()] == [server.id]
    assert here.stages() == [Stage.ACCEPTED, Stage.BUILDING, Stage.ACTIVE, Stage.ADDRESS]
    assert not here.cloud.leftovers()
    here.cloud.delete_server("my-server")
    assert here.left() == NOTHING
    assert here.cloud.list_servers() == ()


def test_ports_made_in_advance_go_with_their_server(at):
    here = at("nat", settings={"port_mode": "precreate"})
    here.create()
    assert here.left() == (1, 1, 1, 0)
    here.cloud.delete_server("my-server")
    assert here.left() == NOTHING


def test_a_volume_made_with_a_server_goes_with_it_even_if_the_cloud_forgets(nat):
    server = nat.create(boot_from_volume=True, volume_gib=10)
    (volume,) = server.volumes
    with nat.far.lock:  # as when Block Storage was away while the server was deleted
        assert nat.far.volumes.volumes[volume].metadata["poolmgr_library_id"] == "call-1"
        servers = nat.far.compute.servers
        servers[server.id] = replace(servers[server.id], doomed_volumes=())
    nat.cloud.delete_server(server.id)
    assert nat.left() == NOTHING


def test_what_is_asked_for_is_what_the_cloud_gets(nat, tmp_path):
    with nat.far.lock:
        nat.far.networking.create_group("web", "")
    key = tmp_path / "id.pub"
    key.write_text(KEY + "\n")
    server = nat.create(
        flavor=None,
        min_ram=4000,
        networks=["private"],
        security_groups=["web"],
        key_file=str(key),
        az="nova",
        userdata="#!/bin/sh\n",
        config_drive=True,
        metadata={"groups": "web,db"},
    )
    assert (server.flavor_name, server.az, server.metadata["groups"]) == ("medium", "nova", "web,db")
    with nat.far.lock:
        there = nat.far.compute.servers[server.id]
        assert there.config_drive
        assert there.key_name in nat.far.compute.keypairs
    assert there.key_name.startswith("poolmgr-")
    nat.create("other", key_file=str(key))  # the same key is no trouble
    assert len(nat.far.compute.keypairs) == 1


def test_a_server_without_a_floating_ip_where_none_is_wished(nat):
    server = nat.create(auto_ip=False)
    assert server.addresses.interface_ip == server.addresses.private_v4 != ""
    assert nat.left() == (1, 1, 0, 0)
    nat.clock.advance(600.0 + GRACE + 1)
    assert not nat.cloud.leftovers()


@pytest.mark.parametrize(
    ("reach", "asked", "keys"),
    [(Reach(), (22, "ssh"), ("ssh-ed25519 AAAA",)), (Reach(443, ssh=False), (443, "tcp"), ())],
)
def test_a_server_that_has_to_answer(nat, reach, asked, keys):
    nat.prober.opens_at = 20.0
    server = nat.create(reachable=reach)
    assert nat.clock.monotonic() >= 20.0
    assert set(nat.prober.asked) == {(server.addresses.interface_ip, *asked)}
    assert (nat.told[-1].stage, nat.told[-1].host_keys) == (Stage.REACHABLE, keys)


def test_a_server_that_is_not_waited_for_is_finished_later(nat):
    young = nat.create(wait=False)
    assert (young.status, young.addresses.interface_ip) == (ServerStatus.BUILD, "")
    server = nat.cloud.finish_server(young.id)
    assert nat.world.guest_at(server.addresses.interface_ip).id == young.id
    assert nat.cloud.finish_server("my-server").addresses == server.addresses
    with pytest.raises(Refused, match="not made by this library"):
        nat.cloud.finish_server(nat.put("db"))


# -- how many calls --------------------------------------------------------------------------------------


def acts(made: dict[str, int]) -> dict[str, int]:
    """Without the lists that all who wait share."""
    return {name: count for name, count in made.items() if name not in LISTS}


def test_a_server_with_a_floating_ip_costs_three_calls_and_two_to_delete(nat):
    nat.create()
    nat.cloud.delete_server("my-server")  # by now names, versions and token are known
    with nat.calls() as made:
        nat.create()
    assert made.pop(LIST) <= 4
    assert made == {
        "compute.POST.servers": 1,
        "network.GET.ports": 1,  # of this server
        "network.POST.floatingips": 1,
    }
    with nat.calls() as made:
        nat.cloud.delete_server("my-server")
    assert acts(made) == {"compute.DELETE.server": 1, "network.DELETE.floatingip": 1}


def test_a_server_without_costs_a_mark_instead(at):
    here = at("direct")
    here.create()
    here.cloud.delete_server("my-server")
    with here.calls() as made:
        here.create()
    assert acts(made) == {"compute.POST.servers": 1, "compute.POST.server_metadata": 1}
    with here.calls() as made:
        here.cloud.delete_server("my-server")
    assert acts(made) == {"compute.DELETE.server": 1}


def test_those_who_wait_at_the_same_time_share_the_lists(nat):
    with nat.calls() as alone:
        nat.create("first")
    together = threading.Barrier(16)

    def step(progress: Progress) -> None:
        if progress.stage is Stage.ACCEPTED:
            together.wait(30)

    with nat.calls() as made, ThreadPoolExecutor(16) as pool:
        servers = list(pool.map(lambda n: nat.create(f"s{n}", progress=step), range(16)))
    assert len({server.addresses.interface_ip for server in servers}) == 16
    assert made["compute.POST.servers"] == 16
    assert made[LIST] <= 2 * alone[LIST] + 2
    with nat.calls() as made, ThreadPoolExecutor(16) as pool:
        list(pool.map(nat.cloud.delete_server, [server.id for server in servers]))
    assert acts(made) == {"compute.DELETE.server": 16, "network.DELETE.floatingip": 16}
    assert nat.left() == (1, 1, 1, 0)


# -- failures leave nothing ------------------------------------------------------------------------------

CREATE = "compute.POST.servers"
FLOATING = "network.POST.floatingips"


@pytest.mark.parametrize(
    ("fault", "options", "error", "words"),
    [
        (("error-server",), {}, NoCapacity, "Failed to allocate the network"),
        (("no-valid-host",), {}, NoCapacity, "No valid host"),
        (("error-server", CREATE, {"message": "it burns"}), {}, ServerFailed, "my-server: it burns"),
        (("stuck-build",), {"timeout": 30.0}, ServerFailed, r"not usable after 30 s \(booting\)"),
        (("no-address",), {}, ServerFailed, "has no address"),
        (("quota",), {}, OverQuota, "(?i)quota"),
        (("quota", FLOATING), {}, OverQuota, "(?i)quota"),
        (("http-503", CREATE), {}, CloudUnavailable, "no server came of it; last trouble: .*503"),
        (("drop", CREATE), {}, CloudUnavailable, "no server came of it; last trouble: "),
        (("http-500", FLOATING), {"timeout": 30.0}, ServerFailed, "not usable after 30 s .*last trouble: "),
        (("refuse", FLOATING, {"status": 400, "message": "not today"}), {}, Rejected, "not today"),
        (("http-503", LIST, {"skip": 1}), {}, CloudUnavailable, "servers cannot be listed"),
        ((), {"image": "nonsense"}, Rejected, "nonsense"),
        ((), {"flavor": "smal"}, Rejected, r"did you mean 'small'\? it has large, medium, small, xlarge"),
        ((), {"flavor": None}, Rejected, "name a flavor"),
        ((), {"networks": ["nonsense"]}, Rejected, "nonsense"),
        ((), {"az": "nonsense"}, Rejected, "availability zone"),
        ((), {"key_name": "nonsense"}, Rejected, "key"),
        ((), {"key_file": "/nonsense.pub"}, ConfigError, "No such file"),
        ((), {"metadata": {"nodepool_provider_name": "north"}}, Rejected, "whose a server is"),
        (("no-ssh",), {"reachable": Reach(), "timeout": 30.0}, ServerFailed, "refused"),
    ],
)
def test_a_failure_is_told_and_leaves_nothing(nat, fault, options, error, words):
    nat.cloud.flavors()  # logged in
    nat.prober.opens_at = 1e9
    if fault:
        kind, *operations, more = fault if isinstance(fault[-1], dict) else (*fault, {})
        nat.strike(kind, *operations, **more)
    with pytest.raises(error, match=words) as caught:
        nat.create(**options)
    nat.calm()
    nat.clock.advance(60.0)
    assert nat.left() == NOTHING
    assert not getattr(caught.value, "__notes__", None) or fault[0] == "http-503"


def test_the_end_of_the_console_of_a_server_that_failed(nat):
    nat.strike("no-address")
    with pytest.raises(ServerFailed) as caught:
        nat.create()
    assert "Linux" in caught.value.console


@pytest.mark.parametrize(
    ("kind", "operation"), [("lost-answer", CREATE), ("lost-answer", FLOATING), ("http-503", FLOATING)]
)
def test_a_call_that_was_not_answered_once_is_no_failure(nat, kind, operation):
    nat.strike(kind, operation, times=1)
    server = nat.create()
    assert nat.world.guest_at(server.addresses.interface_ip).id == server.id
    assert nat.left() == (1, 1, 1, 0)


class Cut(BaseException):
    """Ctrl-C, at a point of one's choice."""


def cut_at(here: Desk, number: int, then: Callable[[], None] = lambda: None) -> tuple[Connection, list[str]]:
    """A connection whose user loses patience after so many calls, and the calls."""
    calls: list[str] = []

    def on_call(call) -> None:
        calls.append(f"{call.service}.{call.method}.{call.name}")
        if len(calls) == number:
            then()
            raise Cut

    return here.again(on_call=on_call), calls


OPTIONS = {"image": IMAGE, "flavor": "small"}


@pytest.mark.parametrize(
    ("shape", "settings", "options"),
    [
        ("nat", {}, {}),
        ("nat", {"port_mode": "precreate"}, {}),
        ("nat", {}, {"boot_from_volume": True}),
        ("direct", {}, {}),
    ],
)
def test_an_interruption_at_any_call_leaves_nothing(at, shape, settings, options):
    here = at(shape, settings=settings)
    for number in itertools.count(1):
        cloud, calls = cut_at(here, number)
        try:
            server = cloud.create_server("my-server", **OPTIONS, **options)
        except Cut:
            here.clock.advance(5.0)
            assert here.left() == NOTHING, calls
        else:
            break
    assert number > 8
    here.cloud.delete_server(server.id)
    assert here.left() == NOTHING


@pytest.mark.parametrize(
    ("shape", "settings"), [("nat", {}), ("nat", {"port_mode": "precreate"}), ("direct", {})]
)
def test_what_a_killed_program_left_is_found_and_removed(at, shape, settings):
    """The process is gone: nothing it would still do reaches the cloud."""
    here = at(shape, settings=settings)
    kept = here.create("kept")
    whole = here.left()
    for number in itertools.count(1):
        cloud, calls = cut_at(here, number, then=lambda: here.strike("http-503"))
        try:
            cloud.create_server("my-server", **OPTIONS)
        except Cut:
            here.calm()
            here.clock.advance(60.0)
        else:
            break
        here.clock.advance(600.0 + GRACE)
        found = here.cloud.leftovers()
        ended = "network.POST.floatingips" in calls or "compute.POST.server_metadata" in calls
        assert bool(found) == (here.left() != whole and not ended), calls
        here.cloud.clean(found)
        if ended:
            here.cloud.delete_server("my-server")
        assert here.left() == whole, calls
    assert {server.id for server in here.cloud.list_servers()} >= {kept.id}


def test_where_cleaning_up_fails_too_the_error_says_what_is_left(nat):
    nat.cloud.flavors()
    nat.strike("error-server", message="it burns")
    nat.strike("http-503", "compute.DELETE.server")
    with pytest.raises(ServerFailed, match="it burns") as caught:
        nat.create()
    (server,) = nat.cloud.list_servers()
    assert f"poolmgr cloud delete-server north {server.id}" in "".join(caught.value.__notes__)
    nat.calm()
    nat.cloud.delete_server(server.id)
    assert nat.left() == NOTHING


# -- finding and deleting --------------------------------------------------------------------------------


def test_the_servers_of_others_are_listed_only_on_demand(nat):
    server, node = nat.create(), nat.put("np7", {META_NODE_ID: "0000000007", META_PROVIDER: "north"})
    foreign = nat.put("db")
    assert [s.id for s in nat.cloud.list_servers()] == [server.id]
    assert {s.id for s in nat.cloud.list_servers(all=True)} == {server.id, node, foreign}
    assert nat.cloud.get_server("db").id == nat.cloud.get_server(foreign).id == foreign
    assert "Linux" in nat.cloud.console("my-server")


def test_a_launchers_node_is_deleted_only_by_force(nat):
    node = nat.put("np7", {META_NODE_ID: "0000000007", META_PROVIDER: "north"})
    with pytest.raises(
        Refused, match=rf"{node}.* node 0000000007 .*provider north.*poolmgr delete 0000000007"
    ):
        nat.cloud.delete_server("np7")
    nat.cloud.delete_server("np7", force=True)
    assert nat.cloud.list_servers(all=True) == ()


def test_names_that_fit_none_or_several(nat):
    ids = sorted([nat.put("twin"), nat.put("twin")])
    with pytest.raises(Rejected, match=", ".join(ids)):
        nat.cloud.delete_server("twin")
    with pytest.raises(NotFound, match="north: no server nonsense"):
        nat.cloud.delete_server("nonsense")
    nat.cloud.delete_server(ids[0])
    nat.cloud.delete_server("twin")
    assert nat.cloud.list_servers(all=True) == ()


def test_a_server_that_lists_do_not_show_yet_is_found_by_its_id(at):
    here = at("direct", visible_after=30.0)
    young = here.create(wait=False, auto_ip=False)
    assert here.cloud.get_server(young.id).name == "my-server"


@pytest.mark.parametrize("kind", ["ignored-delete", "leaked-port", "error-delete"])
def test_deleting_goes_on_until_it_is_gone(nat, kind):
    nat.create()
    nat.strike(kind, times=1)
    nat.cloud.delete_server("my-server", timeout=2000.0)
    assert nat.left() == NOTHING


def test_a_server_that_does_not_go_is_told(nat):
    server = nat.create()
    nat.strike("ignored-delete")
    with pytest.raises(CloudUnavailable, match=f"not gone in time: server {server.id}"):
        nat.cloud.delete_server("my-server", timeout=30.0)


def test_deleting_without_waiting(nat):
    nat.create()
    nat.cloud.delete_server("my-server", wait=False)
    nat.clock.advance(5.0)
    assert nat.left() == NOTHING


def test_a_floating_ip_that_serves_another_server_by_now_stays(nat):
    """Its description still names the server that it was made for."""
    server = nat.create()
    other = nat.create("other", auto_ip=False)
    with nat.far.lock:
        (ip,) = nat.far.networking.floating_ips.values()
        port = next(p for p in nat.far.networking.ports.values() if p.device_id == other.id)
        nat.far.networking.bind(ip.id, port.id)
    nat.cloud.delete_server(server.id)
    nat.cloud.clean(nat.cloud.leftovers())
    assert nat.left() == (1, 1, 1, 0)


def test_what_is_clean_is_left_alone(nat):
    nat.create()
    nat.put("db")
    assert nat.cloud.clean(nat.cloud.leftovers()) == Leftovers()
    assert nat.left()[0] == 2


# -- what the cloud has, and connecting -------------------------------------------------------------------


def test_what_a_cloud_offers(at):
    here = at("nat", quota={"instances": 20})
    assert {flavor.name for flavor in here.cloud.flavors()} == {"small", "medium", "large", "xlarge"}
    assert [network.name for network in here.cloud.networks()] == ["ext-net", "private"]
    assert here.cloud.zones() == ("nova",)
    assert here.cloud.limits()["instances"] == 20
    assert [q.limit for q in here.cloud.quotas() if q.resource == "instances"] == [20]
    assert here.cloud.info().may_need_floating_ips


def test_images_by_name_and_id(nat, tmp_path):
    public = nat.cloud.get_image(IMAGE)  # the operator's
    assert nat.cloud.get_image(public.id) == public
    assert nat.cloud.list_images() == ()
    file = tmp_path / "disk.raw"
    file.write_bytes(b"x" * 100_000)
    image = nat.cloud.upload_image(file, name="mine")
    assert (image.size, image.disk_format) == (100_000, "raw")
    assert [one.id for one in nat.cloud.list_images()] == [nat.cloud.get_image("mine").id] == [image.id]
    server = nat.create(image="mine")
    assert server.image_id == image.id
    nat.cloud.delete_image("mine")
    for gone in (nat.cloud.delete_image, nat.cloud.get_image):
        with pytest.raises(NotFound, match="no image mine"):
            gone("mine")
    with pytest.raises(NotFound):
        nat.cloud.delete_image(IMAGE)  # not ours


def test_a_closed_connection_ends_all_waiting(nat):
    nat.strike("stuck-build")

    def step(progress: Progress) -> None:
        nat.clock.after(10.0, nat.cloud.close)

    with pytest.raises(PoolmgrError):
        nat.create(progress=step)


def test_connecting_by_name_reads_the_files_and_sends_nothing(tmp_path, monkeypatch):
    login = "auth_url: 'https://n.example/v3', username: u, password: p, project_name: p, domain_name: d"
    (tmp_path / "clouds.yaml").write_text(f"clouds: {{north: {{auth: {{{login}}}}}}}")
    monkeypatch.chdir(tmp_path)
    with connect("north", environ={}) as cloud, connect(environ={}) as only:
        assert (cloud.name, only.name, dict(cloud.calls)) == ("north", "north", {})
    with pytest.raises(ConfigError, match=r"noth.*north"):
        connect("noth", environ={})
    with pytest.raises(ConfigError, match="south"):
        connect(environ={"OS_CLOUD": "south"})
