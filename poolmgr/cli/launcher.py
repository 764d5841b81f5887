"""`poolmgr-launcher`: the daemon that makes nodes."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from poolmgr.cli.daemon import Daemon, Kind, parser_for, run

DESCRIPTION = """\
Takes node requests from ZooKeeper and fulfils them with servers in OpenStack clouds.

  poolmgr-launcher -f -c nodepool.yaml       in the foreground (containers, systemd)
  poolmgr-launcher -d -c nodepool.yaml       the same with debug messages
  poolmgr-launcher                           detached, with pid file and log file

SIGTERM and SIGINT stop it: nothing new is taken, launches in hand are handed back, locks released. SIGHUP reads the
configuration again (it also does so by itself when a file changes). SIGUSR1 logs what every worker and thread is doing,
SIGUSR2 logs DEBUG for ten minutes.
Metrics go to STATSD_HOST:STATSD_PORT if either is set. Tables and health are served over HTTP where `webapp` says.
"""


def _make(args: argparse.Namespace) -> Daemon:
    from poolmgr.wiring import LauncherDaemon  # it imports every part there is; `--help` needs none

    return LauncherDaemon(args.config, args.secure, webapp=not args.no_webapp)


LAUNCHER = Kind(
    name="launcher",
    log=logging.getLogger("poolmgr.cli.launcher"),  # under -m, __name__ is another
    log_file="/var/log/nodepool/nodepool.log",
    pidfile="/var/run/nodepool/nodepool.pid",
    make=_make,
)


def build_parser() -> argparse.ArgumentParser:
    return parser_for(LAUNCHER, DESCRIPTION)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the launcher until it is told to stop; returns the exit code: 0 after an orderly stop."""
    return run(LAUNCHER, build_parser().parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
