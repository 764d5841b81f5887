"""`Canary` on a real OpenStack: a server is made as the library makes one, told a command, and removed.

Everything that a trial makes bears the trial's mark from its first moment (`model.trial`), with the time at which it
gives up; the mark is the library's, so launchers leave it alone. Whatever ends the trial, all of it is removed; what
kill -9 leaves is found by `sweep` once that time is over.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from poolmgr.cloud.api import Prober, Trial, TrialResult
from poolmgr.cloud.canary.server import server_name, trial_spec
from poolmgr.cloud.library.making import Making
from poolmgr.cloud.library.parts import Parts, parts_of
from poolmgr.cloud.library.records import Progress, Reach
from poolmgr.cloud.library.removing import Removal
from poolmgr.cloud.openstack import OpenStackCloud
from poolmgr.cloud.probe import SshProber
from poolmgr.cloud.shell import Door, Ran, SshShell, private_key
from poolmgr.errors import CloudError, CloudUnavailable, ImageGone, PoolmgrError, Rejected, ServerFailed
from poolmgr.model.server import META_LIBRARY_UNTIL
from poolmgr.model.trial import TrialMark
from poolmgr.policy.leftovers import Leftovers, both, leftovers
from poolmgr.policy.trials import left_by_trials
from poolmgr.runtime.clock import Clock

if TYPE_CHECKING:
    from paramiko import PKey

log = logging.getLogger(__name__)

#: Characters kept of the end of a console log.
MOST_CONSOLE = 8192
#: Seconds for removing what a trial made.
REMOVAL_TIMEOUT = 300.0
#: Seconds in which a list that fails is asked for again, for a sweep.
PATIENCE = 60.0


class OpenStackCanary:
    """Thread-safe: each trial has lists and threads of its own. It does not own `cloud`."""

    def __init__(
        self,
        cloud: OpenStackCloud,
        clock: Clock,
        *,
        prober: Prober | None = None,
        shell: SshShell | None = None,
        new_id: Callable[[], str] | None = None,
    ) -> None:
        """`new_id` names trials, each differently for ever."""
        self._cloud = cloud
        self._clock = clock
        self._prober = prober or SshProber(clock)
        self._shell = shell or SshShell(clock)
        self._new_id = new_id or (lambda: uuid.uuid4().hex)
        self._closed = threading.Event()

    def close(self) -> None:
        """End the waiting of sweeps and of removals; what is left then is found by the next sweep."""
        self._closed.set()

    def try_image(self, trial: Trial, *, cancelled: threading.Event | None = None) -> TrialResult:
        """See `Canary`. Once `cancelled` is set it raises CloudUnavailable, as nothing was found out.

        Raises ConfigError for a key that cannot be used, and NotSupported.
        """
        ended = cancelled or threading.Event()
        began = self._clock.monotonic()
        key = private_key(trial.private_key)
        mark = self._mark(trial)
        making, steps = self._making(trial, mark, ended)
        try:
            result = self._judged(trial, making, steps, key, began + trial.timeout, ended)
        except CloudUnavailable as error:
            if ended.is_set():
                raise self._ended() from error
            raise
        finally:
            self._remove(making)
        if ended.is_set():
            raise self._ended()
        return replace(result, seconds=self._clock.monotonic() - began)

    def _making(self, trial: Trial, mark: TrialMark, ended: threading.Event) -> tuple[Making, list[Progress]]:
        """The server of a trial, of which nothing is there yet, and the steps that it will have taken."""
        cloud, owner = self._cloud, mark.owner(self._cloud.provider_name)
        marks = {**owner.metadata(), META_LIBRARY_UNTIL: str(mark.until)}
        steps: list[Progress] = []

        def create() -> str:
            return cloud.create_server(trial_spec(trial, cloud.flavors(), call=mark.call, marks=marks))

        making = Making(
            self._parts(ended),
            create,
            name=server_name(trial, mark.call),
            owner=owner,
            on_volume=trial.label.boot_from_volume,
            auto_ip=trial.pool.auto_floating_ip,
            reach=Reach(trial.port),
            timeout=trial.timeout,
            tell=steps.append,
        )
        return making, steps

    def _judged(
        self,
        trial: Trial,
        making: Making,
        steps: list[Progress],
        key: PKey | None,
        deadline: float,
        ended: threading.Event,
    ) -> TrialResult:
        try:
            self._cloud.connect()
            server = making.run()
        except (ServerFailed, ImageGone, Rejected) as error:
            console = self._console(making.server_id) or getattr(error, "console", "")
            return TrialResult(passed=False, reason=str(error), console=console)
        door = Door(
            address=server.addresses.interface_ip,
            port=trial.port,
            host_keys=next((step.host_keys for step in steps if step.host_keys), ()),
            username=trial.username,
            key=key,
        )
        left = deadline - self._clock.monotonic()
        ran = self._shell.run(door, command=trial.command, script=trial.script, timeout=left, ended=ended)
        return TrialResult(
            passed=ran.status == 0,
            reason=_reason(ran),
            output=ran.output,
            console="" if ran.status == 0 else self._console(server.id),
        )

    def _console(self, server_id: str | None) -> str:
        try:
            return self._cloud.console(server_id)[-MOST_CONSOLE:] if server_id else ""
        except CloudError as error:
            log.info("server %s: its console cannot be read: %s", server_id, error)
            return ""

    def _remove(self, making: Making) -> None:
        """What is not removed is told, and left to the sweep: the trial's result stands."""
        if making.server_id is None and making.unknown_since is None:
            return
        removal = Removal(
            self._parts(self._closed),
            server_ids=[making.server_id] if making.server_id else [],
            owners=[making.owner],
            volumes=making.volumes if making.on_volume else None,
            unknown_since=making.unknown_since,
        )
        try:
            removal.run(REMOVAL_TIMEOUT)
        except PoolmgrError as error:
            log.warning("provider %s: a trial leaves something: %s", self._cloud.provider_name, error)

    def _ended(self) -> CloudUnavailable:
        return CloudUnavailable(f"provider {self._cloud.provider_name}: the trial was ended")

    def sweep(self) -> int:
        """See `Canary`. Takes two looks, 10 seconds apart or more, before it deletes anything."""
        parts = self._parts(self._closed)
        found = self._left(parts)
        if not found:
            return 0
        early_ports = found.ports and parts.cloud.connect().precreates_ports
        parts.pause(parts.tuning.young_server if early_ports else parts.tuning.unknown_spacing)
        sure = both(found, self._left(parts))
        owners = sure.owners()
        if owners:
            log.warning("provider %s: removing what %d trials left", self._cloud.provider_name, len(owners))
            Removal(parts, owners=owners, volumes=()).run(REMOVAL_TIMEOUT)
        return len(owners)

    def _left(self, parts: Parts) -> Leftovers:
        deadline = self._clock.monotonic() + PATIENCE
        now = self._clock.time()
        ips = parts.floating_ips.fresh(deadline=deadline)
        ports = parts.ports.fresh(deadline=deadline)
        volumes = parts.volumes.fresh(deadline=deadline)
        found = leftovers(parts.servers.fresh(deadline=deadline), ips, ports, volumes, now=now)
        return left_by_trials(
            found, provider=self._cloud.provider_name, deployment=self._cloud.deployment, now=now
        )

    def _parts(self, closed: threading.Event) -> Parts:
        name = self._cloud.provider_name
        return parts_of(name, self._cloud, lambda: self._prober, self._clock, closed=closed)

    def _mark(self, trial: Trial) -> TrialMark:
        until = int(self._clock.time() + trial.timeout + REMOVAL_TIMEOUT)
        return TrialMark(deployment=self._cloud.deployment, until=until, call=self._new_id())


def _reason(ran: Ran) -> str:
    if ran.status is None:
        return f"the command did not come to its end: {ran.trouble}"
    return f"the command exited with {ran.status}" if ran.status else ""
