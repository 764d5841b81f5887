"""How each fault is done and undone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from tests.chaos.place import Launcher, Place
from tests.chaos.plan import MORE, Fault, Strike
from tests.chaos.proxy import Wire

HOUR = 3600.0
FULL = Path("/dev/full")
#: By how much a reload lowers the limit of a pool.
LESS = 4

Act = Callable[[Place, Strike], None]


def strike_with(place: Place, strike: Strike) -> None:
    _ACTS[strike.fault][0](place, strike)


def heal(place: Place, strike: Strike) -> None:
    """Undo it. May be done though it was undone already."""
    _ACTS[strike.fault][1](place, strike)


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
_ACTS: Mapping[Fault, tuple[Act, Act]] = {
    Fault.KILL: (_to_launcher(Launcher.kill), _START),
    Fault.RESTART: (_to_launcher(Launcher.stop), _START),
    Fault.FREEZE: (_to_launcher(Launcher.freeze), _to_launcher(Launcher.thaw)),
    Fault.CLOCK: (
        _to_launcher(lambda one: one.set_clock(HOUR)),
        _to_launcher(lambda one: one.set_clock(0.0)),
    ),
    Fault.LOG_FULL: (_restart_with(FULL), _restart_with(None)),
    Fault.RELOAD: (partial(_limit, less=LESS), partial(_limit, less=0)),
    Fault.BAD_FILE: (lambda place, _: place.spoil_config(), lambda place, _: place.write_config()),
    Fault.ZK_CUT: (_wires(zookeeper=Wire.CUT), _wires(zookeeper=Wire.WHOLE)),
    Fault.ZK_STALL: (_wires(zookeeper=Wire.STALLED), _wires(zookeeper=Wire.WHOLE)),
    Fault.CLOUD_CUT: (_wires(clouds=Wire.CUT), _wires(clouds=Wire.WHOLE)),
    Fault.CLOUD_STALL: (_wires(clouds=Wire.STALLED), _wires(clouds=Wire.WHOLE)),
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
