"""What the library is told and tells, besides the records of `poolmgr.model.server`."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from poolmgr.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Reach:
    """What of a new server has to answer before it counts as made: its SSH server, or anything on a TCP port."""

    port: int = 22
    ssh: bool = True  # the host keys are read; False: a connection is enough


def reach_of(text: str) -> Reach:
    """The one that `ssh`, `ssh:PORT` or `tcp:PORT` means. Raises ConfigError for any other text."""
    kind, _, port = text.partition(":")
    if kind == "ssh" and not port:
        return Reach()
    if kind not in ("ssh", "tcp") or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigError(f"{text!r} is neither ssh, ssh:PORT nor tcp:PORT")
    return Reach(int(port), ssh=kind == "ssh")


class Stage(enum.Enum):
    """The steps of making a server, in their order; CLEANING comes after a failure at any of them."""

    ACCEPTED = "accepted"
    BUILDING = "building"
    ACTIVE = "active"
    ADDRESS = "address"
    REACHABLE = "reachable"
    CLEANING = "cleaning up"


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """A step that was just taken, `seconds` after the beginning. `detail`: id, address or reason."""

    stage: Stage
    seconds: float
    server_id: str | None = None  # None while the cloud has not answered
    detail: str = ""
    host_keys: tuple[str, ...] = ()  # `"<type> <base64>"`, with REACHABLE
