"""`poolmgr-launcher`: the daemon that makes nodes. Options, signals and log files are the reference's (cli-web.md 2).

What differs on purpose: SIGTERM stops as orderly as SIGINT does, an orderly stop has a time limit, SIGHUP reads the
configuration again, and a configuration that cannot be used is told before the process detaches.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import poolmgr
from poolmgr.cli import logs
from poolmgr.cli.commandline import print_error, seconds
from poolmgr.config.load import load
from poolmgr.errors import PoolmgrError
from poolmgr.observe.log import to_file
from poolmgr.runtime.clock import SystemClock
from poolmgr.runtime.daemon import PidFile, detach
from poolmgr.runtime.signals import daemon_signals

log = logging.getLogger("poolmgr.cli.launcher")  # under -m, __name__ is another

DEFAULT_CONFIG = "/etc/nodepool/nodepool.yaml"
DEFAULT_PIDFILE = "/var/run/nodepool/nodepool.pid"
LOG_FILE = "/var/log/nodepool/nodepool.log"
#: Under systemd's TimeoutStopSec of 90 s, and enough for a cloud that is slow to answer.
STOP_TIMEOUT = 60.0

DESCRIPTION = """\
Takes node requests from ZooKeeper and fulfils them with servers in OpenStack clouds.

  poolmgr-launcher -f -c nodepool.yaml       in the foreground (containers, systemd)
  poolmgr-launcher -d -c nodepool.yaml       the same with debug messages
  poolmgr-launcher                           detached, with pid file and log file

SIGTERM and SIGINT stop it: nothing new is taken, launches in hand are handed back, locks released. SIGHUP reads the
configuration again (it also does so by itself when a file changes). SIGUSR2 logs what every thread is doing.
Metrics go to STATSD_HOST:STATSD_PORT if either is set.
"""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="poolmgr-launcher",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-c", dest="config", metavar="CONFIG", default=DEFAULT_CONFIG, help="default: %(default)s"
    )
    parser.add_argument(
        "-s", dest="secure", metavar="SECURE", help="secure file, merged into the configuration"
    )
    parser.add_argument("-l", dest="logconfig", metavar="LOGCONFIG", help="logging configuration file")
    parser.add_argument(
        "-p", dest="pidfile", metavar="PIDFILE", default=DEFAULT_PIDFILE, help="default: %(default)s"
    )
    parser.add_argument("-f", dest="foreground", action="store_true", help="stay in the foreground")
    parser.add_argument("-d", dest="debug", action="store_true", help="stay in the foreground, log DEBUG")
    parser.add_argument(
        "--no-webapp", action="store_true", help="no web server (this release has none anyway)"
    )
    parser.add_argument(
        "--stop-timeout",
        metavar="SECONDS",
        type=seconds,
        default=STOP_TIMEOUT,
        help="how long an orderly stop may take (default: %(default)g)",
    )
    parser.add_argument("--version", action="version", version=f"Nodepool version: {poolmgr.__version__}")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the launcher until it is told to stop; returns the exit code: 0 after an orderly stop."""
    args = build_parser().parse_args(argv)
    for name in ("config", "secure", "logconfig", "pidfile"):
        setattr(args, name, absolute(getattr(args, name)))  # detaching changes the directory
    try:
        load(args.config, secure=args.secure, environ=os.environ)
        if args.foreground or args.debug:
            logs.for_daemon(file=args.logconfig, debug=args.debug)
            return serve(args)
        return _detached(args)
    except PoolmgrError as error:
        print_error("poolmgr-launcher", error)
        return 1


def absolute(path: str | None) -> str | None:
    return None if path is None else str(Path(path).expanduser().absolute())


def serve(args: argparse.Namespace) -> int:
    """Run until a signal. Raises ConfigError when the daemon cannot start."""
    from poolmgr.wiring import LauncherDaemon  # it imports every part there is; `--help` needs none

    daemon = LauncherDaemon(args.config, args.secure)
    stopping = threading.Event()

    def stop() -> None:
        if stopping.is_set():
            log.warning("Told to stop for the second time: leaving at once")
            os._exit(1)
        log.info("Stopping, in at most %g s", args.stop_timeout)
        stopping.set()
        daemon.interrupt()

    with daemon_signals(stop=stop, reload=daemon.reload, dump=daemon.dump):
        log.info("Starting, process %d", os.getpid())  # from here on, signals are heard
        if not args.no_webapp:
            log.info(
                "The web app comes with a later release; until then use `poolmgr list` and `request-list`"
            )
        clean = False
        try:
            daemon.start()
            if not stopping.is_set():
                log.info("Launcher %s is running, process %d", poolmgr.__version__, os.getpid())
            stopping.wait()
        finally:
            clean = daemon.stop(args.stop_timeout)
    log.log(logging.INFO if clean else logging.WARNING, "Stopped%s", "" if clean else ", not all in time")
    return 0 if clean else 1


def _detached(args: argparse.Namespace) -> int:
    handler = None if args.logconfig else to_file(LOG_FILE)  # before detaching: errors can still be seen
    pidfile = PidFile(Path(args.pidfile), SystemClock())
    pidfile.acquire()
    detach()
    pidfile.write()
    try:
        logs.for_daemon(file=args.logconfig, debug=False, handler=handler)
        return serve(args)
    except PoolmgrError as error:
        log.error("%s", error)
        return 1
    finally:
        pidfile.release()


if __name__ == "__main__":
    sys.exit(main())
