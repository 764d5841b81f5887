#!/usr/bin/env bash
# Shows poolmgr at work: real ZooKeeper, simulated clouds over HTTP, a builder, a launcher. All set-up included.
# Arguments go to `poolmgr demo` (--help lists them).
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
"$here/setup.sh"
exec "$here/../.venv/bin/poolmgr" demo "$@"
