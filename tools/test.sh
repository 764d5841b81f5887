#!/usr/bin/env bash
# Everything that must hold before a change lands: lint, format, types, manual, tests. All set-up included.
#
#   tools/test.sh [--quick] [--no-images] [--no-openstack] [PYTEST ARGUMENT...]
#
# --quick leaves out the tests marked `integration`, those that build real images, as --no-images does, and those on real
# OpenStack services, as --no-openstack does. The last two need root on Debian or Ubuntu, and fail where that is missing.
# WORKERS=N runs the tests in N processes (default: one a core).
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
tools/setup.sh || exit

selection='not images and not openstack and not openstack_vm'
images=yes openstack=yes
while true; do
    case "${1-}" in
    --quick) selection="not integration and $selection" images='' openstack='' ;;
    --no-images) images='' ;;
    --no-openstack) openstack='' ;;
    *) break ;;
    esac
    shift
done

failed=()
part() {
    local name=$1
    shift
    printf '\n== %s\n' "$name"
    "$@" || failed+=("$name")
}

export PATH="$PWD/.venv/bin:$PATH"
part "lint (ruff check)" ruff check
part "format (ruff format --check)" ruff format --check
part "types (mypy --strict)" mypy
part "manual (sphinx-build)" sphinx-build -q -W --keep-going -d doc/_build/doctrees -b html doc doc/_build/html
if [ "${#failed[@]}" -gt 0 ]; then
    printf '\n'
    printf 'FAILED so far: %s\n' "${failed[@]}"
fi
# The limit is for a hang: pytest has said by then where (faulthandler_timeout in pyproject.toml).
part "tests (pytest)" timeout --foreground --signal=INT --kill-after=60 45m \
    pytest -n "${WORKERS:-auto}" --dist worksteal -m "$selection" "$@"
[ -z "$images" ] || part "real images (tools/images.sh)" tools/images.sh
[ -z "$openstack" ] || part "real OpenStack services (tools/openstack.sh)" tools/openstack.sh fake
[ "${#failed[@]}" -eq 0 ]
