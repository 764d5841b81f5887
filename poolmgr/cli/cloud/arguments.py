"""How the verbs of `poolmgr cloud` are told which cloud is meant."""

from __future__ import annotations

import argparse


def add_cloud(parser: argparse.ArgumentParser) -> None:
    """CLOUD, --region and --env, as `args.cloud`, `args.region`, `args.env`: what `choose` and `connect` take."""
    parser.add_argument(
        "cloud",
        metavar="CLOUD",
        nargs="?",
        help="a cloud of clouds.yaml; may be left out when there is only one",
    )
    parser.add_argument("--region", metavar="REGION", help="one of its regions (default: the first)")
    parser.add_argument(
        "--env",
        action="store_true",
        help="read the OS_* variables: OS_CLOUD and OS_REGION_NAME choose where CLOUD is left out, "
        "and a cloud that the others describe is known as `envvars`",
    )
