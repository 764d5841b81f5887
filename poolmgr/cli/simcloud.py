"""`poolmgr simcloud`: pretend clouds for tests, demos and trying configurations."""

from __future__ import annotations

import argparse
import json
import os
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

Shapes: direct, nat, novanet, v6, tasks. The module poolmgr.simcloud.config explains all keys, .state what can be seen
and changed under /_sim/ while it runs.

  poolmgr simcloud clouds.sim.yaml --clouds-yaml /tmp/clouds.yaml
  export OS_CLIENT_CONFIG_FILE=/tmp/clouds.yaml
"""


def add_to(commands: Subcommands) -> None:
    parser = add_command(commands, "simcloud", run, summary="serve pretend clouds", description=DESCRIPTION)
    parser.add_argument("file", metavar="FILE", help="YAML file that describes the clouds")
    parser.add_argument("--clouds-yaml", metavar="PATH", help="write a clouds.yaml for its clients there")
    parser.add_argument("--announce", metavar="PATH", help="write what --json prints there, once all is up")
    parser.add_argument("--json", action="store_true", help="say where everything is as one line of JSON")


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
