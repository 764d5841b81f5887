"""`poolmgr simcloud`: pretend clouds for tests, demos and trying configurations."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from poolmgr.cli.commandline import Subcommands, add_command
from poolmgr.errors import ConfigError

DESCRIPTION = """\
Serve pretend OpenStack clouds over HTTP, with one real SSH server for all their guests, until Ctrl-C. Everything
lives in memory. FILE says which clouds, e.g.

  clouds:
    north: {shape: direct, boot: 2}
    south: {shape: nat, boot: {seconds: 5, spread: 2}, quota: {instances: 10}}
    west:  {shape: v6, faults: [{kind: http-500, probability: 0.05}]}

--list-shapes and --list-faults say what there is; the manual explains all keys, and what can be seen and changed under
/_sim/ while it runs.

  poolmgr simcloud clouds.sim.yaml --clouds-yaml /tmp/clouds.yaml
  export OS_CLIENT_CONFIG_FILE=/tmp/clouds.yaml
"""


def add_to(commands: Subcommands) -> None:
    parser = add_command(commands, "simcloud", run, summary="serve pretend clouds", description=DESCRIPTION)
    parser.add_argument("file", metavar="FILE", help="YAML file that describes the clouds")
    parser.add_argument("--list-shapes", action=_Tell, lines=shapes, help="say which shapes there are")
    parser.add_argument(
        "--list-faults", action=_Tell, lines=faults, help="say which faults and texts there are"
    )
    parser.add_argument("--clouds-yaml", metavar="PATH", help="write a clouds.yaml for its clients there")
    parser.add_argument("--announce", metavar="PATH", help="write what --json prints there, once all is up")
    parser.add_argument("--json", action="store_true", help="say where everything is as one line of JSON")


class _Tell(argparse.Action):
    """An option that prints lines and ends the program, as --help does."""

    def __init__(
        self, option_strings: list[str], dest: str, *, lines: Callable[[], list[str]], **options: Any
    ) -> None:
        super().__init__(option_strings, dest, nargs=0, **options)
        self._lines = lines

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print("\n".join(self._lines()))
        parser.exit()


def shapes() -> list[str]:
    """A line for each shape."""
    from poolmgr.simcloud.shapes import SHAPES

    width = max(map(len, SHAPES))
    return [f"{name:{width}}  {shape.about}" for name, shape in SHAPES.items()]


def faults() -> list[str]:
    """Each kind of fault with what it does and which calls it strikes, then the texts that faults can name."""
    from poolmgr.simcloud.fault_kinds import KINDS
    from poolmgr.simcloud.fault_texts import TEXTS

    lines = []
    for kind, row in KINDS.items():
        lines.append(f"{kind.value}: {row.does}")
        lines.append(f"    {', '.join(row.operations) or 'all but identity.*'}")
    texts = [f"{name}: {text.status} {text.message}" for name, text in TEXTS.items()]
    return [*lines, "", "Texts (`text:` of a fault):", *texts]


def run(args: argparse.Namespace) -> int:
    from poolmgr.simcloud import serve  # its servers are not needed for `--help`

    def announce(description: dict[str, Any]) -> None:
        line = json.dumps(description)
        if args.announce:
            write_whole(Path(args.announce), line + "\n")
        print(line if args.json else introduction(description, args.clouds_yaml), flush=True)

    try:
        serve(args.file, announce=announce, clouds_yaml=args.clouds_yaml)
    except OSError as error:
        raise ConfigError(f"{args.file}: cannot listen: {error}") from error
    return 0


def write_whole(path: Path, text: str) -> None:
    """Write a file that others wait for: it is there complete or not at all."""
    draft = path.with_name(path.name + ".new")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, path)


def introduction(description: dict[str, Any], clouds_yaml: str | None) -> str:
    """The same for people."""
    lines = [
        f"{len(description['clouds'])} clouds at {description['url']}: {', '.join(description['clouds'])}",
        f"their state: {description['state_url']}",
    ]
    if description["ssh_port"]:
        lines.append(f"guests answer SSH on port {description['ssh_port']} (connection-port of your images)")
    if clouds_yaml:
        lines.append(f"export OS_CLIENT_CONFIG_FILE={clouds_yaml}")
    return "\n".join([*lines, "Ctrl-C ends it."])
