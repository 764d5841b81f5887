#!/usr/bin/env bash
# What runs, with the memory it takes; fails when something that was started has ended, or nothing runs.
#
#   status.sh [-v]    -v also asks the services about their own parts
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/settings.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/settings.sh"
# shellcheck source-path=SCRIPTDIR source=lib/process.sh
. "$HERE/lib/process.sh"

# Proportional, so that pages which forked processes share count once.
memory_kib() { # PID...
    local pid
    for pid in "$@"; do cat "/proc/$pid/smaps_rollup" 2>/dev/null || true; done | awk '/^Pss:/ { sum += $2 } END { print sum + 0 }'
}

mapfile -t names < <(started)
[ "${#names[@]}" -gt 0 ] || die "nothing runs in $BASE"
printf '%s in %s, ports +%s\n' "$VARIANT" "$STATE" "$PORT_OFFSET"
total=0 ended=0
for name in "${names[@]}"; do
    if ! alive "$name"; then
        printf '%-24s ENDED, see %s\n' "$name" "$LOG/$name.log"
        ended=1
        continue
    fi
    read -r pid _ <"$RUN/$name.pid"
    mapfile -t group < <(pgrep --pgroup "$pid")
    kib=$(memory_kib "${group[@]}")
    total=$((total + kib))
    printf '%-24s pid %-8s processes %-3s %6d MiB\n' "$name" "$pid" "${#group[@]}" $((kib / 1024))
done
printf '%-24s %36d MiB\n' total $((total / 1024))
if [ "${1-}" = -v ]; then
    export OS_CLIENT_CONFIG_FILE=$BASE/clouds.yaml
    for question in 'compute service list' 'network agent list' 'volume service list'; do
        # shellcheck disable=SC2086
        openstack --os-cloud admin $question
    done
fi
exit "$ended"
