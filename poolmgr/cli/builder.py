"""`poolmgr-builder`: the name is installed so that unit files and scripts find it; it only says what it cannot do."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import poolmgr

NOT_YET = """\
poolmgr-builder: this release of poolmgr has no image builder.
Keep running nodepool-builder: poolmgr-launcher uses the images that it builds and uploads."""


def main(argv: Sequence[str] | None = None) -> int:
    """Print the version if asked for it; else say that there is no builder. Returns the exit code, 2 unless asked."""
    parser = argparse.ArgumentParser(
        prog="poolmgr-builder", description="Image builder of poolmgr (not in this release)."
    )
    parser.add_argument("--version", action="version", version=f"Nodepool version: {poolmgr.__version__}")
    parser.parse_known_args(argv)  # options of unit files written for nodepool-builder are not the point
    print(NOT_YET, file=sys.stderr)
    return 2
