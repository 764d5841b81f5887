#!/usr/bin/env bash
# The tests on real OpenStack services: brings them up on this machine, runs, takes them down again.
#
#   tools/openstack.sh [fake|qemu] [PYTEST ARGUMENT...]
#
# fake: Nova's fake driver, many servers, no machine behind them. qemu: one or two real machines, slow under emulation.
# Services that are up already are used, and left up. See devstack/README.rst.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

variant=fake
case "${1-}" in fake | qemu) variant=$1 && shift ;; esac
marker=openstack
[ "$variant" = qemu ] && marker=openstack_vm

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "openstack: real services need root on Debian or Ubuntu (--no-openstack of tools/test.sh leaves them out)" >&2
    exit 1
fi
tools/setup.sh || exit
was_up=$(devstack/local/status.sh "$variant" >/dev/null 2>&1 && echo yes)
devstack/local/up.sh "$variant" || exit
export PATH="$PWD/.venv/bin:$PATH"
# One process: the tests share the services, and these keep both cores busy.
timeout --foreground --signal=INT --kill-after=60 60m pytest -m "$marker" tests/integration/openstack "$@"
status=$?
[ -n "$was_up" ] || devstack/local/down.sh "$variant"
exit "$status"
