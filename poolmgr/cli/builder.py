"""`poolmgr-builder`: the daemon that makes images and uploads them."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import fields

from poolmgr.builder.images_dir import images_dir_of
from poolmgr.cli.commandline import positive_int
from poolmgr.cli.daemon import Daemon, Kind, parser_for, run
from poolmgr.policy.image_tuning import ImageTuning

DESCRIPTION = """\
Builds disk images with diskimage-builder when they are due, or asked for, and uploads them to OpenStack clouds.

  poolmgr-builder -f -c nodepool.yaml        in the foreground (containers, systemd)
  poolmgr-builder -d -c nodepool.yaml        the same with debug messages
  poolmgr-builder                            detached, with pid file and log file

It works in `images-dir` of the configuration, which must exist and which it shares with no other builder. SIGTERM and
SIGINT stop it: builds are ended with all that they started, uploads broken off and tidied up, locks released. SIGHUP
reads the configuration again (it also does so by itself when a file changes). SIGUSR1 logs what every worker and thread
is doing, SIGUSR2 logs DEBUG for ten minutes.
Metrics go to STATSD_HOST:STATSD_PORT if either is set. Tables, health and the logs of builds are served over HTTP where
`builder-webapp` says, else on port 8006.
"""


def _make(args: argparse.Namespace) -> Daemon:
    from poolmgr.wiring import BuilderDaemon  # it imports every part there is; `--help` needs none

    return BuilderDaemon(
        args.config,
        args.secure,
        build_workers=args.build_workers,
        upload_workers=args.upload_workers,
        webapp=not args.no_webapp,
        tuning=ImageTuning(**dict(args.tuning)),
    )


BUILDER = Kind(
    name="builder",
    log=logging.getLogger("poolmgr.cli.builder"),  # under -m, __name__ is another
    log_file="/var/log/nodepool/nodepool-builder.log",
    pidfile="/var/run/nodepool/nodepool-builder.pid",
    make=_make,
    check=images_dir_of,
)


def build_parser() -> argparse.ArgumentParser:
    parser = parser_for(BUILDER, DESCRIPTION)
    parser.add_argument(
        "--build-workers",
        metavar="N",
        type=positive_int,
        default=1,
        help="builds at the same time (default: %(default)s)",
    )
    parser.add_argument(
        "--upload-workers",
        metavar="N",
        type=positive_int,
        help="uploads at the same time, where max-parallel-uploads is not configured (default: no limit but that of "
        "each provider)",
    )
    parser.add_argument(  # constants of policy.image_tuning, for tests and the demo
        "--tuning", type=_constant, action="append", default=[], help=argparse.SUPPRESS
    )
    return parser


def _constant(text: str) -> tuple[str, float]:
    """An argument type: NAME=NUMBER, a field of ImageTuning."""
    name, _, number = text.partition("=")
    whole = {field.name: isinstance(field.default, int) for field in fields(ImageTuning)}
    if name not in whole:
        raise argparse.ArgumentTypeError(f"no such constant: {name}")
    return name, int(number) if whole[name] else float(number)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the builder until it is told to stop; returns the exit code: 0 after an orderly stop."""
    return run(BUILDER, build_parser().parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
