#!/usr/bin/env bash
# Stops what up.sh started, and nothing else: by recorded process id, if its start time is still the recorded one.
#
#   down.sh [--wipe]    --wipe also removes the variant's state: databases, images, logs
set -euo pipefail
case ${1-} in
'' | --wipe) ;;
*)
    echo "usage: $0 [--wipe]" >&2
    exit 2
    ;;
esac
# shellcheck source-path=SCRIPTDIR source=lib/settings.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/settings.sh"
# shellcheck source-path=SCRIPTDIR source=lib/process.sh
. "$HERE/lib/process.sh"
# shellcheck source-path=SCRIPTDIR source=lib/backends.sh
. "$HERE/lib/backends.sh"
# shellcheck source-path=SCRIPTDIR source=lib/qemu.sh
. "$HERE/lib/qemu.sh"

is_backend() { [[ " ${BACKENDS[*]} " == *" $1 "* ]]; }

[ -d "$STATE" ] || exit 0
[ "$(id -u)" = 0 ] || die "needs root, as up.sh did"
exec 9>"$BASE/lock"
flock --nonblock 9 || die "another up.sh or down.sh works in $BASE"

# All that use the database or the bus first, side by side, so that they can still say goodbye there.
for name in $(started); do
    is_backend "$name" || stop "$name" &
done
wait
if [ "$VARIANT" = qemu ]; then stop_qemu; fi
for name in "${BACKENDS[@]}"; do stop "$name"; done
if [ "${1-}" = --wipe ]; then
    rm -rf --one-file-system "$STATE"
    rm -f "$BASE"/{clouds.yaml,openrc,variant} # they point there
fi
say "down: $VARIANT in $BASE"
