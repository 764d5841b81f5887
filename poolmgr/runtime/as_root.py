"""Short commands that need root's rights: run as we are if we are root, else by `sudo -n`."""

from __future__ import annotations

import os
import subprocess

_LIMIT = 60.0  # seconds; a broken disk must not hold us for ever
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"


def as_root(*command: str) -> str:
    """Run it; "" if it succeeded, else what it said of the reason. Never raises."""
    prefix = () if os.geteuid() == 0 else ("sudo", "-n")
    path = f"{os.environ.get('PATH', '')}:{_SBIN}".removeprefix(":")
    try:
        done = subprocess.run(
            [*prefix, *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_LIMIT,
            env={**os.environ, "PATH": path, "LC_ALL": "C"},
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{command[0]}: {error}"
    if done.returncode == 0:
        return ""
    said = (done.stderr or done.stdout).strip()
    return said or f"{command[0]} ended with exit code {done.returncode}"
