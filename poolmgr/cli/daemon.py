"""What both daemons do alike: options, signals, detaching, logs (cli-web.md 2).

What differs from the reference on purpose: SIGTERM stops as orderly as SIGINT does, an orderly stop has a time limit,
SIGHUP reads the configuration again, and a configuration that cannot be used is told before the process detaches.
"""

from __future__ import annotations

import argparse
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import poolmgr
from poolmgr.cli import logs
from poolmgr.cli.commandline import print_error, seconds
from poolmgr.config.load import load
from poolmgr.config.settings import Settings
from poolmgr.errors import PoolmgrError
from poolmgr.observe.log import to_file
from poolmgr.runtime.clock import SystemClock
from poolmgr.runtime.daemon import PidFile, detach
from poolmgr.runtime.signals import daemon_signals

DEFAULT_CONFIG = "/etc/nodepool/nodepool.yaml"
#: Under systemd's TimeoutStopSec of 90 s, and enough for a cloud that is slow to answer.
STOP_TIMEOUT = 60.0


class Daemon(Protocol):
    """A whole launcher or builder in this process."""

    def start(self) -> None:
        """Returns when it runs, or was interrupted meanwhile. Raises ConfigError."""

    def interrupt(self) -> None:
        """Make `start` return soon; from any thread. `stop` has to follow."""

    def stop(self, timeout: float) -> bool:
        """Whether all ended in time."""

    def reload(self) -> None: ...

    def dump(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Which daemon. `check`: what can be found wrong with its settings before anything is started."""

    name: str  # launcher or builder
    log: logging.Logger
    log_file: str  # of one that detaches without -l
    pidfile: str
    make: Callable[[argparse.Namespace], Daemon]
    check: Callable[[Settings], object] = lambda _: None

    @property
    def prog(self) -> str:
        return f"poolmgr-{self.name}"


def parser_for(kind: Kind, description: str) -> argparse.ArgumentParser:
    """A parser with the options that both have."""
    parser = argparse.ArgumentParser(
        prog=kind.prog,
        description=description,
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
        "-p", dest="pidfile", metavar="PIDFILE", default=kind.pidfile, help="default: %(default)s"
    )
    parser.add_argument("-f", dest="foreground", action="store_true", help="stay in the foreground")
    parser.add_argument("-d", dest="debug", action="store_true", help="stay in the foreground, log DEBUG")
    parser.add_argument("--no-webapp", action="store_true", help="no web server")
    parser.add_argument(
        "--stop-timeout",
        metavar="SECONDS",
        type=seconds,
        default=STOP_TIMEOUT,
        help="how long an orderly stop may take (default: %(default)g)",
    )
    parser.add_argument("--version", action="version", version=f"Nodepool version: {poolmgr.__version__}")
    return parser


def run(kind: Kind, args: argparse.Namespace) -> int:
    """Run the daemon until it is told to stop; returns the exit code: 0 after an orderly stop."""
    for name in ("config", "secure", "logconfig", "pidfile"):
        setattr(args, name, absolute(getattr(args, name)))  # detaching changes the directory
    try:
        builder = kind.name == "builder"
        kind.check(load(args.config, secure=args.secure, environ=os.environ, builder=builder).settings)
        if args.foreground or args.debug:
            logs.for_daemon(file=args.logconfig, debug=args.debug)
            return serve(kind, args)
        return _detached(kind, args)
    except PoolmgrError as error:
        print_error(kind.prog, error)
        return 1


def absolute(path: str | None) -> str | None:
    return None if path is None else str(Path(path).expanduser().absolute())


def serve(kind: Kind, args: argparse.Namespace) -> int:
    """Run until a signal. Raises ConfigError when the daemon cannot start."""
    log, daemon = kind.log, kind.make(args)
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
        clean = False
        try:
            daemon.start()
            if not stopping.is_set():
                log.info("%s %s is running, process %d", kind.name.title(), poolmgr.__version__, os.getpid())
            stopping.wait()
        finally:
            clean = daemon.stop(args.stop_timeout)
    log.log(logging.INFO if clean else logging.WARNING, "Stopped%s", "" if clean else ", not all in time")
    return 0 if clean else 1


def _detached(kind: Kind, args: argparse.Namespace) -> int:
    handler = None if args.logconfig else to_file(kind.log_file)  # before detaching: errors can still be seen
    pidfile = PidFile(Path(args.pidfile), SystemClock())
    pidfile.acquire()
    detach()
    pidfile.write()
    try:
        logs.for_daemon(file=args.logconfig, debug=False, handler=handler)
        return serve(kind, args)
    except PoolmgrError as error:
        kind.log.error("%s", error)
        return 1
    finally:
        pidfile.release()
