"""`poolmgr cloud list-images`: the project's own images, and whose they are."""

from __future__ import annotations

import argparse
import time

from poolmgr.cli.cloud.arguments import add_cloud
from poolmgr.cli.cloud.images import image_row, print_images
from poolmgr.cli.commandline import Subcommands, add_command, add_json

DESCRIPTION = """\
List the images of the project, in any state; images that others share or publish are not among them. Owner is
`library` for what `upload-image`, or a program with poolmgr's library, has made, an upload of a builder's provider, or
nobody that poolmgr knows. What is neither active nor being uploaded is what a killed upload left behind:
`poolmgr cloud delete-image` deletes it.

  poolmgr cloud list-images north
  poolmgr cloud list-images north --json
"""


def add_to(verbs: Subcommands) -> None:
    parser = add_command(
        verbs, "list-images", run, summary="list the project's images", description=DESCRIPTION
    )
    add_cloud(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from poolmgr.cloud import connect

    with connect(args.cloud, args.region, env=args.env) as cloud:
        images = cloud.list_images()
    now = time.time()
    print_images([image_row(image, now=now) for image in images], as_json=args.json)
    return 0
