"""poolmgr-launcher with a wall clock that can be moved from outside, and constants that suit a run in minutes.

    CHAOS_CLOCK=FILE CHAOS_TUNING='{"sweep_interval": 5}' python -m tests.chaos.launcher -f -c nodepool.yaml

FILE holds the seconds that this process is ahead of the machine's clock; it may change at any time.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

from poolmgr.cli.daemon import run
from poolmgr.cli.launcher import LAUNCHER, build_parser
from poolmgr.policy.tuning import Tuning
from poolmgr.runtime.clock import SystemClock
from poolmgr.wiring import LauncherDaemon

_FILE = Path(os.environ["CHAOS_CLOCK"])


def _ahead() -> float:
    try:
        return float(_FILE.read_text())
    except (OSError, ValueError):  # it is being written
        return 0.0


def main() -> int:
    SystemClock.time = lambda self: time.time() + _ahead()  # type: ignore[method-assign]
    tuning = Tuning(**json.loads(os.environ["CHAOS_TUNING"]))
    kind = replace(
        LAUNCHER,
        make=lambda args: LauncherDaemon(args.config, args.secure, webapp=not args.no_webapp, tuning=tuning),
    )
    return run(kind, build_parser().parse_args())


if __name__ == "__main__":
    sys.exit(main())
