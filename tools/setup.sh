#!/usr/bin/env bash
# Makes this checkout ready to run: the system packages of bindep.txt and a virtual environment in .venv.
# Called by demo.sh and test.sh; running it again costs nothing unless constraints.txt or setup.cfg changed.
#
#   tools/setup.sh [--images]
#
# --images: also what real builds of diskimage-builder need (the profile `images` of bindep.txt).
#
# PYTHON=/path/to/python   the interpreter to use (3.11 or later); default: the first one found
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$@" >&2; exit 1; }

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    local candidate
    # Trying beats asking: pyenv's shims exist for versions that are not active and then refuse to run.
    for candidate in ${PYTHON:+"$PYTHON"} python3.11 python3.12 python3.13 python3 \
        /usr/bin/python3.1[1-9] "$HOME"/.pyenv/versions/3.1[1-9]*/bin/python3; do
        if is_new_enough "$candidate"; then
            "$candidate" -c 'import sys; print(sys._base_executable)' # not that of .venv, should it be active
            return
        fi
    done
    return 1
}

# The names in bindep.txt for Debian and its kin, without a profile or of the profile asked for.
wanted_packages() { sed -n "s/^\([a-z0-9.+-]*\) *\[platform:dpkg${profile:+\( $profile\)\?}\].*/\1/p" bindep.txt; }

# Those that are not installed. `python3-venv` matters only to a distribution's own Python, and there it must be
# the package of the very version in use.
missing_packages() {
    local package
    for package in $(wanted_packages); do
        if [ "$package" = python3-venv ]; then
            "$python" -c 'import ensurepip' 2>/dev/null && continue
            package="python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
        fi
        dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
            printf '%s\n' "$package"
    done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then env "$@"; else sudo -n env "$@"; fi
}

install_packages() {
    local log packages=("$@")
    if [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; then
        die "these system packages are missing, and installing them needs root (or sudo without a password):" \
            "    apt-get install --no-install-recommends ${packages[*]}" \
            "Install them, then run this again."
    fi
    say "installing system packages: ${packages[*]}"
    log=$(mktemp)
    local apt=(DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l
        apt-get --quiet --yes -o DPkg::Lock::Timeout=300)
    # A list that cannot be refreshed may still be good enough, so only the installation decides.
    as_root "${apt[@]}" update >"$log" 2>&1 </dev/null || say "apt-get update failed; trying with the lists at hand"
    # Recommended packages stay out: poolmgr starts its own ZooKeeper and no system one is wanted.
    if ! as_root "${apt[@]}" install --no-install-recommends "${packages[@]}" >>"$log" 2>&1 </dev/null; then
        tail -n 30 "$log" >&2
        die "apt-get could not install: ${packages[*]} (whole log: $log)"
    fi
    rm -f "$log"
}

ensure_packages() {
    local missing
    if ! command -v dpkg-query >/dev/null; then
        if ! { command -v java && "$python" -c 'import ensurepip'; } >/dev/null 2>&1; then
            die "this is not Debian or Ubuntu, so please install yourself what bindep.txt names:" \
                "    $(wanted_packages | tr '\n' ' ')"
        fi
        say "not Debian or Ubuntu: taking for granted that what bindep.txt names is there"
        return
    fi
    mapfile -t missing < <(missing_packages)
    if [ "${#missing[@]}" = 0 ]; then
        say "system packages: all there"
    else
        install_packages "${missing[@]}"
    fi
}

pip_install() {
    .venv/bin/python -m pip --disable-pip-version-check --no-input install --quiet \
        --constraint constraints.txt "$@" >>.venv/setup.log 2>&1 </dev/null && return
    tail -n 30 .venv/setup.log >&2
    die "pip could not install what setup.cfg and constraints.txt name (whole log: .venv/setup.log)"
}

# What .venv depends on. The path is part of it, since a virtual environment cannot be moved.
fingerprint() {
    { pwd; .venv/bin/python -VV; cat constraints.txt setup.cfg tools/setup.sh; } 2>/dev/null | sha256sum | cut -d' ' -f1
}

ensure_venv() {
    if ! { is_new_enough .venv/bin/python && .venv/bin/python -c 'import pip' 2>/dev/null; }; then
        say "making .venv with $python ($("$python" -V))"
        "$python" -m venv --clear .venv || die "$python cannot make a virtual environment"
    fi
    if [ "$(cat .venv/.fingerprint 2>/dev/null)" = "$(fingerprint)" ]; then
        say "Python packages: up to date"
        return
    fi
    say "installing Python packages into .venv (log: .venv/setup.log)"
    : >.venv/setup.log
    # setuptools first, at its exact version: without build isolation pip builds poolmgr with this very one.
    pip_install "$(grep '^setuptools==' constraints.txt)"
    rm -rf poolmgr.egg-info # of an earlier way of installing: tests would find it before the new one
    pip_install --no-build-isolation --editable '.[test,docs,images]'
    fingerprint >.venv/.fingerprint
}

profile=''
if [ "${1-}" = --images ]; then profile=images; fi
python=$(find_python) || die \
    "poolmgr needs Python 3.11 or later; found only: $(python3 -V 2>/dev/null || echo 'no python3 at all')." \
    "Install python3.11 and its venv module (Debian 12 and Ubuntu 22.04: apt-get install python3.11 python3.11-venv)," \
    "or name another interpreter: PYTHON=/path/to/python3.11"

exec 9<.
flock 9 # two of these at once would break each other's .venv
ensure_packages
ensure_venv
