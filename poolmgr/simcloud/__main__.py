"""`python -m poolmgr.simcloud FILE`: serve the clouds of FILE until Ctrl-C; one line of JSON says where."""

from __future__ import annotations

import sys

from poolmgr.errors import ConfigError
from poolmgr.simcloud.server import serve


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m poolmgr.simcloud FILE\n")
        return 2
    try:
        serve(arguments[0])
    except (ConfigError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
