#!/usr/bin/env bash
# Speed and memory of the launcher against its budgets. All set-up included; see tools/bench/run.py --help.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
"$here/setup.sh"
exec "$here/../.venv/bin/python" "$here/bench/run.py" "$@"
