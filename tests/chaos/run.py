"""One run: a site, a plan of what breaks, traffic, and somebody who looks whether every promise is kept."""

from __future__ import annotations

import json
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from poolmgr.cli.demo.flow import send_away
from poolmgr.cli.session import connect
from poolmgr.config.load import load
from poolmgr.errors import StoreError
from poolmgr.model.node import NodeState
from poolmgr.runtime.clock import SystemClock
from poolmgr.store.api import Store
from poolmgr.wiring import open_store
from tests.chaos import violations as rules
from tests.chaos.breaking import heal, strike_with
from tests.chaos.ci import Ci
from tests.chaos.observer import Away, Observer
from tests.chaos.place import MAX_CORES, SESSION_TIMEOUT, Place
from tests.chaos.plan import Fault, Strike

LOOK_EVERY = 1.0
TELL_EVERY = 10.0
#: What is over for so long cannot be the cause of a request's failure.
AFTERMATH = 60.0
#: For all requests to be served, and then for everything to go, once nothing is broken any more.
SETTLE_TIMEOUT = 150.0
EMPTY_TIMEOUT = 180.0
#: Of each launcher's log, for each violation.
EVIDENCE_LINES = 30
#: Requests and nodes, and things in clouds.
_IDS = re.compile(r"[0-9]{3}-[0-9]{10}|[0-9]{10}|[0-9a-f]{8}-[0-9a-f-]{27}")
#: Faults that let a launch fail; the others may delay one.
_OF_LAUNCHES = frozenset(
    {
        Fault.API,
        Fault.CLOUD_HANG,
        Fault.CLOUD_GARBAGE,
        Fault.CLOUD_CUT,
        Fault.CLOUD_STALL,
        Fault.CLOCK,
        Fault.CLOCK_BACK,
    }
)


@dataclass
class Violation:
    at: float  # seconds since the run began
    words: str


@dataclass
class Run:
    """`tell` takes lines for people. Use `go`; what was found is in `violations` and `summary`."""

    place: Place
    plan: Sequence[Strike]
    seconds: float
    seed: int
    rate: float
    outstanding: int
    tell: Callable[[str], None]
    violations: list[Violation] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._began = time.monotonic()
        self._due = sorted(self.plan, key=lambda strike: strike.at)
        self._undo: list[tuple[float, Strike]] = []
        self._struck: Counter[str] = Counter()
        self._blame: list[tuple[float, float]] = []  # when launches could fail: from, until
        self._limits = rules.Standing(seconds=4.0)
        self._twice = rules.Standing(seconds=SESSION_TIMEOUT)
        self._twins = rules.Standing(seconds=45.0)
        self._again = rules.Standing(seconds=1.5)
        self._taken = rules.Standing(seconds=1.5)
        self._broken = rules.Standing(seconds=3.0)
        self._bare = rules.Standing(seconds=15.0)
        self._leaked = rules.Standing(seconds=90.0)
        self._healed = False
        self._next_look = self._next_tell = 0.0
        self._looks = 0
        self._creates = 0

    @property
    def now(self) -> float:
        return time.monotonic() - self._began

    def go(self) -> bool:
        """Whether no promise was broken."""
        self.place.start()
        self._began = time.monotonic()
        self._store = self._connect()
        self._observer = Observer(self.place)
        self._ci = Ci(
            self.place,
            self._store,
            seed=self.seed,
            rate=self.rate,
            outstanding=self.outstanding,
            hold=(0.5, 4.0),
            violation=self._violation,
            may_fail=self._may_fail,
        )
        try:
            while self.now < self.seconds:
                self._tick("breaking")
            self._heal_all()
            self._settle()
            self._empty()
        finally:
            self._ci.close()
            self._observer.close()
            self._store.close()
        return not self.violations

    def summary(self) -> dict[str, Any]:
        tally = self._ci.tally
        latencies = sorted(tally.latencies) or [0.0]
        return {
            "seed": self.seed,
            "minutes": round(self.now / 60.0, 1),
            "launchers": len(self.place.launchers),
            "zookeepers": len(self.place.zookeepers),
            "clouds": len(self.place.plan.clouds),
            "faults": dict(sorted(self._struck.items())),
            "requests": {
                "submitted": tally.submitted,
                "fulfilled": tally.fulfilled,
                "cancelled": tally.cancelled,
                "failed": tally.failed,
                "put on hold (nodes)": tally.on_hold,
                "lost with our own session": tally.own_losses,
            },
            "failures": dict(self._ci.failures),
            "nodes handed over": tally.nodes,
            "servers created": self._creates,
            "servers created per node handed over": round(self._creates / tally.nodes, 2)
            if tally.nodes
            else None,
            "adoptions": self._logged("adopted"),
            "seconds to fulfil": {
                "median": round(statistics.median(latencies), 1),
                "p95": round(latencies[int(len(latencies) * 0.95) - 1], 1),
                "most": round(latencies[-1], 1),
            },
            "looks": self._looks,
            "tracebacks in logs": self._logged("Traceback (most recent call last)"),
            "violations": [f"{one.at:.1f} s: {one.words}" for one in self.violations],
            "evidence": {one.words: self._evidence(one) for one in self.violations},
        }

    # Each moment

    def _tick(self, phase: str) -> None:
        self._break()
        self._mend(self.now)
        self.place.tend()
        self._ci.step()
        if self.now >= self._next_look:
            self._next_look = self.now + LOOK_EVERY
            self._look()
        if self.now >= self._next_tell:
            self._next_tell = self.now + TELL_EVERY
            tally = self._ci.tally
            counts = f"{tally.submitted} asked, {tally.fulfilled} served, {tally.cancelled} cancelled"
            others = f"{tally.failed} failed, {len(self._ci.open)} open; {sum(self._struck.values())} faults"
            self.tell(f"{self.now:6.1f} s {phase}: {counts}, {others}, {len(self.violations)} violations")
        self._ci.wait(0.1)

    def _look(self) -> None:
        for launcher in self.place.launchers.values():
            bad = self.place.config_is_bad
            why = None if bad else launcher.ended_by_itself()
            if why is not None:
                if "not YAML" not in why and "full disk" not in why:
                    self._violation(why)
                launcher.start()
        before = self._ci.in_use
        try:
            look = self._observer.look()
        except Away:
            return
        after = self._ci.in_use
        held = {node: request for node, request in before.items() if after.get(node) == request}
        self._looks += 1
        limits = {cloud.name: cloud.max_servers for cloud in self.place.plan.clouds}
        self._all("(1) ", rules.given_twice(look))
        self._all("(6) ", self._limits.judge(
            [
                *rules.over_pool_limits(look, limits),
                *rules.over_core_limits(look, dict.fromkeys(limits, MAX_CORES)),
                *rules.over_tenant_limits(look, self.place.plan.tenants),
            ],
            look.at,
        ))  # fmt: skip
        self._all("(2) ", self._broken.judge(rules.promises_broken(look), look.at))
        self._all("(4) ", self._bare.judge(rules.without_server(look), look.at))
        if self._healed:
            self._all("(4) ", self._leaked.judge(rules.without_record(look), look.at))
        self._all("(7) ", self._taken.judge(rules.in_use_gone(look, held), look.at))
        self._all("(8) ", self._again.judge(rules.built_again(look), look.at))
        self._all("(8) ", self._twice.judge(rules.owned_twice(look), look.at))
        self._all("(8) ", self._twins.judge(rules.twins(look), look.at))
        for cloud, servers in look.servers.items():
            before = self.place.foreign[cloud]["servers"]
            self._all(
                "(5) ", rules.foreign_gone(cloud, "server", before, [server["id"] for server in servers])
            )
            self.place.foreign[cloud]["servers"] = before & {server["id"] for server in servers}

    def _all(self, number: str, found: Iterable[str]) -> None:
        for words in found:
            self._violation(number + words)

    def _violation(self, words: str) -> None:
        self.violations.append(Violation(self.now, words))
        self.tell(f"{self.now:6.1f} s VIOLATION {words}")

    def _may_fail(self, since: float) -> bool:
        began = since - self._began
        return any(until + AFTERMATH >= began for _, until in self._blame)

    # Breaking

    def _break(self) -> None:
        while self._due and self._due[0].at <= self.now:
            strike = self._due.pop(0)
            self._struck[f"{strike.fault.value} {strike.kind}".strip()] += 1
            if strike.fault in _OF_LAUNCHES:
                self._blame.append((self.now, self.now + strike.seconds))
            self.tell(
                f"{self.now:6.1f} s {strike.fault.value} {strike.kind} {strike.target} for {strike.seconds:.1f} s"
            )
            strike_with(self.place, strike)
            self._undo.append((self.now + strike.seconds, strike))

    def _mend(self, now: float) -> None:
        over = [strike for until, strike in self._undo if until <= now]
        self._undo = [(until, strike) for until, strike in self._undo if until > now]
        for strike in over:
            heal(self.place, strike)

    def _heal_all(self) -> None:
        self.tell(f"{self.now:6.1f} s nothing is broken from here on")
        self._due.clear()
        self._healed = True
        self.place.rolling.clear()
        self._mend(float("inf"))
        for launcher in self.place.launchers.values():
            launcher.start()

    # The end

    def _settle(self) -> None:
        """(3) Every request is served, or fails with a cause."""
        self._ci.asking = False
        until = self.now + SETTLE_TIMEOUT
        while self._ci.open and self.now < until:
            self._tick("settling")
        for order in self._ci.open:
            state = order.request.state.value
            self._violation(
                f"(3) request {order.request.id} {order.wanted.labels} is {order.stage.value} ({state}) for ever"
            )

    def _empty(self) -> None:
        """(4) Nothing is wanted any more: everything has to go."""
        self.place.write_config(ready=False)
        until = self.now + EMPTY_TIMEOUT
        left = ["nobody has looked"]
        while left and self.now < until:
            self._send_away()
            self._tick("emptying")
            try:
                left = rules.left_over(self._observer.look(), self._observer.counts())
            except Away:
                continue
        self._all("(4) ", left)
        for cloud in self.place.plan.clouds:
            self._creates += int(self.place.sim(f"{cloud.name}/calls").get("compute.POST.servers", 0))
            for kind, before in self.place.foreign[cloud.name].items():
                now = [thing["id"] for thing in self.place.sim(f"{cloud.name}/{kind}")]
                self._all("(5) ", rules.foreign_gone(cloud.name, kind, before, now))
        for launcher in self.place.launchers.values():
            launcher.stop()
            self._all("", launcher.stops)

    def _send_away(self) -> None:
        with self._store.reading() as snapshot:
            ready = [n.id for n in snapshot.nodes() if n.state is NodeState.READY and not n.allocated_to]
        for node_id in ready:
            try:
                send_away(self._store, node_id, at=time.time())
            except StoreError:
                return

    def _connect(self) -> Store:
        """Our own connection goes round the proxies, and its session outlives any fault."""
        path = self.place.directory / "ci.yaml"
        servers = [{"host": "127.0.0.1", "port": server.port} for server in self.place.zookeepers.values()]
        path.write_text(
            json.dumps({"zookeeper-servers": servers, "zookeeper-plaintext": True, "zookeeper-timeout": 60})
        )
        settings = load(str(path), environ={}).settings
        store = open_store(settings)
        connect(store, settings, SystemClock(), 60.0)
        return store

    def _evidence(self, violation: Violation) -> list[str]:
        """What the launchers' logs say of the requests, nodes and servers that it names: the last lines of each."""
        found: list[str] = []
        ids = _IDS.findall(violation.words)
        for launcher in self.place.launchers.values():
            lines = (
                launcher.log_path.read_text(errors="replace").splitlines()
                if launcher.log_path.exists()
                else []
            )
            about = [line for line in lines if any(one in line for one in ids)]
            found += [f"{launcher.name}: {line}" for line in about[-EVIDENCE_LINES:]]
        return found

    def _logged(self, words: str) -> int:
        paths = [launcher.log_path for launcher in self.place.launchers.values()]
        return sum(path.read_text(errors="replace").count(words) for path in paths if path.exists())
