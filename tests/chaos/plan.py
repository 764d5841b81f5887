"""What goes wrong, where and when: made from a seed before the run, so that a run can be replayed. Pure."""

from __future__ import annotations

import enum
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

#: Kinds of simcloud's faults that a cloud without image uploads can show, by what each does to the launcher.
API_FAULTS = (
    "http-500", "http-503", "throttle", "refuse", "drop", "slow", "lost-answer", "expired-token", "garbage",
    "policy", "cut", "wrong-date", "guarded", "multiple-choices", "odd-versions", "repeated-page", "link-header",
    "stale-list", "quota", "no-valid-host", "error-server", "stuck-build", "no-address", "late-address", "no-ssh",
    "ignored-delete", "error-delete", "stuck-delete", "unforced-delete", "slow-delete", "soft-delete", "leaked-port",
    "down-floating-ip", "stolen-floating-ip", "down-cell", "missing", "redirect", "wrong-links", "foreign-next", "hang",
)  # fmt: skip
#: Those of simcloud that are about images, volumes and commands on guests: nothing here makes any.
ELSEWHERE = (
    "no-chunked", "no-login", "command-fails", "command-hangs", "leaked-volume", "stuck-volume",
    "error-volume", "failed-task", "slow-image", "late-image", "converted-image", "short-image", "stuck-import",
    "failed-import", "image-in-use",
)  # fmt: skip
#: What some of them need besides, for a run in minutes.
MORE: dict[str, dict[str, object]] = {
    "hang": {"seconds": 60},
    "slow": {"seconds": 2},
    "slow-delete": {"seconds": 15},
    "soft-delete": {"seconds": 20},
    "redirect": {"message": "http://127.0.0.1:9/"},
    "wrong-links": {"message": "http://127.0.0.1:9/"},
    "foreign-next": {"message": "http://127.0.0.1:9/"},
    "refuse": {"status": 409, "message": "Conflict"},
    "throttle": {"retry_after": 1},
    "down-floating-ip": {"seconds": 5},
    "stolen-floating-ip": {"seconds": 1},
}


class Fault(enum.Enum):
    """The value is its name in plans and reports. `target`: a launcher, a ZooKeeper server or a cloud."""

    KILL = "kill"  # a launcher by SIGKILL, started again after `seconds`
    RESTART = "restart"  # a launcher by SIGTERM, started again
    FREEZE = "freeze"  # a launcher by SIGSTOP, SIGCONT after `seconds`, longer than its session lives
    CLOCK = "clock"  # a launcher's wall clock jumps ahead by an hour, and back after `seconds`
    CLOCK_BACK = "clock-back"  # the same, the other way
    ROLLING = "rolling"  # each launcher by SIGTERM, and started again, one after the other
    EXPIRE = "expire"  # a launcher's ZooKeeper session is ended by somebody else
    LOG_FULL = "log-full"  # a launcher is started again with its log on a full disk
    RELOAD = "reload"  # the launchers' file changes: the limit of `target`, a cloud, and back after `seconds`
    BAD_FILE = "bad-file"  # the launchers' file makes no sense for `seconds`
    ZK_CUT = "zk-cut"  # connections of a launcher to ZooKeeper break and are refused
    ZK_STALL = "zk-stall"  # they carry nothing: the session expires
    ZK_SLOW = "zk-slow"  # they are slow
    CLOUD_CUT = "cloud-cut"
    CLOUD_STALL = "cloud-stall"
    CLOUD_SLOW = "cloud-slow"
    CLOUD_RESET = "cloud-reset"  # they break, once
    ZK_MEMBER = "zk-member"  # a server by SIGKILL, started again after `seconds`
    ZK_LEADER = "zk-leader"  # the leader, whoever that is then
    ZK_ALL = "zk-all"  # all servers at once
    CLOUD_HANG = "cloud-hang"  # no call of a cloud is answered
    CLOUD_GARBAGE = "cloud-garbage"  # every call of a cloud is answered by an HTML page
    API = "api"  # `kind` strikes a tenth of the calls of a cloud that it is about


#: How often each comes, relative to the others.
WEIGHTS = {
    Fault.KILL: 5, Fault.RESTART: 2, Fault.FREEZE: 3, Fault.CLOCK: 1, Fault.LOG_FULL: 1, Fault.RELOAD: 1,
    Fault.BAD_FILE: 1, Fault.ZK_CUT: 2, Fault.ZK_STALL: 2, Fault.CLOUD_CUT: 2, Fault.CLOUD_STALL: 2,
    Fault.ZK_MEMBER: 1, Fault.ZK_LEADER: 2, Fault.ZK_ALL: 1, Fault.CLOUD_HANG: 2, Fault.CLOUD_GARBAGE: 1,
    Fault.API: 12, Fault.CLOCK_BACK: 1, Fault.ROLLING: 1, Fault.EXPIRE: 2, Fault.ZK_SLOW: 1, Fault.CLOUD_SLOW: 1,
    Fault.CLOUD_RESET: 2,
}  # fmt: skip
_OF_LAUNCHERS = frozenset({
    Fault.KILL, Fault.RESTART, Fault.FREEZE, Fault.CLOCK, Fault.LOG_FULL, Fault.ZK_CUT, Fault.ZK_STALL,
    Fault.CLOUD_CUT, Fault.CLOUD_STALL, Fault.CLOCK_BACK, Fault.EXPIRE, Fault.ZK_SLOW, Fault.CLOUD_SLOW,
    Fault.CLOUD_RESET,
})  # fmt: skip
_OF_ZOOKEEPER = frozenset({Fault.ZK_MEMBER, Fault.ZK_LEADER, Fault.ZK_ALL})
#: Those that write the launchers' file.
_OF_FILE = frozenset({Fault.RELOAD, Fault.BAD_FILE})
#: How long each lasts, in seconds: from, to.
_LASTS = {
    Fault.KILL: (0.0, 8.0),
    Fault.RESTART: (0.0, 8.0),
    Fault.ROLLING: (20.0, 30.0),
    Fault.EXPIRE: (1.0, 1.0),
    Fault.CLOUD_RESET: (1.0, 1.0),
    Fault.ZK_MEMBER: (2.0, 8.0),
    Fault.ZK_LEADER: (2.0, 8.0),
    Fault.ZK_ALL: (1.0, 4.0),
    Fault.API: (10.0, 25.0),
}
_USUALLY = (4.0, 15.0)
#: How long a part is left alone afterwards, in seconds: servers of ZooKeeper have to find each other.
_REST = dict.fromkeys(_OF_ZOOKEEPER, 15.0)


@dataclass(frozen=True, kw_only=True)
class Strike:
    """One thing that goes wrong. Seconds since the run began."""

    at: float
    fault: Fault
    target: str
    seconds: float
    kind: str = ""  # of Fault.API


def make_plan(
    seed: int,
    *,
    seconds: float,
    launchers: Sequence[str],
    zookeepers: Sequence[str],
    clouds: Sequence[str],
    faults: Iterable[Fault] = tuple(Fault),
    pause: float = 5.0,
) -> tuple[Strike, ...]:
    """Strikes from the 5th second until `seconds`, in order of time, `pause` seconds apart on average.

    What hits one part comes one at a time, so that the end of one fault is not taken for that of another; so does what
    hits ZooKeeper's servers, as they need a majority. With enough time each fault comes once.
    """
    rng = random.Random(seed)
    allowed = [fault for fault in Fault if fault in set(faults)]
    deck: list[Fault] = []
    kinds: list[str] = []
    strikes: list[Strike] = []
    at = 5.0
    free_at: dict[str, float] = {}
    while at < seconds:
        if not deck:  # each fault comes once before any comes again, in another order each time
            more = [fault for fault in allowed for _ in range(WEIGHTS[fault] - 1)]
            deck = [*rng.sample(more, len(more)), *rng.sample(allowed, len(allowed))]
        fault = deck.pop()
        lasts = rng.uniform(*_LASTS.get(fault, _USUALLY))
        kind = ""
        if fault is Fault.API:
            if not kinds:
                kinds = rng.sample(API_FAULTS, len(API_FAULTS))
            kind = kinds.pop()
        target = rng.choice(_targets(fault, launchers, zookeepers, clouds))
        touched = _touched(fault, target, launchers)
        begins = max(at, *(free_at.get(part, 0.0) for part in touched))
        if begins >= seconds:
            at += rng.uniform(0.2, 2.0 * pause - 0.2)
            continue
        free_at.update(dict.fromkeys(touched, begins + lasts + _REST.get(fault, 0.5)))
        strikes.append(
            Strike(at=round(begins, 2), fault=fault, target=target, seconds=round(lasts, 2), kind=kind)
        )
        at += rng.uniform(0.2, 2.0 * pause - 0.2)
    return tuple(sorted(strikes, key=lambda strike: strike.at))


def to_json(strikes: Iterable[Strike]) -> str:
    return json.dumps([{**asdict(one), "fault": one.fault.value} for one in strikes], indent=1) + "\n"


def from_json(text: str) -> tuple[Strike, ...]:
    return tuple(Strike(**{**one, "fault": Fault(one["fault"])}) for one in json.loads(text))


def _touched(fault: Fault, target: str, launchers: Sequence[str]) -> Sequence[str]:
    """The parts that nothing else may strike meanwhile."""
    if fault in _OF_ZOOKEEPER:
        return ["zookeeper"]
    if fault in _OF_FILE:
        return ["file"]
    return list(launchers) if fault is Fault.ROLLING else [target]


def _targets(
    fault: Fault, launchers: Sequence[str], zookeepers: Sequence[str], clouds: Sequence[str]
) -> Sequence[str]:
    if fault in _OF_LAUNCHERS:
        return launchers
    if fault is Fault.ZK_MEMBER:
        return zookeepers
    if fault in (Fault.ZK_LEADER, Fault.ZK_ALL):
        return ["zookeeper"]
    if fault is Fault.BAD_FILE:
        return ["file"]
    if fault is Fault.ROLLING:
        return ["fleet"]
    return clouds
