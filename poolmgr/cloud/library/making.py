"""Making one server: the acting half of `policy.launch`, in the thread of whoever wants the server.

What to do next is judged by the same rules as a launcher's; here it is only done, one thing after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from poolmgr.cloud.library.parts import Parts
from poolmgr.cloud.library.records import Progress, Reach, Stage
from poolmgr.errors import (
    CloudError,
    CloudUnavailable,
    ImageGone,
    NoCapacity,
    NotFound,
    OutcomeUnknown,
    OverQuota,
    ProbeError,
    ServerFailed,
)
from poolmgr.model.server import (
    LIBRARY,
    META_LIBRARY_READY,
    Listing,
    Owner,
    Server,
    ServerStatus,
)
from poolmgr.model.trouble import Trouble
from poolmgr.policy.launch import (
    Adopt,
    Create,
    Expose,
    Fail,
    LaunchFacts,
    Phase,
    Probe,
    Result,
    Wait,
    next_step,
    result_of_fault,
)

CALL_AGAIN = 5.0  # seconds after a call that was not answered
CONSOLE_TAIL = 40  # lines kept of the console of a server that failed

_ERRORS: dict[Result, type[CloudError]] = {
    Result.QUOTA: OverQuota,
    Result.CAPACITY: NoCapacity,
    Result.IMAGE: ImageGone,
    Result.UNKNOWN: CloudUnavailable,  # settled: nothing came of the call
}


class Making:
    """One server on its way; for one thread. After an error `server_id` and `unknown_since` say what may be there.

    `create` asks the cloud for it and returns its id. `on_volume`: it boots from a volume, made with it.
    """

    def __init__(
        self,
        parts: Parts,
        create: Callable[[], str],
        *,
        name: str,
        owner: Owner,
        on_volume: bool,
        auto_ip: bool,
        reach: Reach | None,
        timeout: float,
        tell: Callable[[Progress], None],
    ) -> None:
        now = parts.clock.monotonic()
        self._parts = parts
        self._create_server = create
        self._name = name
        self._auto_ip = auto_ip
        self._reach = reach
        self._timeout = timeout
        self._tell = tell
        self._facts = LaunchFacts(node_id=owner.node_id, since=now, attempt_since=now)
        self._listing: Listing[Server] | None = None
        self._before: Listing[Server] | None = None
        self._building = False
        self._active_at: float | None = None
        self._server: Server | None = None  # with its addresses
        self._made = False
        self._trouble = ""  # the last error that we did not give up for
        self.owner = owner
        self.on_volume = on_volume
        self.volumes: frozenset[str] = frozenset()  # seen on the server before anyone could add one

    @property
    def server_id(self) -> str | None:
        """None while the cloud has not named the server."""
        return self._facts.server_id

    @property
    def unknown_since(self) -> float | None:
        """When a create call was cut off whose server, if there is one, we do not know (monotonic seconds)."""
        match self._facts.phase:
            case Phase.CREATING:
                return self._parts.clock.monotonic()
            case Phase.UNKNOWN:
                return self._facts.since
        return None

    def begin(self) -> str:
        """Have the cloud accept the server; its id."""
        while self._facts.server_id is None:
            self._step()
        return self._facts.server_id

    def run(self) -> Server:
        """The server when it is ACTIVE, has its addresses and answers as was wished."""
        while not self._made or self._server is None:
            self._step()
        return self._server

    def _step(self) -> None:
        step = next_step(
            self._facts,
            self._listing,
            now=self._parts.clock.monotonic(),
            launch_timeout=self._timeout,
            boot_timeout=self._timeout,
            tuning=self._parts.tuning,
            provider=LIBRARY,
            deployment=LIBRARY,
            before=self._before,
        )
        match step:
            case Create():
                self._create()
            case Adopt(server=server):
                self._accepted(server.id)
            case Expose(server=server):
                self._expose(server)
            case Probe():
                self._probe()
            case Wait(until=until):
                self._wait(until)
            case Fail(unexplained=Server() as server):
                raise self._unexplained(server)
            case Fail(result=result, reason=reason):
                raise self._failure(result, reason)

    def _create(self) -> None:
        self._facts = replace(self._facts, phase=Phase.CREATING, busy=True)
        try:
            server_id = self._create_server()
        except OutcomeUnknown as error:
            self._trouble = str(error)
            now = self._parts.clock.monotonic()
            self._facts = replace(self._facts, phase=Phase.UNKNOWN, since=now, busy=False)
        except CloudError as error:  # nothing was made
            self._facts = replace(self._facts, phase=Phase.NEW, busy=False)
            self._again_later(error)
        else:
            self._accepted(server_id)

    def _accepted(self, server_id: str) -> None:
        now = self._parts.clock.monotonic()
        self._facts = replace(self._facts, phase=Phase.BOOTING, since=now, server_id=server_id, busy=False)
        self.say(Stage.ACCEPTED, server_id)

    def _wait(self, until: float) -> None:
        if self._facts.phase not in (Phase.UNKNOWN, Phase.BOOTING):
            self._parts.pause(until - self._parts.clock.monotonic())
            return
        deadline = self._facts.attempt_since + self._timeout
        listing = self._parts.servers.next(self._listing, deadline=deadline)
        self._before, self._listing = self._listing, listing
        server = listing.items.get(self._facts.server_id or "")
        if server is not None and not self._active_at:
            self.volumes |= frozenset(server.volumes)
            if server.status is ServerStatus.BUILD and not self._building:
                self._building = True
                self.say(Stage.BUILDING)

    def _expose(self, server: Server) -> None:
        now = self._parts.clock.monotonic()
        if self._active_at is None:
            self._active_at = now
            self.say(Stage.ACTIVE)
        try:
            server = self._with_addresses(server)
        except NotFound as error:
            raise self._failure(Result.STATUS, "it vanished before it had an address") from error
        except CloudError as error:
            self._again_later(error)
            return
        if not server.addresses.interface_ip:
            if now - self._active_at > self._parts.tuning.address_grace:
                raise self._failure(Result.NETWORK, "it is ACTIVE and has no address")
            self._facts = replace(self._facts, not_before=now + 1.0)
            return
        self._server = server
        floating = " (floating IP)" if server.addresses.floating_v4 else ""
        self.say(Stage.ADDRESS, f"{server.addresses.interface_ip}{floating}")
        if self._reach is None:
            self._finish()
        else:
            self._facts = replace(self._facts, phase=Phase.PROBING, since=now, not_before=now)

    def _with_addresses(self, server: Server) -> Server:
        cloud, clock = self._parts.cloud, self._parts.clock
        if self.on_volume and server.volumes:
            cloud.mark_volumes(server, owner=self.owner)
        waited = clock.monotonic() - (self._active_at or 0.0)
        if not server.addresses.interface_ip and waited > self._parts.tuning.address_grace:
            server = cloud.get_server(server.id)  # which looks at its ports too
        addresses = cloud.expose(server, owner=self.owner, auto_floating_ip=self._auto_ip)
        return replace(server, addresses=addresses)

    def _probe(self) -> None:
        assert self._server is not None
        assert self._reach is not None
        tuning, clock = self._parts.tuning, self._parts.clock
        left = self._facts.attempt_since + self._timeout - clock.monotonic()
        try:
            keys = self._parts.prober().host_keys(
                self._server.addresses.interface_ip,
                self._reach.port,
                connection_type="ssh" if self._reach.ssh else "tcp",
                timeout=min(tuning.probe_timeout, left),
            )
        except ProbeError as error:
            self._trouble = str(error)
            self._facts = replace(self._facts, not_before=clock.monotonic() + tuning.probe_interval)
            return
        self.say(Stage.REACHABLE, f"port {self._reach.port}", host_keys=keys)
        self._finish()

    def _finish(self) -> None:
        """Leave the proof that this call came to its end, if no floating IP is one (`policy.leftovers`)."""
        assert self._server is not None
        if not self._server.addresses.floating_v4 and META_LIBRARY_READY not in self._server.metadata:
            mark = {META_LIBRARY_READY: "yes"}
            self._mark(self._server, mark)
            self._server = replace(self._server, metadata={**self._server.metadata, **mark})
        self._made = True

    def _mark(self, server: Server, mark: Mapping[str, str]) -> None:
        while True:
            try:
                self._parts.cloud.mark_server(server.id, mark)
            except CloudUnavailable:
                if self._parts.clock.monotonic() >= self._facts.attempt_since + self._timeout:
                    raise
                self._parts.pause(CALL_AGAIN)
            else:
                return

    def _again_later(self, error: CloudError) -> None:
        """Do the same again after a pause, if `error` is one that may pass; else raise it."""
        if not isinstance(error, CloudUnavailable | OutcomeUnknown):
            raise error
        self._trouble = str(error)
        pause = getattr(error, "retry_after", None) or CALL_AGAIN
        self._facts = replace(self._facts, not_before=self._parts.clock.monotonic() + pause)

    def say(self, stage: Stage, detail: str = "", host_keys: tuple[str, ...] = ()) -> None:
        """Tell whoever waits for the server."""
        seconds = self._parts.clock.monotonic() - self._facts.attempt_since
        self._tell(
            Progress(
                stage=stage, seconds=seconds, server_id=self.server_id, detail=detail, host_keys=host_keys
            )
        )

    def _failure(self, result: Result, reason: str) -> CloudError:
        """The error that this failure is, with what the cloud tells of its cause."""
        if result is Result.TIMEOUT:
            reason = f"not usable after {self._timeout:g} s ({self._facts.phase.value})"
        text = f"cloud {self._parts.name}: server {self._name}: {reason}"
        if self._trouble and result in (Result.TIMEOUT, Result.UNKNOWN):
            text += f"; last trouble: {self._trouble}"
        kind = _ERRORS.get(result)
        if kind is ImageGone:
            return Trouble.IMAGE_GONE.error(kind, text)
        if kind is not None:
            return kind(text)
        fault, console = self._last_words()
        if fault and fault not in text:
            text += f"; fault: {fault}"
        return ServerFailed(text, console=console)

    def _unexplained(self, server: Server) -> CloudError:
        """As `_failure` for a server in ERROR of which lists do not say why: some clouds tell it of single ones."""
        try:
            server = self._parts.cloud.get_server(server.id)
        except CloudError as error:
            self._trouble = str(error)
        return self._failure(
            result_of_fault(server.fault_kind), server.fault or "it is in ERROR, without a fault"
        )

    def _last_words(self) -> tuple[str, str]:
        """(fault, end of the console) of a server that is to go, as far as the cloud tells."""
        if self.server_id is None:
            return "", ""
        try:
            fault = self._parts.cloud.get_server(self.server_id).fault
            console = self._parts.cloud.console(self.server_id)
        except CloudError:
            return "", ""
        return fault, "\n".join(console.splitlines()[-CONSOLE_TAIL:])
