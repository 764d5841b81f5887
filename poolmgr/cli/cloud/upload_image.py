"""`poolmgr cloud upload-image`: a local file as an image, whole and verified, or nothing."""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Mapping
from typing import Any

from poolmgr.cli.cloud.arguments import add_cloud
from poolmgr.cli.cloud.images import image_lines, image_row
from poolmgr.cli.commandline import Subcommands, add_command, add_json, positive_int, print_error, seconds
from poolmgr.cloud.library.disk_format import KNOWN
from poolmgr.errors import CloudUnavailable, ConfigError

DESCRIPTION = """\
Upload a file as a private image and print it once it is active, and its size and checksum are those of the file. What
the file is, is seen from its first bytes: qcow2, vhd, vhdx, vmdk, vdi, iso, else raw.

  poolmgr cloud upload-image north debian-12.qcow2
  poolmgr cloud upload-image north disk.img --name debian-12 --min-disk 10 --property hw_disk_bus=virtio
  poolmgr cloud upload-image north debian-12.qcow2 --json | jq -r .id

By which way depends on the cloud, and on image_upload_method of clouds.yaml: a plain PUT, an import, a task that takes
the file from the object store, or version 1 of the Image API. An upload that is cut off is begun anew, three times. The
same file under the same name is not uploaded twice; another one under a name that is taken is refused.

When it fails, or at Ctrl-C, everything that was made is deleted again before the command ends. Exit code 0: the image
is there; 1: it is not, and nothing is left of it unless the message says so; 130: Ctrl-C.
"""

METHODS = ("auto", "put", "import", "web-download", "tasks", "v1")


def add_to(verbs: Subcommands) -> None:
    parser = add_command(
        verbs, "upload-image", run, summary="upload a file as an image", description=DESCRIPTION
    )
    add_cloud(parser)
    parser.add_argument("file", metavar="FILE", help="the disk image")
    parser.add_argument("--name", metavar="NAME", help="default: the file's, without its suffix")
    parser.add_argument("--disk-format", metavar="FORMAT", choices=KNOWN, help="default: what the file is")
    parser.add_argument(
        "--property", metavar="KEY=VALUE", action="append", default=[], help="may be repeated"
    )
    parser.add_argument("--tag", metavar="TAG", action="append", default=[], help="may be repeated")
    parser.add_argument("--min-disk", metavar="GIB", type=positive_int, help="least disk of a flavor for it")
    parser.add_argument("--min-ram", metavar="MIB", type=positive_int, help="least memory of a flavor for it")
    parser.add_argument(
        "--protected", action="store_true", help="the cloud refuses to delete it, but to delete-image"
    )
    parser.add_argument("--method", choices=METHODS, help="default: image_upload_method of clouds.yaml")
    parser.add_argument("--url", metavar="URL", help="where the cloud finds the file, for web-download")
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        help="of all of it (default: as long as something moves)",
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from rich.console import Console

    from poolmgr.cli.cloud.upload_screen import screen_for
    from poolmgr.cloud import connect
    from poolmgr.runtime.signals import stop_signals

    wanted = wanted_of(args)
    cancelled = threading.Event()
    screen = screen_for(Console(stderr=True), time.monotonic)
    overrides = {"image_upload_method": args.method} if args.method else None
    with connect(args.cloud, args.region, env=args.env, overrides=overrides) as cloud:
        try:
            with stop_signals(cancelled.set):
                image = cloud.upload_image(
                    args.file, **wanted, progress=screen.show, cancelled=cancelled, timeout=args.timeout
                )
        except CloudUnavailable as error:
            screen.close()
            if not cancelled.is_set():
                raise
            print_error("poolmgr", error)
            raise KeyboardInterrupt from error
        finally:
            screen.close()
    row = {**image_row(image, now=time.time()), "cloud": cloud.name, "region": cloud.region}
    print(json.dumps(row, indent=2) if args.json else "\n".join(image_lines(row)))
    return 0


def wanted_of(args: argparse.Namespace) -> dict[str, Any]:
    """What is asked for, as `Connection.upload_image` takes it. Raises ConfigError."""
    return {
        "name": args.name,
        "disk_format": args.disk_format,
        "min_disk_gib": args.min_disk or 0,
        "min_ram_mib": args.min_ram or 0,
        "properties": properties_of(args.property),
        "tags": args.tag,
        "protected": args.protected,
        "url": args.url,
    }


def properties_of(pairs: list[str]) -> Mapping[str, str]:
    """The properties that KEY=VALUE texts give. Raises ConfigError for one without `=`."""
    for pair in pairs:
        if "=" not in pair or pair.startswith("="):
            raise ConfigError(f"--property {pair}: must be KEY=VALUE")
    return dict(pair.split("=", 1) for pair in pairs)
