#!/usr/bin/env bash
# Lets diskimage-builder's element `vm` make partitions on a kernel without device-mapper (many containers and small
# virtual machines): links the stand-ins beside this file into /usr/local/sbin, where sudo looks before it finds the real
# kpartx and dmsetup. Where the kernel has device-mapper nothing is done. Says what it does.
#
#   tools/dib/partitions.sh [remove]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
place=/usr/local/sbin

say() { printf 'partitions: %s\n' "$*"; }

if [ "${1-}" = remove ]; then
    for name in kpartx dmsetup; do
        if [ "$(readlink "$place/$name")" = "$here/$name" ]; then
            rm "$place/$name"
            say "removed $place/$name"
        fi
    done
    exit
fi

if grep --quiet --word-regexp device-mapper /proc/devices; then
    exit
fi
for name in kpartx dmsetup; do
    [ "$(readlink "$place/$name")" != "$here/$name" ] || continue
    if [ -e "$place/$name" ] && [ ! -L "$place/$name" ]; then
        say "$place/$name is someone's own program: it stays" >&2
        continue
    fi
    ln --symbolic --force --no-target-directory "$here/$name" "$place/$name"
    say "no device-mapper in this kernel: $place/$name now stands in for it (undone by: tools/dib/partitions.sh remove)"
done
