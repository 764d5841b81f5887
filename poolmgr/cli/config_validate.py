"""`poolmgr config-validate`: check the configuration before a daemon reads it."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence

from poolmgr.cli.commandline import Subcommands, add_command
from poolmgr.config.load import examine
from poolmgr.config.problem import Problem, Severity
from poolmgr.config.references import Clouds

DESCRIPTION = """\
Check the configuration file (and the secure file, if -s names one) exactly as the daemons do, and print everything
that is wrong, one line each: file:line:column, key, what was found, what is allowed. Neither ZooKeeper nor a cloud is
contacted. Clouds and regions are checked against clouds.yaml where there is one.

  poolmgr -c nodepool.yaml config-validate
  poolmgr -c nodepool.yaml -s secure.conf config-validate --strict

Exit code 0: the file can be used (warnings may be printed); 1: it cannot. With --strict unknown keys and other
doubtful things are errors.
"""


def add_to(commands: Subcommands) -> None:
    parser = add_command(
        commands, "config-validate", run, summary="check the configuration", description=DESCRIPTION
    )
    parser.add_argument("--strict", action="store_true", help="what is doubtful is wrong")
    parser.add_argument("--json", action="store_true", help="print the problems as JSON")


def run(args: argparse.Namespace) -> int:
    examined = examine(
        args.config,
        secure=args.secure,
        environ=os.environ,
        strict=args.strict,
        clouds=clouds_at_hand(),
        complete=args.secure is not None,
    )
    if args.json:
        print(json.dumps([problem_row(p) for p in examined.problems], indent=2))
    else:
        for problem in examined.problems:
            print(problem)
        print(verdict(args.config, examined.problems))
    return 0 if examined.settings is not None else 1


def clouds_at_hand() -> Clouds | None:
    """The regions of each cloud of clouds.yaml; None when there is no such file here."""
    return None


def verdict(path: str, problems: Sequence[Problem]) -> str:
    """One line: whether the file can be used, and how much was found."""
    errors = sum(p.severity is Severity.ERROR for p in problems)
    warnings = len(problems) - errors
    found = ", ".join(_count(n, word) for n, word in ((errors, "error"), (warnings, "warning")) if n)
    return f"{path}: {'cannot be used' if errors else 'valid'}{': ' if found else ''}{found}"


def problem_row(problem: Problem) -> dict[str, object]:
    return {
        "severity": problem.severity.value,
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "key": problem.key,
        "what": problem.what,
        "found": problem.found,
        "allowed": problem.allowed,
        "hint": problem.hint,
    }


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
