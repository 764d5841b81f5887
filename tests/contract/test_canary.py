"""Trials of fresh images over HTTP and SSH, on pretend clouds whose time passes when told."""

from __future__ import annotations

import itertools
import random
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from poolmgr.cloud.api import Trial
from poolmgr.cloud.canary import OpenStackCanary
from poolmgr.cloud.canary.canary import REMOVAL_TIMEOUT
from poolmgr.cloud.library.connection import Connection
from poolmgr.cloud.openstack import OpenStackCloud
from poolmgr.cloud.probe import SshProber
from poolmgr.cloud.shell import Door, Ran, SshShell, private_key
from poolmgr.config.clouds import load_clouds
from poolmgr.config.settings import BootImage, CloudSettings, Pool, PoolLabel
from poolmgr.errors import CloudUnavailable, ConfigError, NoCapacity, OverQuota, ProbeError
from poolmgr.model.cloud_image import ImageOwner
from poolmgr.model.server import LIBRARY, META_LIBRARY_UNTIL, META_NODE_ID, META_PROVIDER, Owner
from poolmgr.model.trial import TrialMark
from poolmgr.policy.leftovers import GRACE
from poolmgr.runtime.clock import SystemClock
from poolmgr.simcloud.faults import Fault, FaultKind
from poolmgr.simcloud.server import RunningSim, running
from poolmgr.simcloud.world import SimCloud
from tests.contract.clouds import IMAGE, TIMEOUTS, sim_config
from tests.fakes import FakeClock

NOTHING = (0, 0, 0, 0)
DEPLOYMENT = "d-1"
LONG = 1200.0  # seconds; every trial is over then, and its time of grace too


class Killed(BaseException):
    """As if kill -9 had come: nothing is tidied up."""


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A cloud to try images in, and what is behind it."""

    far: SimCloud
    sim: RunningSim
    clock: FakeClock
    settings: CloudSettings
    key_file: str
    numbers: Iterator[int]

    def cloud(self, provider: str = "north", deployment: str = DEPLOYMENT, **more: Any) -> OpenStackCloud:
        options = {"rng": random.Random(7), "timeouts": TIMEOUTS, "reachable_v6": True, **more}
        return OpenStackCloud(
            provider, self.settings, region=None, rate=0, clock=self.clock, deployment=deployment, **options
        )

    def canary(self, cloud: OpenStackCloud | None = None, **more: Any) -> OpenStackCanary:
        real = SystemClock()
        parts = {"prober": SshProber(real), "shell": SshShell(real), **more}
        name = lambda: f"call{next(self.numbers)}"  # noqa: E731 - names trials
        return OpenStackCanary(cloud or self.cloud(), self.clock, new_id=name, **parts)

    def trial(self, **changes: Any) -> Trial:
        of_label = {"boot_from_volume", "userdata", "flavor_name", "key_name"}
        label = PoolLabel(
            name="small",
            image=BootImage(name="debian", is_disk_image=True),
            **{
                "flavor_name": "small",
                "key_name": "ours",
                **{k: v for k, v in changes.items() if k in of_label},
            },
        )
        with self.far.lock:
            image = next(i.id for i in self.far.images.images.values() if i.name == IMAGE)
        plain: dict[str, Any] = {
            "image_id": image,
            "owner": ImageOwner(
                provider="north", image="debian", build="b", upload="1", deployment=DEPLOYMENT
            ),
            "pool": Pool(name="main", labels={"small": label}),
            "command": "uname -a",
            "script": None,
            "username": "zuul",
            "port": self.sim.ssh_port,
            "private_key": self.key_file,
            "timeout": 60.0,
        }
        wanted = {k: v for k, v in changes.items() if k not in of_label}
        return Trial(label=label, **{**plain, **wanted})

    def strike(self, kind: str, *operations: str, **more: Any) -> None:
        with self.far.lock:
            self.far.faults.add(Fault(kind=FaultKind(kind), operations=operations, **more))

    def calm(self) -> None:
        with self.far.lock:
            self.far.faults.clear()

    def left(self) -> tuple[int, int, int, int]:
        """(servers, ports, floating IPs, volumes) that really are there."""
        counts = self.sim.world.counts()[self.far.name]
        return counts["servers"], counts["ports"], counts["floating_ips"], counts["volumes"]

    def servers(self) -> list[Any]:
        with self.far.lock:
            return list(self.far.compute.servers.values())


def new_key(file: Path) -> tuple[Path, str]:
    """The file of a new private key, and its public one."""
    made = Ed25519PrivateKey.generate()
    file.write_bytes(made.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    return file, made.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


@contextmanager
def ground(shape: str, directory: Path, settings: dict[str, Any] | None = None) -> Iterator[Ground]:
    file, public = new_key(directory / "id")
    clock = FakeClock(SystemClock().time())  # keystoneauth compares a token's end with the machine's clock
    config = sim_config(shape, keypairs={"ours": public, "another": new_key(directory / "another")[1]})
    config["ssh"] = {"key-types": ["ed25519"]}
    with running(config, clock.time) as sim:
        written = sim.write_clouds_yaml(directory / "clouds.yaml")
        read = load_clouds(paths=[str(written)], environ={}).get("north", None)
        yield Ground(
            far=sim.world.clouds["north"],
            sim=sim,
            clock=clock,
            settings=replace(read, **(settings or {})),
            key_file=str(file),
            numbers=itertools.count(1),
        )


@pytest.fixture
def nat(tmp_path) -> Iterator[Ground]:
    with ground("nat", tmp_path) as here:
        yield here


# What passes and what does not


@pytest.mark.parametrize("shape", ["direct", "nat", "novafip"])
def test_a_good_image_passes_and_nothing_is_left(shape, tmp_path):
    with ground(shape, tmp_path) as here:
        result = here.canary().try_image(here.trial())
        assert (result.passed, result.reason) == (True, "")
        assert result.output == "zuul@trial-debian-call1: uname -a\n"
        assert 0 < result.seconds < 60
        assert here.left() == NOTHING


def test_the_server_is_as_the_label_says_from_the_fresh_image(nat):
    seen: list[Any] = []

    class Watching(SshShell):
        def run(self, *args: Any, **more: Any) -> Ran:
            seen.extend(nat.servers())
            return super().run(*args, **more)

    pool = Pool(name="main", availability_zones=("nova",), security_groups=("default",))
    trial = nat.trial(pool=pool, boot_from_volume=True, userdata="#!/bin/sh\n")
    assert nat.canary(shell=Watching(SystemClock())).try_image(trial).passed
    (server,) = seen
    assert (server.flavor.name, server.key_name, server.zone) == ("small", "ours", "nova")
    assert (server.image_id, len(server.volumes), bool(server.user_data)) == (None, 1, True)
    assert not any(key.startswith("nodepool_") for key in server.metadata)
    assert nat.left() == NOTHING


def test_a_script_is_fed_to_a_shell(nat):
    script = "set -e\n" + "echo something\n" * 5000
    result = nat.canary().try_image(nat.trial(command=None, script=script))
    assert result.passed
    assert result.output.endswith("echo something\n")
    assert len(result.output) == 8192


@pytest.mark.parametrize(
    ("fault", "reason", "console"),
    [
        (("command-fails", {"status": 3, "message": "no network"}), "the command exited with 3", True),
        (("no-login", {}), "did not come to its end: the login was refused", True),
        (("no-ssh", {}), r"not usable after 5 s \(probing\); last trouble: ", True),
        (("error-server", {"message": "image does not fit"}), "image does not fit", True),
        (("no-address", {}), "has no address", True),
        (
            ("refuse", "compute.POST.servers", {"status": 400, "message": "disk too small"}),
            "disk too small",
            False,
        ),
    ],
)
def test_a_bad_image_does_not_pass_and_nothing_is_left(nat, fault, reason, console):
    kind, *operations, more = fault
    nat.strike(kind, *operations, **more)
    result = nat.canary().try_image(nat.trial(timeout=300.0 if kind == "no-address" else 5.0))
    assert not result.passed
    assert re.search(reason, result.reason)
    assert bool(result.console) is console
    assert result.output == (more["message"] if kind == "command-fails" else "")
    assert nat.left() == NOTHING


def test_a_label_that_the_cloud_cannot_serve_is_told(nat):
    result = nat.canary().try_image(nat.trial(flavor_name="smal"))
    assert (result.passed, result.reason) == (False, "label small: the cloud has no flavor smal")
    assert nat.left() == NOTHING


def test_somebody_elses_key_does_not_get_in(nat):
    result = nat.canary().try_image(nat.trial(key_name="another", timeout=5.0))
    assert result.reason == "the command did not come to its end: the login was refused"


@pytest.mark.parametrize(
    ("known", "words"), [(True, "its host key is not the one"), (False, "no host key of it")]
)
def test_a_server_that_is_not_known_by_its_host_key_is_not_told_anything(nat, known, words):
    class Elsewhere:
        def host_keys(self, *_: Any, **__: Any) -> tuple[str, ...]:
            return (new_key(Path(nat.key_file).with_name("host"))[1],) if known else ()

    result = nat.canary(prober=Elsewhere()).try_image(nat.trial())
    assert words in result.reason
    assert nat.left() == NOTHING


# What could not be found out


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (("quota", {}), OverQuota),
        (("no-valid-host", {}), NoCapacity),
        (("http-503", "compute.POST.servers", {}), CloudUnavailable),
    ],
)
def test_what_says_nothing_of_the_image_is_raised(nat, fault, error):
    kind, *operations, more = fault
    nat.strike(kind, *operations, **more)
    with pytest.raises(error):
        nat.canary().try_image(nat.trial())
    nat.calm()
    assert nat.left() == NOTHING


def test_a_key_that_cannot_be_used_is_told_before_anything_is_made(nat):
    cloud = nat.cloud()
    for bad in ("/nonsense", __file__):
        with pytest.raises(ConfigError, match="SSH key"):
            nat.canary(cloud).try_image(nat.trial(private_key=bad))
    assert not cloud.calls


@pytest.mark.parametrize("when", ["before", "create", "probe", "command"])
def test_a_trial_that_is_cancelled_leaves_nothing(nat, when):
    cancelled = threading.Event()
    real = SshProber(SystemClock())

    class Cancelling:
        def host_keys(self, *args: Any, **more: Any) -> tuple[str, ...]:
            cancelled.set()
            if when == "probe":
                raise ProbeError("not yet")
            return real.host_keys(*args, **more)

    def on_call(call: Any) -> None:
        if when == "create" and call.name == "compute.POST.servers":
            cancelled.set()

    if when == "before":
        cancelled.set()
    nat.strike("command-hangs")
    canary = nat.canary(nat.cloud(on_call=on_call), prober=Cancelling())
    with pytest.raises(CloudUnavailable, match="the trial was ended"):
        canary.try_image(nat.trial(), cancelled=cancelled)
    assert nat.left() == NOTHING


def test_a_result_stands_when_the_server_cannot_be_removed_and_a_sweep_finds_it(nat):
    nat.strike("ignored-delete")
    assert nat.canary().try_image(nat.trial()).passed
    nat.calm()
    assert nat.left()[0] == 1
    nat.clock.advance(LONG)
    assert nat.canary().sweep() == 1
    assert nat.left() == NOTHING


# What a killed process leaves


@pytest.mark.parametrize(
    ("shape", "settings", "options"),
    [
        pytest.param(
            "nat", {"port_mode": "precreate"}, {"boot_from_volume": True}, marks=pytest.mark.integration
        ),
        pytest.param("nat", {}, {"boot_from_volume": True}, marks=pytest.mark.integration),
        pytest.param("direct", {}, {}, marks=pytest.mark.integration),
    ],
)
def test_killed_at_any_call_a_later_sweep_removes_everything(shape, settings, options, tmp_path):
    with ground(shape, tmp_path, settings) as here:
        sweeper = here.canary()
        for nth in itertools.count(1):
            calls = itertools.count(1)

            def die(_: Any, calls: Iterator[int] = calls, nth: int = nth) -> None:
                if next(calls) >= nth:
                    raise Killed

            try:
                here.canary(here.cloud(on_call=die)).try_image(here.trial(**options))
            except Killed:
                assert sweeper.sweep() == 0  # its time is not over: it may be at work
            else:
                break
            here.clock.advance(LONG)
            left = here.left()
            assert sweeper.sweep() == (1 if any(left) else 0), (nth, left)
            assert here.left() == NOTHING, nth
        assert nth > 10


def test_what_looks_like_a_killed_trial_and_is_none_stays(nat):
    over = {META_LIBRARY_UNTIL: str(int(nat.clock.time() - GRACE - 10))}

    def put(name: str, owner: Owner, until: dict[str, str] = over) -> None:
        with nat.far.lock:
            metadata = {**owner.metadata(), **until}
            nat.far.compute.put_foreign(name=name, metadata=metadata, networks=(), flavor=None)

    def mark(deployment: str = DEPLOYMENT, ago: float = GRACE + 10) -> TrialMark:
        return TrialMark(deployment=deployment, until=int(nat.clock.time() - ago), call="c")

    put("another provider's", mark().owner("south"))
    put("another installation's", mark("d-2").owner("north"))
    put("one under way", mark(ago=0).owner("north"))
    put("a program's", Owner(provider="north", node_id="call-1", deployment=LIBRARY))
    put("a node", Owner(provider="north", node_id="0000000001", deployment=DEPLOYMENT))
    put("trial-debian-1", Owner(provider="north", node_id="trial.d-1.1", deployment="d-9"))
    with nat.far.lock:
        nat.far.compute.put_foreign(name="trial-debian-2", metadata={}, networks=(), flavor=None)
    assert nat.canary().sweep() == 0
    put("ours", mark().owner("north"))
    assert nat.canary().sweep() == 1
    names = {server.name for server in nat.servers()}
    assert len(names) == 7
    assert "ours" not in names


def test_what_is_left_is_no_node_and_no_leak_of_a_launcher(nat):
    """And `poolmgr cloud clean` knows it, also while a floating IP makes it look finished."""
    making, _ = nat.canary()._making(nat.trial(), nat.canary()._mark(nat.trial()), threading.Event())
    server = making.run()
    assert server.addresses.floating_v4
    assert server.owner is not None
    assert not server.owner.belongs_to("north", DEPLOYMENT)
    assert {META_NODE_ID, META_PROVIDER}.isdisjoint(server.metadata)
    with Connection(nat.settings, clock=nat.clock, timeouts=TIMEOUTS, reachable_v6=True) as connection:
        assert not connection.leftovers()
        nat.clock.advance(LONG)
        found = connection.leftovers()
        assert [one.id for one in found.servers] == [server.id]
        connection.clean(found)
    assert nat.left() == NOTHING
    assert REMOVAL_TIMEOUT < GRACE  # a trial that still tidies up is left in peace


# The shell alone


@pytest.fixture
def door(nat) -> Callable[..., Door]:
    """A guest's, with its faults."""

    def make(**more: Any) -> Door:
        making, steps = nat.canary()._making(nat.trial(), nat.canary()._mark(nat.trial()), threading.Event())
        server = making.run()
        door = Door(
            address=server.addresses.interface_ip,
            port=nat.sim.ssh_port,
            host_keys=steps[-1].host_keys,
            username="zuul",
            key=private_key(nat.key_file),
        )
        return replace(door, **more)

    return make


def test_a_command_that_never_ends_is_given_up_in_time(nat, door):
    nat.strike("command-hangs")
    shell = SshShell(SystemClock())
    ran = shell.run(door(), command="sleep 1h", timeout=0.7, ended=threading.Event())
    assert (ran.status, ran.output, ran.trouble) == (None, "", "its time was over")


def test_nobody_there_is_told(door):
    shell = SshShell(SystemClock())
    ran = shell.run(door(port=1), command="true", timeout=1.0, ended=threading.Event())
    assert ran.status is None
    assert "refused" in ran.trouble or "Unable to connect" in ran.trouble
