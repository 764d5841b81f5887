"""What the commands share: how they describe themselves to argparse, and how they tell an error."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TypeAlias

from poolmgr.errors import ConfigError, PoolmgrError

#: What `ArgumentParser.add_subparsers` returns; generic for type checkers only.
Subcommands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_command(
    commands: Subcommands,
    name: str,
    run: Callable[[argparse.Namespace], int],
    *,
    summary: str,
    description: str,
) -> argparse.ArgumentParser:
    """A parser for `name`. `description` is shown as it stands, so it may hold examples."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def seconds(text: str) -> float:
    """An argument type: a number of seconds, not negative."""
    value = float(text)
    if not value >= 0:  # NaN too
        raise argparse.ArgumentTypeError(f"not a number of seconds: {text}")
    return value


def positive_int(text: str) -> int:
    """An argument type: a whole number from 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1: {text}")
    return value


def print_error(prog: str, error: PoolmgrError) -> None:
    """Tell on stderr why nothing came of it: a line for each problem of a configuration, else one line."""
    lines = error.problems if isinstance(error, ConfigError) else [f"{prog}: {error}"]
    for line in lines:
        print(line, file=sys.stderr)
