"""One command on a server, over SSH, with a limit to everything: time, output, and whom it talks to.

The server's host keys are known before, and any other server is refused. paramiko's own waits are never trusted with
more than a slice of the time, so the end of the trial and its cancellation are seen within that slice.
"""

from __future__ import annotations

import base64
import binascii
import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import paramiko
from paramiko.pkey import UnknownKeyType
from paramiko.ssh_exception import SSHException

from poolmgr.errors import ConfigError
from poolmgr.runtime.clock import Clock

#: Bytes kept of the end of what a command says.
MOST_OUTPUT = 8192
#: Seconds for which a login that is refused is tried again: keys are put in place moments after sshd is up.
LOGIN_GRACE = 90.0
_AGAIN = 2.0  # seconds between two logins
_STEP = 10.0  # seconds at most for each step of a login
_SLICE = 0.2  # seconds in one wait for output
_PIECE = 32768
_PARAMIKO_LOG = f"{__name__}.paramiko"


@dataclass(frozen=True, kw_only=True)
class Door:
    """Where to log in, and as whom. `key` None: what the SSH client finds itself (agent, ~/.ssh)."""

    address: str
    port: int
    host_keys: tuple[str, ...]  # `"<type> <base64>"`; a server with none of them is refused
    username: str
    key: paramiko.PKey | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Ran:
    """`status` None: it did not come to its end; `trouble` says why. `output`: the end of what it said."""

    status: int | None
    output: str = ""
    trouble: str = ""


class _Trouble(Exception):
    """Why a command did not come to its end; stays in here."""


class _LoginRefused(_Trouble):
    """May be better in a moment."""


def private_key(path: str | None) -> paramiko.PKey | None:
    """The key in a file as `~/.ssh/id_ed25519`. Raises ConfigError for what is none, or needs a passphrase."""
    if path is None:
        return None
    file = Path(path).expanduser()
    try:
        return paramiko.PKey.from_path(file)
    except (OSError, ValueError, TypeError, SSHException) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ConfigError(f"SSH key {file}: {why}") from error
    except UnknownKeyType as error:
        raise ConfigError(f"SSH key {file}: not a private key that we can use") from error


class SshShell:
    """Thread-safe: it holds nothing but the clock. paramiko's own log is off unless it was given a level."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        log = logging.getLogger(_PARAMIKO_LOG)
        if log.level == logging.NOTSET:
            log.setLevel(logging.CRITICAL + 1)

    def run(
        self,
        door: Door,
        *,
        command: str | None,
        script: str | None = None,
        timeout: float,
        ended: threading.Event,
    ) -> Ran:
        """Run `command` with the user's login shell, or `script` with `sh`. Never raises for what the server does."""
        task = _Task(self._clock, self._clock.monotonic() + timeout, ended)
        said = _Tail(MOST_OUTPUT)
        if not door.host_keys:
            return Ran(status=None, trouble="no host key of it is known")
        try:
            with closing(self._logged_in(door, task)) as client, _told():
                status = _run(client, command or "sh -s", (script or "").encode(), said, task)
        except _Trouble as trouble:
            return Ran(status=None, output=said.text(), trouble=str(trouble))
        return Ran(status=status, output=said.text())

    def _logged_in(self, door: Door, task: _Task) -> paramiko.SSHClient:
        patience = self._clock.monotonic() + LOGIN_GRACE
        while True:
            try:
                with _told():
                    return _log_in(door, task)
            except _LoginRefused:
                if self._clock.monotonic() >= patience or task.left() <= _AGAIN:
                    raise
                self._clock.wait(task.ended, _AGAIN)


class _Task:
    """What ends it: its time, or somebody."""

    def __init__(self, clock: Clock, deadline: float, ended: threading.Event) -> None:
        self.clock = clock
        self.ended = ended
        self._deadline = deadline

    def left(self) -> float:
        """Seconds left. Raises _Trouble when there are none, or it was ended."""
        if self.ended.is_set():
            raise _Trouble("it was ended")
        seconds = self._deadline - self.clock.monotonic()
        if seconds <= 0:
            raise _Trouble("its time was over")
        return seconds


class _Tail:
    """The end of a stream, up to `most` bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept = bytearray()

    def add(self, data: bytes) -> None:
        self._kept += data
        del self._kept[: -self._most]

    def text(self) -> str:
        return bytes(self._kept).decode(errors="replace").replace("\x00", "")


def _log_in(door: Door, task: _Task) -> paramiko.SSHClient:
    step = min(_STEP, task.left())
    client = paramiko.SSHClient()
    client.set_log_channel(_PARAMIKO_LOG)
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    known = client.get_host_keys()
    name = door.address if door.port == 22 else f"[{door.address}]:{door.port}"
    for key in _keys(door.host_keys):
        known.add(name, key.get_name(), key)
    try:
        client.connect(
            door.address,
            door.port,
            username=door.username,
            pkey=door.key,
            look_for_keys=door.key is None,
            allow_agent=door.key is None,
            timeout=step,
            banner_timeout=step,
            auth_timeout=step,
            channel_timeout=step,
        )
    except BaseException:
        client.close()
        raise
    return client


def _keys(texts: Iterable[str]) -> Iterator[paramiko.PKey]:
    for text in texts:
        kind, _, blob = text.partition(" ")
        yield paramiko.PKey.from_type_string(kind, base64.b64decode(blob))


def _run(client: paramiko.SSHClient, command: str, text: bytes, said: _Tail, task: _Task) -> int:
    """The exit status. Raises _Trouble, and what paramiko raises."""
    transport = client.get_transport()
    assert transport is not None
    channel = transport.open_session(timeout=min(_STEP, task.left()))
    channel.set_combine_stderr(True)
    channel.settimeout(_SLICE)
    channel.exec_command(command)
    if not text:
        channel.shutdown_write()
    while task.left():
        while text and channel.send_ready():
            text = text[channel.send(text[:_PIECE]) :]
            if not text:
                channel.shutdown_write()
        try:
            data = channel.recv(_PIECE)
        except TimeoutError:
            # Something that it has left behind keeps the output open: it ended all the same.
            if channel.exit_status_ready():
                break
            continue
        if not data:
            break
        said.add(data)
    task.clock.wait(channel.status_event, min(_STEP, task.left()))
    if not channel.exit_status_ready() or channel.exit_status < 0:
        raise _Trouble("the connection was cut, or it was killed")
    return channel.exit_status


@contextmanager
def _told() -> Iterator[None]:
    """What paramiko raises, as _Trouble."""
    try:
        yield
    except paramiko.BadHostKeyException as error:
        raise _Trouble("another server answers there: its host key is not the one that was read") from error
    except paramiko.AuthenticationException as error:
        raise _LoginRefused("the login was refused") from error
    except (SSHException, EOFError, OSError, binascii.Error) as error:
        text = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise _LoginRefused(repr(text[:200])[1:-1]) from error
