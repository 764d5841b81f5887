"""What will become of a new server: settled at its create call, from chance and from the faults that strike it."""

from __future__ import annotations

import random
from dataclasses import dataclass

from poolmgr.simcloud.fault_texts import TEXTS
from poolmgr.simcloud.faults import FaultKind, Trouble
from poolmgr.simcloud.settings import Boot
from poolmgr.simcloud.things import Guest


@dataclass(frozen=True, kw_only=True)
class Fate:
    """Durations in seconds. `failure` None: it does not fail; `unscheduled`: it fails before it has a host."""

    boot: float
    failure: tuple[int, str] | None = None  # code, message
    unscheduled: bool = False
    stuck: bool = False
    addressless: bool = False
    addresses_after: float = 0.0  # from ACTIVE on
    ssh_after: float | None = None  # from ACTIVE on; None: nothing ever answers
    leaks_ports: bool = False


def fate_of(trouble: Trouble, boot: Boot, rng: random.Random, *, room: bool) -> Fate:
    """`room`: its zone has hosts for it."""
    seconds = boot_time(boot, rng)
    if trouble.of(FaultKind.NO_VALID_HOST) or not room:
        message = TEXTS["no-valid-host"].message
        return Fate(boot=seconds, failure=(500, message), unscheduled=True)
    error, late = trouble.of(FaultKind.ERROR_SERVER), trouble.of(FaultKind.LATE_ADDRESS)
    return Fate(
        boot=seconds,
        failure=(error.status, error.words) if error else None,
        stuck=trouble.of(FaultKind.STUCK_BUILD) is not None,
        addressless=trouble.of(FaultKind.NO_ADDRESS) is not None,
        addresses_after=late.delay if late else 0.0,
        ssh_after=None if trouble.of(FaultKind.NO_SSH) else boot.ssh,
        leaks_ports=trouble.of(FaultKind.LEAKED_PORT) is not None,
    )


def guest_of(trouble: Trouble) -> Guest:
    """What becomes of commands on it."""
    failure = trouble.of(FaultKind.COMMAND_FAILS)
    return Guest(
        status=failure.status if failure else 0,
        says=failure.words if failure else "",
        hangs=trouble.of(FaultKind.COMMAND_HANGS) is not None,
        locked=trouble.of(FaultKind.NO_LOGIN) is not None,
    )


def boot_time(boot: Boot, rng: random.Random) -> float:
    """Seconds from the create call to ACTIVE."""
    if boot.distribution == "exponential":
        return boot.seconds + (rng.expovariate(1 / boot.spread) if boot.spread > 0 else 0.0)
    if boot.distribution == "normal":
        return max(0.0, rng.gauss(boot.seconds, boot.spread / 2))
    return max(0.0, boot.seconds + rng.uniform(-boot.spread, boot.spread))
