"""`poolmgr demo`: the main job, end to end, on one machine, with nothing to set up."""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poolmgr.cli.commandline import Subcommands, add_command, positive_int, seconds
from poolmgr.errors import ConfigError, PoolmgrError

if TYPE_CHECKING:
    from poolmgr.cli.demo.flow import Flow
    from poolmgr.cli.demo.screen import Screen
    from poolmgr.cli.demo.stack import Stack

DESCRIPTION = """\
Start a private ZooKeeper, five pretend clouds (one of each kind, over real HTTP, with a real SSH server), a builder, a
launcher and a statsd sink on free ports of 127.0.0.1. The builder makes an image with a pretended disk-image-create, in
three formats, uploads it to the five clouds, and makes it again while node requests of many kinds are driven through
them as CI systems would. Then everything is let go again, and what is left is counted. All files are in one temporary
directory, removed after success. Ctrl-C stops everything.

  poolmgr demo
  poolmgr demo --requests 200 --outstanding 30 --report report.json
  poolmgr demo --keep                  leave it running afterwards, to play with
  poolmgr demo --store memory          without ZooKeeper (and Java), all in this process

Exit code 0 only when every request was fulfilled, every cloud got the image, most got a newer one, and nothing is left
in clouds, ZooKeeper and the builder's directory.
"""


def add_to(commands: Subcommands) -> None:
    parser = add_command(commands, "demo", run, summary="see it all work", description=DESCRIPTION)
    parser.add_argument("--requests", metavar="N", type=positive_int, default=40, help="default: %(default)s")
    parser.add_argument(
        "--outstanding",
        metavar="N",
        type=positive_int,
        default=12,
        help="requests that wait at the same time (default: %(default)s)",
    )
    parser.add_argument(
        "--boot", metavar="SECONDS", type=seconds, default=2.0, help="boot time of the servers (default: 2)"
    )
    parser.add_argument(
        "--hold", metavar="SECONDS", type=seconds, default=1.0, help="how long nodes are used (default: 1)"
    )
    parser.add_argument(
        "--seed", metavar="N", type=int, default=1, help="all chance hangs on it (default: 1)"
    )
    parser.add_argument("--report", metavar="FILE", help="write the figures there, as JSON")
    parser.add_argument(
        "--keep", action="store_true", help="leave it running after the requests, until Ctrl-C"
    )
    parser.add_argument(
        "--store",
        choices=("zookeeper", "memory"),
        default="zookeeper",
        help="memory: no ZooKeeper, no processes (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    from rich.console import Console  # with all below it, too much to load for `--help`

    from poolmgr.cli.demo.flow import Course, Flow
    from poolmgr.cli.demo.screen import LiveScreen, PlainScreen
    from poolmgr.runtime.clock import SystemClock
    from poolmgr.runtime.signals import stop_signals

    if args.report:
        _check_writable(Path(args.report))
    directory = Path(tempfile.mkdtemp(prefix="poolmgr-demo-"))
    _log_to(directory / "demo.log")
    console = Console()
    screen: Screen = LiveScreen(console) if console.is_terminal else PlainScreen(console)
    clock = SystemClock()
    screen.tell(f"files and logs: {directory}")
    stack = _stack(args, directory, screen)
    course = Course(requests=args.requests, outstanding=args.outstanding, hold=args.hold)
    flow = Flow(stack, course, clock, screen)
    keep_files = True
    try:
        with stop_signals(flow.interrupt):
            good = _go(args, flow, stack, screen)
            keep_files = not good
        return 0 if good else 1
    except KeyboardInterrupt:
        keep_files = False
        raise
    except PoolmgrError as error:
        screen.close()
        print(f"poolmgr demo: {error}", file=sys.stderr)
        _report_failure(args, flow, stack, screen)
        return 1
    finally:
        screen.close()
        _end(flow, stack)
        if keep_files:
            print(f"logs are kept in {directory}", file=sys.stderr)
        else:
            shutil.rmtree(directory, ignore_errors=True)


def _end(flow: Flow, stack: Stack) -> None:
    """Stop everything, whatever state it is in; what cannot be given back any more is gone with the parts."""
    try:
        flow.close()
    except PoolmgrError as error:
        logging.getLogger(__name__).warning("not all given back: %s", error)
    finally:
        stack.stop()


def _go(args: argparse.Namespace, flow: Flow, stack: Stack, screen: Screen) -> bool:
    """The whole course; whether all was fulfilled and nothing is left."""
    from poolmgr.cli.demo.report import summary_lines

    flow.start()
    flow.serve()
    flow.renew()
    costs = None
    if args.keep:
        costs = stack.costs()  # not what comes from idling and playing
        screen.tell("all requests are done; everything keeps running until Ctrl-C. How to talk to it:")
        for line in stack.how_to_talk():
            screen.tell(f"  {line}")
        flow.idle()
    flow.drain()
    costs = costs or stack.costs()  # after the last node has gone: deleting is part of what it costs
    orderly = stack.stop_launcher()
    flow.empty_images()
    orderly = stack.stop_builder() and orderly
    left = stack.left()
    result = flow.result(costs, left)
    screen.close()
    _write_report(args, result)
    for line in summary_lines(result, [*flow.tally.failures, *flow.images.failures.values()], left):
        screen.tell(line)
    if not orderly:
        screen.tell("the launcher or the builder did not stop in time, or not orderly")
    return orderly and not left and result["fulfilled"] == result["requests"]


def _report_failure(args: argparse.Namespace, flow: Flow, stack: Stack, screen: Screen) -> None:
    """As much of a report as there is, while the parts still run."""
    from poolmgr.cli.demo.report import summary_lines

    try:
        left = stack.left()
        result = flow.result(stack.costs(), left)
    except PoolmgrError as error:  # some part has not even started
        logging.getLogger(__name__).warning("no report: %s", error)
        return
    _write_report(args, result)
    for line in summary_lines(result, [*flow.tally.failures, *flow.images.failures.values()], left):
        screen.tell(line)


def _write_report(args: argparse.Namespace, result: dict[str, Any]) -> None:
    if args.report:
        Path(args.report).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _check_writable(path: Path) -> None:
    """Raises ConfigError: better now than after the whole run."""
    try:
        with path.open("a", encoding="utf-8"):
            pass
    except OSError as error:
        raise ConfigError(f"--report: {error}") from error


def _stack(args: argparse.Namespace, directory: Path, screen: Screen) -> Stack:
    from poolmgr.cli.demo.plan import DEMO_CLOUDS, DEMO_IMAGE, DEMO_LABELS, DEMO_TENANTS, Plan
    from poolmgr.runtime.clock import SystemClock

    plan = Plan(
        clouds=DEMO_CLOUDS,
        labels=DEMO_LABELS,
        tenants=DEMO_TENANTS,
        image=DEMO_IMAGE,
        boot=args.boot,
        seed=args.seed,
    )
    if args.store == "memory":
        from poolmgr.cli.demo.inline import InlineStack

        screen.tell(
            "--store memory: no ZooKeeper; store, clouds, builder and launcher are all in this process"
        )
        return InlineStack(plan, directory)
    from poolmgr.cli.demo.processes import ProcessStack

    return ProcessStack(plan, directory, SystemClock())


def _log_to(path: Path) -> None:
    """Our own log goes to a file: the screen is drawn on."""
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
