"""`poolmgr export-image-data`: a backup of what ZooKeeper knows of images."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from poolmgr.cli import session
from poolmgr.cli.commandline import Subcommands, add_command
from poolmgr.cli.person import counted
from poolmgr.errors import Refused

DESCRIPTION = """\
Write every record of builds and uploads, and every pause, into a file that `poolmgr import-image-data` and Nodepool can
read: all that is needed to go on with the images of all clouds after ZooKeeper has lost its data. The file is only for
its owner to read, and is replaced as a whole or not at all. Images themselves are not in it, nor nodes and requests.

  poolmgr export-image-data /var/backups/image-data.json
"""


def add_to(commands: Subcommands) -> None:
    parser = add_command(
        commands, "export-image-data", run, summary="back up image records", description=DESCRIPTION
    )
    parser.add_argument("path", metavar="FILE")


def run(args: argparse.Namespace) -> int:
    path = writable(args.path)
    with session.opened(args) as store:
        data = store.image_data()
    write_whole(path, json.dumps(data, indent=1, sort_keys=True) + "\n")
    print(f"{counted(len(data), 'record')} written to {path}", file=sys.stderr)
    return 0


def writable(name: str) -> Path:
    """Where to write. Raises Refused for what is there and no file, and for a directory that is not there."""
    path = Path(name).expanduser().resolve()
    if path.exists() and not path.is_file():
        raise Refused(f"{path} is not a regular file")
    if not path.parent.is_dir():
        raise Refused(f"there is no directory {path.parent}")
    return path


def write_whole(path: Path, text: str) -> None:
    """Put a file of mode 0600 in place of what is at `path`. Raises Refused; then nothing was changed there."""
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise Refused(f"cannot write {path}: {error.strerror}") from error
