"""`poolmgr config-validate`: check the configuration before a daemon reads it."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence

from poolmgr.cli.commandline import Subcommands, add_command, print_error
from poolmgr.cloud.vendor import VendorProfiles
from poolmgr.config.clouds import Clouds, load_clouds
from poolmgr.config.formats import unmade_formats
from poolmgr.config.load import examine
from poolmgr.config.problem import Problem, Severity
from poolmgr.config.settings import OpenStackProvider, Settings
from poolmgr.errors import ConfigError
from poolmgr.runtime.clock import SystemClock

DESCRIPTION = """\
Check the configuration file (and the secure file, if -s names one) exactly as the daemons do, and print everything
that is wrong, one line each: file:line:column, key, what was found, what is allowed. Neither ZooKeeper nor a cloud is
contacted. Clouds and regions are checked against clouds.yaml where there is one.

  poolmgr -c nodepool.yaml config-validate
  poolmgr -c nodepool.yaml -s secure.conf config-validate --strict --builder

Exit code 0: the file can be used (warnings may be printed); 1: it cannot. With --strict unknown keys and other
doubtful things are errors.
"""


def add_to(commands: Subcommands) -> None:
    parser = add_command(
        commands, "config-validate", run, summary="check the configuration", description=DESCRIPTION
    )
    parser.add_argument("--strict", action="store_true", help="what is doubtful is wrong")
    parser.add_argument("--builder", action="store_true", help="look for what only a builder needs, too")
    parser.add_argument("--json", action="store_true", help="print the problems as JSON")


def run(args: argparse.Namespace) -> int:
    unreadable = False
    clouds = None
    try:
        clouds = load_clouds(
            environ=os.environ,
            paths=clouds_files(args),
            remote=VendorProfiles(SystemClock(), os.environ, download=None),
        )
    except ConfigError as error:  # told, but it must not hide what is wrong in the file
        print_error("config-validate", error)
        unreadable = True
    problems = found(args, clouds if clouds and clouds.file else None)
    if args.json:
        print(json.dumps([problem_row(p) for p in problems], indent=2))
    else:
        for problem in problems:
            print(problem)
        print(verdict(args.config, problems))
    return 1 if unreadable or any(p.severity is Severity.ERROR for p in problems) else 0


def clouds_files(args: argparse.Namespace) -> Sequence[str] | None:
    """Where the file says that clouds.yaml is; None: it says nothing, or cannot be read, which is told later."""
    settings = examine(args.config, secure=args.secure, environ=os.environ, complete=False).settings
    return settings.clouds_files or None if settings else None


def found(args: argparse.Namespace, clouds: Clouds | None) -> list[Problem]:
    """Everything that is wrong in the files, in their order; `clouds` None: there is no clouds.yaml at hand."""
    examined = examine(
        args.config,
        secure=args.secure,
        environ=os.environ,
        strict=args.strict,
        clouds=clouds.all_regions() if clouds else None,
        complete=args.secure is not None,
        builder=args.builder,
    )
    if clouds is None or examined.settings is None:
        return list(examined.problems)
    return [*examined.problems, *clouds.warnings, *problems_of_clouds(examined.settings, clouds)]


def problems_of_clouds(settings: Settings, clouds: Clouds) -> list[Problem]:
    """What is wrong in clouds.yaml with the clouds that providers use; each cloud and region once."""
    users = {
        name: (provider.cloud, provider.region_name)
        for name, provider in settings.providers.items()
        if isinstance(provider, OpenStackProvider) and provider.cloud in clouds.names()
    }
    examined = {(cloud, region): clouds.examine(cloud, region) for cloud, region in users.values() if cloud}
    used = {name: examined[user].settings for name, user in users.items()}
    problems = [problem for one in examined.values() for problem in one.problems]
    problems += unmade_formats(settings, {name: cloud for name, cloud in used.items() if cloud})
    return list(dict.fromkeys(problems))


def verdict(path: str, problems: Sequence[Problem]) -> str:
    """One line: whether the file can be used, and how much was found."""
    errors = sum(p.severity is Severity.ERROR for p in problems)
    warnings = len(problems) - errors
    counts = ", ".join(_count(n, word) for n, word in ((errors, "error"), (warnings, "warning")) if n)
    return f"{path}: {'cannot be used' if errors else 'valid'}{': ' if counts else ''}{counts}"


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
