"""How each fault is done and undone."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from kazoo.client import KazooClient
from kazoo.handlers.threading import KazooTimeoutError

from tests.chaos.place import Launcher, Place
from tests.chaos.plan import MORE, Fault, Strike
from tests.chaos.proxy import Wire

HOUR = 3600.0
FULL = Path("/dev/full")
#: By how much a reload lowers the limit of a pool.
LESS = 4
#: What a slow wire takes longer, in seconds, in either direction.
SLOW = 0.3
#: What a server of ZooKeeper says first: length, protocol, timeout, session, length of the password, password.
_GREETING = struct.Struct(">iiiqi16s")

Act = Callable[[Place, Strike], None]


def strike_with(place: Place, strike: Strike) -> None:
    ACTS[strike.fault][0](place, strike)


def heal(place: Place, strike: Strike) -> None:
    """Undo it. May be done though it was undone already."""
    ACTS[strike.fault][1](place, strike)


def _to_launcher(act: Callable[[Launcher], None]) -> Act:
    return lambda place, strike: act(place.launchers[strike.target])


def _wires(*, zookeeper: Wire | None = None, clouds: Wire | None = None) -> Act:
    def act(launcher: Launcher) -> None:
        for proxy in launcher.zookeeper if zookeeper else ():
            proxy.set(zookeeper)
        if clouds:
            launcher.clouds.set(clouds)

    return _to_launcher(act)


def _restart_with(log_path: Path | None) -> Act:
    def act(launcher: Launcher) -> None:
        launcher.stop()
        launcher.start(log_path=log_path)

    return _to_launcher(act)


def _slow(*, zookeeper: float | None = None, clouds: float | None = None) -> Act:
    def act(launcher: Launcher) -> None:
        for proxy in launcher.zookeeper if zookeeper is not None else ():
            proxy.delay = zookeeper
        if clouds is not None:
            launcher.clouds.delay = clouds

    return _to_launcher(act)


def _expire(place: Place, strike: Strike) -> None:
    """Whoever knows a session's number and password can end it; the proxies have heard both."""
    for proxy in place.launchers[strike.target].zookeeper:
        if proxy.connected and len(proxy.greeting) >= _GREETING.size:
            _, _, _, session, _, password = _GREETING.unpack_from(proxy.greeting)
            client = KazooClient(place.zookeeper_hosts, client_id=(session, password), timeout=4.0)
            try:
                client.start(4.0)
                client.stop()  # which closes the session
            except KazooTimeoutError:  # no ZooKeeper just now
                pass
            finally:
                client.close()


def _roll(place: Place, strike: Strike) -> None:
    place.rolling = list(place.launchers.values())


def _nothing(place: Place, strike: Strike) -> None:
    """It is over by itself."""


def _kill_zookeepers(place: Place, names: list[str]) -> None:
    for name in names:
        place.zookeepers[name].kill()


def _start_zookeepers(place: Place, strike: Strike) -> None:
    for server in place.zookeepers.values():
        server.start()


def _limit(place: Place, strike: Strike, *, less: int) -> None:
    configured = next(cloud.max_servers for cloud in place.plan.clouds if cloud.name == strike.target)
    place.write_config(limits={strike.target: configured - less})


def _fault(place: Place, strike: Strike, **fault: object) -> None:
    place.sim(f"{strike.target}/faults", fault)


def _heal_cloud(place: Place, strike: Strike) -> None:
    place.sim(f"{strike.target}/faults", method="DELETE")


def _api(place: Place, strike: Strike) -> None:
    _fault(place, strike, kind=strike.kind, probability=0.1, **MORE.get(strike.kind, {}))


_START = _to_launcher(Launcher.start)
ACTS: Mapping[Fault, tuple[Act, Act]] = {
    Fault.KILL: (_to_launcher(Launcher.kill), _START),
    Fault.RESTART: (_to_launcher(Launcher.leave), _START),
    Fault.ROLLING: (_roll, _nothing),
    Fault.EXPIRE: (_expire, _nothing),
    Fault.FREEZE: (_to_launcher(Launcher.freeze), _to_launcher(Launcher.thaw)),
    Fault.CLOCK: (
        _to_launcher(lambda one: one.set_clock(HOUR)),
        _to_launcher(lambda one: one.set_clock(0.0)),
    ),
    Fault.CLOCK_BACK: (
        _to_launcher(lambda one: one.set_clock(-HOUR)),
        _to_launcher(lambda one: one.set_clock(0.0)),
    ),
    Fault.LOG_FULL: (_restart_with(FULL), _restart_with(None)),
    Fault.RELOAD: (partial(_limit, less=LESS), partial(_limit, less=0)),
    Fault.BAD_FILE: (lambda place, _: place.spoil_config(), lambda place, _: place.write_config()),
    Fault.ZK_CUT: (_wires(zookeeper=Wire.CUT), _wires(zookeeper=Wire.WHOLE)),
    Fault.ZK_STALL: (_wires(zookeeper=Wire.STALLED), _wires(zookeeper=Wire.WHOLE)),
    Fault.CLOUD_CUT: (_wires(clouds=Wire.CUT), _wires(clouds=Wire.WHOLE)),
    Fault.CLOUD_STALL: (_wires(clouds=Wire.STALLED), _wires(clouds=Wire.WHOLE)),
    Fault.ZK_SLOW: (_slow(zookeeper=SLOW), _slow(zookeeper=0.0)),
    Fault.CLOUD_SLOW: (_slow(clouds=SLOW), _slow(clouds=0.0)),
    Fault.CLOUD_RESET: (_to_launcher(lambda one: one.clouds.reset()), _nothing),
    Fault.ZK_MEMBER: (lambda place, strike: _kill_zookeepers(place, [strike.target]), _start_zookeepers),
    Fault.ZK_LEADER: (
        lambda place, _: _kill_zookeepers(place, [place.leader() or next(iter(place.zookeepers))]),
        _start_zookeepers,
    ),
    Fault.ZK_ALL: (lambda place, _: _kill_zookeepers(place, list(place.zookeepers)), _start_zookeepers),
    Fault.CLOUD_HANG: (partial(_fault, kind="hang", seconds=3600), _heal_cloud),
    Fault.CLOUD_GARBAGE: (partial(_fault, kind="garbage"), _heal_cloud),
    Fault.API: (_api, _heal_cloud),
}
