"""`poolmgr cloud delete-image`: away with one of the project's images."""

from __future__ import annotations

import argparse

from poolmgr.cli.cloud.arguments import add_cloud
from poolmgr.cli.commandline import Subcommands, add_command
from poolmgr.errors import Refused

DESCRIPTION = """\
Delete an image of the project, by name or id. One that `upload-image --protected` made is deleted too; one that
somebody else protects, or that servers or volumes still need, is not. An image that a builder uploaded is deleted only
with --force: launchers may be about to boot from it, and the builder will upload it again.

  poolmgr cloud delete-image north debian-12
  poolmgr cloud delete-image north 6d2e4b1c-1111-4222-8333-944444444444

Exit code 0: the cloud has accepted it; 1: it has not, or there is none of this name, or several.
"""


def add_to(verbs: Subcommands) -> None:
    parser = add_command(verbs, "delete-image", run, summary="delete an image", description=DESCRIPTION)
    add_cloud(parser)
    parser.add_argument("name", metavar="NAME", help="name or id")
    parser.add_argument("--force", action="store_true", help="also if a builder uploaded it")


def run(args: argparse.Namespace) -> int:
    from poolmgr.cloud import connect

    with connect(args.cloud, args.region, env=args.env) as cloud:
        image = cloud.get_image(args.name)
        if image.owner is not None and not args.force:
            raise Refused(
                f"image {image.id} ({image.name}) is upload {image.owner.upload} of provider "
                f"{image.owner.provider}: with --force it is deleted all the same"
            )
        cloud.delete_image(image.id)
    return 0
