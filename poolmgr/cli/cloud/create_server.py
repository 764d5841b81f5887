"""`poolmgr cloud create-server`: a server with a working address, or nothing."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from poolmgr.cli.cloud.arguments import add_cloud
from poolmgr.cli.cloud.servers import print_servers, server_row
from poolmgr.cli.commandline import Subcommands, add_command, add_json, positive_int, seconds
from poolmgr.cloud.library.records import Progress, reach_of
from poolmgr.errors import ConfigError, PoolmgrError, ServerFailed

DESCRIPTION = """\
Create a server, wait until it is active and has an address that it can be reached at, and print it. Where servers need
a floating IP for that, one is made. Steps are told on stderr as they are taken.

  poolmgr cloud create-server north my-server --image debian-12 --flavor small
  poolmgr cloud create-server north my-server --image debian-12 --min-ram 4096 --key-file ~/.ssh/id_ed25519.pub \\
      --security-group web --metadata groups=web,staging --reachable ssh
  poolmgr cloud create-server north my-server --image debian-12 --flavor small --json | jq -r .address

When it fails, or at Ctrl-C, everything that was made is deleted again before the command ends. Exit code 0: the server
is there; 1: it is not, and nothing is left of it unless the message says so; 130: Ctrl-C.
"""


def add_to(verbs: Subcommands) -> None:
    parser = add_command(verbs, "create-server", run, summary="create a server", description=DESCRIPTION)
    add_cloud(parser)
    parser.add_argument("name", metavar="NAME", help="what it will be called")
    parser.add_argument("--image", metavar="IMAGE", required=True, help="name or id")
    parser.add_argument("--flavor", metavar="FLAVOR", help="name or id; with --min-ram a part of the name")
    parser.add_argument(
        "--min-ram", metavar="MIB", type=positive_int, help="the smallest flavor with as much memory"
    )
    parser.add_argument(
        "--network", metavar="NET", action="append", default=[], help="name or id; may be repeated"
    )
    parser.add_argument(
        "--security-group", metavar="GROUP", action="append", default=[], help="name or id; may be repeated"
    )
    parser.add_argument("--key-name", metavar="KEY", help="key pair of the login")
    parser.add_argument(
        "--key-file",
        metavar="FILE",
        help="SSH public key; it becomes a key pair, called KEY if that is given",
    )
    parser.add_argument("--az", metavar="ZONE", help="availability zone (default: the cloud chooses)")
    parser.add_argument("--userdata", metavar="FILE", help="file that cloud-init gets; - is standard input")
    parser.add_argument("--config-drive", action="store_true", default=None, help="attach a config drive")
    parser.add_argument(
        "--metadata", metavar="KEY=VALUE", action="append", default=[], help="may be repeated"
    )
    parser.add_argument(
        "--volume", metavar="GIB", type=positive_int, help="boot from a new volume of this size"
    )
    parser.add_argument("--no-auto-ip", action="store_true", help="make no floating IP")
    parser.add_argument(
        "--reachable", metavar="WHAT", help="wait until it answers: ssh, ssh:PORT or tcp:PORT"
    )
    parser.add_argument("--no-wait", action="store_true", help="return when the cloud has accepted it")
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=600.0,
        help="of all of it (default: %(default)g)",
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from poolmgr.cloud import connect

    reach = reach_of(args.reachable) if args.reachable else None
    metadata = metadata_of(args.metadata)
    userdata = text_of(args.userdata) if args.userdata else None
    told = Telling()
    with connect(args.cloud, args.region, env=args.env) as cloud:
        try:
            server = cloud.create_server(
                args.name,
                image=args.image,
                flavor=args.flavor,
                min_ram=args.min_ram,
                networks=args.network,
                security_groups=args.security_group,
                key_name=args.key_name,
                key_file=args.key_file,
                az=args.az,
                userdata=userdata,
                config_drive=args.config_drive,
                metadata=metadata,
                boot_from_volume=args.volume is not None,
                volume_gib=args.volume or 0,
                auto_ip=not args.no_auto_ip,
                wait=not args.no_wait,
                timeout=args.timeout,
                reachable=reach,
                progress=told,
            )
        except (PoolmgrError, KeyboardInterrupt) as error:
            tell_more(error)
            raise
    row = {**server_row(server, now=time.time()), "cloud": cloud.name, "region": cloud.region}
    if args.json:
        print(json.dumps({**row, "host_keys": list(told.host_keys)}, indent=2))
    else:
        print_servers([row], as_json=False)
    return 0


class Telling:
    """Prints every step on stderr, and keeps the host keys."""

    host_keys: tuple[str, ...] = ()

    def __call__(self, progress: Progress) -> None:
        self.host_keys = progress.host_keys or self.host_keys
        print(
            f"{progress.seconds:7.1f} s  {progress.stage.value:<11}  {progress.detail}".rstrip(),
            file=sys.stderr,
        )


def tell_more(error: BaseException) -> None:
    """What is known besides the message: the end of the console, and what could not be cleaned up."""
    lines = error.console.splitlines() if isinstance(error, ServerFailed) else []
    lines = ["The end of its console:", *(f"  {line}" for line in lines)] if lines else []
    for line in (*lines, *getattr(error, "__notes__", ())):
        print(line, file=sys.stderr)


def metadata_of(pairs: list[str]) -> Mapping[str, str]:
    """The metadata that KEY=VALUE texts give. Raises ConfigError for one without `=`."""
    for pair in pairs:
        if "=" not in pair or pair.startswith("="):
            raise ConfigError(f"--metadata {pair}: must be KEY=VALUE")
    return dict(pair.split("=", 1) for pair in pairs)


def text_of(file: str) -> str:
    """What is in a file, or on standard input. Raises ConfigError."""
    try:
        return sys.stdin.read() if file == "-" else Path(file).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: {getattr(error, 'strerror', None) or 'not a text'}") from error
