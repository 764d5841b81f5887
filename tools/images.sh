#!/usr/bin/env bash
# The tests that build images with the real diskimage-builder. All set-up included; takes about five minutes.
#
#   tools/images.sh [PYTEST ARGUMENT...]
#
# Packages come from where this machine's apt gets its own. What was built stays in POOLMGR_IMAGES (default:
# /var/tmp/poolmgr-images): the tests on real OpenStack services (tools/openstack.sh) upload and boot it.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

die() { printf 'images: %s\n' "$@" >&2; exit 1; }

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    die "real builds need root on Debian or Ubuntu (--no-images of tools/test.sh leaves them out)"
fi
tools/setup.sh --images || exit
tools/dib/partitions.sh || exit

# Where apt gets the packages of a release from.
mirror() {
    # shellcheck disable=SC2016 # names of apt's, not of the shell
    apt-get indextargets --format '$(SITE) $(RELEASE)' 'Created-By: Packages' | awk -v release="$1" '$2 == release { print $1; exit }'
}

# shellcheck source=/dev/null
. /etc/os-release
DIB_RELEASE=bookworm
if [ "$ID" = debian ]; then # elsewhere diskimage-builder's own idea of a mirror has to do
    DIB_RELEASE=$VERSION_CODENAME
    DIB_DISTRIBUTION_MIRROR=$(mirror "$DIB_RELEASE")
    DIB_DEBIAN_SECURITY_MIRROR=$(mirror "$DIB_RELEASE-security")
    [ -n "$DIB_DISTRIBUTION_MIRROR" ] || die "apt's sources name no mirror of Debian $DIB_RELEASE, which an image could be made of"
    export DIB_DISTRIBUTION_MIRROR
    [ -z "$DIB_DEBIAN_SECURITY_MIRROR" ] || export DIB_DEBIAN_SECURITY_MIRROR
fi
export DIB_RELEASE
export POOLMGR_IMAGES=${POOLMGR_IMAGES:-/var/tmp/poolmgr-images}
# Programs of the system first after our own: a build calls for them, and for Python, by name.
export PATH="$PWD/.venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
timeout --foreground --signal=INT --kill-after=60 30m \
    pytest -o faulthandler_timeout=1200 -m images tests/integration/images "$@"
