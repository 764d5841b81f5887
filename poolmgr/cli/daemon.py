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
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import poolmgr
from poolmgr.cli import logs
from poolmgr.cli.commandline import print_error, seconds
from poolmgr.config.load import load
from poolmgr.config.settings import Settings
from poolmgr.errors import PoolmgrError, StoreError
from poolmgr.observe.log import to_file
from poolmgr.observe.loudness import Loudness
from poolmgr.runtime.alarm import Alarm
from poolmgr.runtime.clock import SystemClock
from poolmgr.runtime.daemon import PidFile, detach
from poolmgr.runtime.signals import daemon_signals, log_dump, stacks

DEFAULT_CONFIG = "/etc/nodepool/nodepool.yaml"
#: Well under systemd's TimeoutStopSec of 90 s, and enough for most of what is being launched.
STOP_TIMEOUT = 30.0
#: Seconds beyond the stop timeout after which a daemon that still has not stopped leaves all the same.
OVERTIME = 10.0
#: The same after a second signal.
HURRY = 5.0


class Daemon(Protocol):
    """A whole launcher or builder in this process."""

    def start(self) -> None:
        """Returns when it runs, or was interrupted meanwhile. Raises ConfigError."""

    def interrupt(self) -> None:
        """Make `start` return soon; from any thread. `stop` has to follow."""

    def stop(self, timeout: float) -> bool:
        """Whether all ended in time."""

    def hurry(self) -> None:
        """Make a `stop` that is under way finish nothing more; from any thread."""

    def reload(self) -> None:
        """Read the files soon; from any thread, returns at once."""

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
        if not (args.foreground or args.debug):
            _check(kind, args)
            return _detached(kind, args)
        one = _Run(kind, args)
        with one.signals():  # from here on, they are heard
            _check(kind, args)
            logs.for_daemon(file=args.logconfig, debug=args.debug)
            return one.serve()
    except PoolmgrError as error:
        print_error(kind.prog, error)
        return 1
    except KeyboardInterrupt:
        return 130


def _check(kind: Kind, args: argparse.Namespace) -> None:
    """Raises ConfigError when the configuration cannot be used."""
    builder = kind.name == "builder"
    kind.check(load(args.config, secure=args.secure, environ=os.environ, builder=builder).settings)


def absolute(path: str | None) -> str | None:
    return None if path is None else str(Path(path).expanduser().absolute())


class _Run:
    """One run of a daemon, from the first signal that is heard to its exit code.

    `stop`, `reload`, `dump` and `louder` are called by the thread of the signals: none of them takes long.
    """

    def __init__(self, kind: Kind, args: argparse.Namespace) -> None:
        clock = SystemClock()
        self._kind = kind
        self._args = args
        self._daemon: Daemon | None = None
        self._stopping = threading.Event()
        self._told = 0  # how often to stop
        self._loudness = Loudness(clock)
        self._deadline = Alarm("deadline", self._too_late, clock)

    def signals(self) -> AbstractContextManager[None]:
        return daemon_signals(stop=self.stop, reload=self.reload, dump=self.dump, louder=self._loudness.begin)

    def stop(self) -> None:
        """The first time orderly, the second time in a hurry, the third time at once."""
        self._told += 1
        log, daemon = self._kind.log, self._daemon
        if self._told == 1:
            log.info("Stopping, in at most %g s", self._args.stop_timeout)
            self._deadline.set(self._args.stop_timeout + OVERTIME)
            self._stopping.set()
            if daemon is not None:
                daemon.interrupt()
        elif self._told == 2:
            log.warning("Told to stop for the second time: handing back what is in hand now")
            self._deadline.set(HURRY)
            if daemon is not None:
                daemon.hurry()
        else:
            log.warning("Told to stop for the third time: leaving at once")
            os._exit(1)

    def reload(self) -> None:
        if self._daemon is not None:
            self._daemon.reload()

    def dump(self) -> str:
        return stacks() if self._daemon is None else self._daemon.dump()

    def serve(self) -> int:
        """Run until told to stop; returns the exit code. Raises ConfigError when the daemon cannot start."""
        log = self._kind.log
        log.info("Starting, process %d", os.getpid())
        daemon = self._kind.make(self._args)
        self._daemon = daemon
        if self._stopping.is_set():
            daemon.interrupt()
        clean = False
        try:
            self._start(daemon)
            # A signal that comes just before a wait, or that goes to another thread, is seen only after the wait.
            while not self._stopping.wait(1.0):
                pass
        finally:
            clean = daemon.stop(self._args.stop_timeout)
            self._deadline.stop()
            self._loudness.stop()
        log.log(logging.INFO if clean else logging.WARNING, "Stopped%s", "" if clean else ", not all in time")
        return 0 if clean else 1

    def _start(self, daemon: Daemon) -> None:
        if self._stopping.is_set():
            return
        try:
            daemon.start()
        except StoreError as error:
            if not self._stopping.is_set():
                raise
            self._kind.log.info("Not started: %s", error)  # nobody wants it any more
        if not self._stopping.is_set():
            self._kind.log.info(
                "%s %s is running, process %d", self._kind.name.title(), poolmgr.__version__, os.getpid()
            )

    def _too_late(self) -> None:
        """Something hangs that should not: locks go with the session, the next launcher finds the rest."""
        self._kind.log.error("Not stopped in time: leaving at once")
        log_dump(stacks())
        os._exit(1)


def _detached(kind: Kind, args: argparse.Namespace) -> int:
    handler = None if args.logconfig else to_file(kind.log_file)  # before detaching: errors can still be seen
    pidfile = PidFile(Path(args.pidfile), SystemClock())
    pidfile.acquire()
    detach()
    pidfile.write()
    try:
        logs.for_daemon(file=args.logconfig, debug=False, handler=handler)
        one = _Run(kind, args)
        with one.signals():
            return one.serve()
    except PoolmgrError as error:
        kind.log.error("%s", error)
        return 1
    finally:
        pidfile.release()
