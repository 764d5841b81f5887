"""`poolmgr`: the administration commands, the client, the pretend clouds and the demo.

Exit codes of the commands about nodes are those of the reference, which scripts rely on (cli-web.md 1): 0 for success,
also when a named node does not exist; 1 for what could not be done, and for no command; 2 for a wrong command line.
The commands about images and providers also exit with 1 when there is no such thing, or it may not be done now.
Ctrl-C is 130.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import poolmgr
from poolmgr.cli import (
    config_validate,
    delete,
    hold,
    info,
    ledger,
    list_nodes,
    list_requests,
    logs,
    provider,
    reclaim,
    request,
    simcloud,
)
from poolmgr.cli.cloud import command as cloud
from poolmgr.cli.commandline import print_error
from poolmgr.cli.demo import command as demo
from poolmgr.cli.image import (
    aliens,
    build,
    delete_builds,
    delete_uploads,
    export_data,
    import_data,
    list_build_requests,
    list_builds,
    list_uploads,
    pause,
    status,
)
from poolmgr.errors import PoolmgrError

NODE_COMMANDS = (list_nodes, list_requests, info, hold, delete, request, provider, reclaim, ledger)
IMAGE_COMMANDS = (
    list_builds,
    list_uploads,
    status,
    list_build_requests,
    build,
    pause,
    delete_builds,
    delete_uploads,
    aliens,
    export_data,
    import_data,
)
COMMANDS = (config_validate, *NODE_COMMANDS, *IMAGE_COMMANDS, cloud, simcloud, demo)
DEFAULT_CONFIG = "/etc/nodepool/nodepool.yaml"
INTERRUPTED = 130


def build_parser(prog: str = "poolmgr") -> argparse.ArgumentParser:
    """The whole command line; each command's module adds its own part."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Keeps OpenStack virtual machines ready for CI systems.",
        epilog=f"`{prog} COMMAND --help` explains a command, with examples.",
    )
    parser.add_argument(
        "-c", dest="config", metavar="CONFIG", default=DEFAULT_CONFIG, help="default: %(default)s"
    )
    parser.add_argument(
        "-s", dest="secure", metavar="SECURE", help="secure file, merged into the configuration"
    )
    parser.add_argument("-l", dest="logconfig", metavar="LOGCONFIG", help="logging configuration file")
    parser.add_argument("--debug", action="store_true", help="log DEBUG to stderr; wins over -l")
    parser.add_argument(
        "--connect-timeout",
        metavar="SECONDS",
        type=float,
        default=10.0,
        help="how long to wait for ZooKeeper (default: %(default)g)",
    )
    parser.add_argument("--version", action="version", version=f"Nodepool version: {poolmgr.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in COMMANDS:
        command.add_to(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if not hasattr(args, "run"):
        parser.print_help()
        return 1
    try:
        logs.for_command(file=args.logconfig, debug=args.debug)
        return int(args.run(args))
    except PoolmgrError as error:
        print_error("poolmgr", error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `poolmgr list | head`; without this the interpreter complains at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


if __name__ == "__main__":
    sys.exit(main())
