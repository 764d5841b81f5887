"""`poolmgr cloud`: verbs for clouds of clouds.yaml, without ZooKeeper and without nodepool.yaml."""

from __future__ import annotations

import argparse

from poolmgr.cli.cloud import (
    clean,
    config,
    console,
    create_server,
    delete_image,
    delete_server,
    inventory,
    list_images,
    list_servers,
    profiles,
    show,
    upload_image,
)
from poolmgr.cli.commandline import Subcommands

DESCRIPTION = """\
Work with the clouds of clouds.yaml. Neither ZooKeeper nor a configuration file of poolmgr is needed. The files are
looked for in the working directory, ~/.config/openstack and /etc/openstack.

  poolmgr cloud show north
  poolmgr cloud profiles
  poolmgr cloud config north --explain
  poolmgr cloud upload-image north debian-12.qcow2
  poolmgr cloud create-server north my-server --image debian-12 --flavor small

`poolmgr cloud VERB --help` explains a verb, with examples.
"""

#: Each module adds its own part of the command line with `add_to`.
VERBS = (
    show,
    config,
    profiles,
    create_server,
    list_servers,
    console,
    delete_server,
    clean,
    inventory,
    upload_image,
    list_images,
    delete_image,
)


def add_to(commands: Subcommands) -> None:
    parser = commands.add_parser(
        "cloud",
        help="look at clouds and use them",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for verb in VERBS:
        verb.add_to(verbs)
