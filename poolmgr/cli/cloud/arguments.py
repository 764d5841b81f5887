"""How the verbs of `poolmgr cloud` are told which cloud is meant."""

from __future__ import annotations

import argparse


def add_cloud(parser: argparse.ArgumentParser) -> None:
    """CLOUD, --region and --env, as `args.cloud`, `args.region`, `args.env`: what `choose` and `connect` take."""
    parser.add_argument(
        "cloud",
        metavar="CLOUD",
        nargs="?",
        help="a cloud of clouds.yaml; left out: OS_CLOUD, the cloud that the OS_* variables describe, the only one",
    )
    parser.add_argument("--region", metavar="REGION", help="one of its regions (default: the first)")
    parser.add_argument(
        "--env",
        action="store_true",
        default=None,  # read where CLOUD is left out
        help="read the OS_* variables also when CLOUD is given: the cloud that they describe is `envvars`",
    )
