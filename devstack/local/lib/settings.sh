# shellcheck shell=bash disable=SC2034
# Where things are and what they are called. Sourced first by up.sh, down.sh and status.sh.

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BASE=${POOLMGR_OPENSTACK_BASE:-/var/tmp/poolmgr-openstack}

# up.sh sets VARIANT from its argument; the others work on the one that up.sh recorded.
VARIANT=${VARIANT:-$(cat "$BASE/variant" 2>/dev/null || echo fake)}
STATE=$BASE/$VARIANT
ETC=$STATE/etc LOG=$STATE/log RUN=$STATE/run

# A second cloud on the same machine needs a base directory and an offset of its own. The schemas hold URLs,
# so a state keeps the offset that it was made with.
PORT_OFFSET=${POOLMGR_OPENSTACK_PORT_OFFSET:-$(cat "$STATE/port-offset" 2>/dev/null || echo 0)}

IP=127.0.0.1
port() { echo $(($1 + PORT_OFFSET)); }
KEYSTONE_PORT=$(port 5000)
GLANCE_PORT=$(port 9292)
PLACEMENT_PORT=$(port 8778)
NOVA_PORT=$(port 8774)
NOVA_METADATA_PORT=$(port 8775)
NEUTRON_PORT=$(port 9696)
CINDER_PORT=$(port 8776)
SWIFT_PORT=$(port 18080) # not Swift's usual 8080: ZooKeeper's own HTTP server likes that one
SWIFT_OBJECT_PORT=$(port 16200)
SWIFT_CONTAINER_PORT=$(port 16201)
SWIFT_ACCOUNT_PORT=$(port 16202)
MYSQL_PORT=$(port 13306)
RABBIT_PORT=$(port 15673)
RABBIT_DISTRIBUTION_PORT=$(port 15674)
EPMD_PORT=$(port 14369)
MEMCACHED_PORT=$(port 11212)

AUTH_URL=http://$IP:$KEYSTONE_PORT/v3
REGION=RegionOne
PASSWORD=poolmgr # of every account; nothing listens anywhere but on loopback
POOLS=(pool-a pool-b pool-c)
NAMESPACE=poolmgr-os-$PORT_OFFSET # the data plane of `qemu`

FAKE_COMPUTES=${FAKE_COMPUTES:-4} # odd ones in zone az1, even ones in az2
VIRT_TYPE=${VIRT_TYPE:-qemu}      # TCG; kvm for machines that have it
EXTRA_RELAY=${EXTRA_RELAY:-}      # further ports of this machine to show inside the namespace (a ZooKeeper's)

# Swift takes files of at most this size in one piece, so that larger ones have to come in segments.
SWIFT_MAX_FILE_MIB=${SWIFT_MAX_FILE_MIB:-64}

# Debian's services run with Debian's Python: another one that stands first in PATH (pyenv, a virtual environment)
# would hand its prefix to uwsgi's embedded interpreter.
export PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin
unset PYENV_ROOT PYTHONPATH PYTHONHOME VIRTUAL_ENV PYTHONUNBUFFERED REQUESTS_CA_BUNDLE
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY
export PYTHONWARNINGS=ignore PYTHONDONTWRITEBYTECODE=1 LC_ALL=C.UTF-8
SYSTEM_PYTHON=/usr/bin/python3

say() { printf '%4ss  %s\n' "$SECONDS" "$*"; }
die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}
