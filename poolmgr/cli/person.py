"""The person at the keyboard: who it is, and what they confirm."""

from __future__ import annotations

import difflib
import getpass
import os
import socket
import sys
from collections.abc import Iterable

from poolmgr.errors import Refused


def user_at_host() -> str:
    """Who gives the command, as records name them: `ana@builder1`; behind sudo, who called it."""
    name = os.environ.get("SUDO_USER")
    if not name:
        try:
            name = getpass.getuser()
        except (KeyError, OSError):  # a container's user without an entry in passwd
            name = str(os.getuid())
    return f"{name}@{socket.gethostname()}"


def confirm(count: int, what: str, *, yes: bool) -> None:
    """Have the person type the count, or `yes`, before `what` ("3 uploads are deleted") is done; not with `yes`.

    Raises Refused for any other answer, and where nobody answers.
    """
    if yes:
        return
    print(f"{what}. Type {count} or yes to go on: ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline()
    if not answer:
        print(file=sys.stderr)
        raise Refused("nobody answered, nothing was changed", remedy="--yes does it without asking")
    if answer.strip().lower() not in ("yes", str(count)):
        raise Refused("not confirmed, nothing was changed")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """What may have been meant instead of `name`: the nearest that is known, or all if they are few."""
    names = sorted(set(known))
    if not names:
        return "there is none"
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f"did you mean {near[0]}?"
    return f"there are {', '.join(names)}" if len(names) <= 10 else f"there are {len(names)} others"


def counted(count: int, thing: str) -> str:
    """`1 upload`, `3 uploads`."""
    return f"{count} {thing}{'' if count == 1 else 's'}"
