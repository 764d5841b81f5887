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
marker=openstack inside=()
if [ "$variant" = qemu ]; then # its machines can be reached from within their network namespace only
    marker=openstack_vm
    inside=(nsenter "--net=/run/netns/poolmgr-os-${POOLMGR_OPENSTACK_PORT_OFFSET:-0}")
fi

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "openstack: real services need root on Debian or Ubuntu (--no-openstack of tools/test.sh leaves them out)" >&2
    exit 1
fi
tools/setup.sh || exit
was_up=$(devstack/local/status.sh 2>/dev/null | grep --count "^$variant ")
devstack/local/up.sh "$variant" || exit
export POOLMGR_OPENSTACK_CLOUDS=${POOLMGR_OPENSTACK_BASE:-/var/tmp/poolmgr-openstack}/clouds.yaml
export PATH="$PWD/.venv/bin:$PATH"
# One process: the tests share the services, and these keep both cores busy.
timeout --foreground --signal=INT --kill-after=60 60m \
    "${inside[@]}" pytest -o faulthandler_timeout=1500 -m "$marker" tests/integration/openstack "$@"
status=$?
[ "$was_up" != 0 ] || devstack/local/down.sh
exit "$status"
