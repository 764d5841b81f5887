# shellcheck shell=bash
# Object storage: one proxy, one server of each kind, one replica in a directory.
# No replicators, auditors, updaters or expirer: nothing here is worth repairing, and each would cost a process.

configure_swift() {
    local home=$STATE/swift etc=$ETC/swift kind
    mkdir -p "$etc" "$home/devices/disk" "$home/cache"
    touch "$home/xattr"
    "$SYSTEM_PYTHON" -c 'import os, sys; os.setxattr(sys.argv[1], "user.poolmgr", b"1")' "$home/xattr" 2>/dev/null ||
        die "Swift keeps metadata in extended attributes, and the file system of $home has none"
    cat >"$etc/swift.conf" <<END
[swift-hash]
swift_hash_path_suffix = poolmgr
swift_hash_path_prefix = poolmgr
[storage-policy:0]
name = standard
default = yes
[swift-constraints]
max_file_size = $((SWIFT_MAX_FILE_MIB << 20))
END
    for kind in account container object; do
        cat >"$etc/$kind.conf" <<END
[DEFAULT]
bind_ip = $IP
bind_port = $(swift_port "$kind")
user = root
swift_dir = $etc
devices = $home/devices
mount_check = false
workers = 0
disable_fallocate = true
log_level = WARNING
recon_cache_path = $home/cache
[pipeline:main]
pipeline = $kind-server
[app:$kind-server]
use = egg:swift#$kind
END
    done
    cat >"$etc/proxy.conf" <<END
[DEFAULT]
bind_ip = $IP
bind_port = $SWIFT_PORT
user = root
swift_dir = $etc
workers = 0
log_level = WARNING
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache bulk tempurl authtoken keystoneauth copy container-quotas account-quotas slo dlo versioned_writes proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:cache]
use = egg:swift#memcache
memcache_servers = $IP:$MEMCACHED_PORT
[filter:bulk]
use = egg:swift#bulk
[filter:tempurl]
use = egg:swift#tempurl
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
delay_auth_decision = true
$(authtoken swift | sed '/^\[/d')
[filter:keystoneauth]
use = egg:swift#keystoneauth
operator_roles = admin, member
[filter:copy]
use = egg:swift#copy
[filter:container-quotas]
use = egg:swift#container_quotas
[filter:account-quotas]
use = egg:swift#account_quotas
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
[filter:versioned_writes]
use = egg:swift#versioned_writes
END
}

swift_port() { # KIND
    case $1 in
    account) echo "$SWIFT_ACCOUNT_PORT" ;;
    container) echo "$SWIFT_CONTAINER_PORT" ;;
    object) echo "$SWIFT_OBJECT_PORT" ;;
    esac
}

prepare_swift() { # the rings: which server and disk holds what; here always the same
    local kind
    for kind in account container object; do
        local builder=$ETC/swift/$kind.builder
        rm -f "$builder"
        swift-ring-builder "$builder" create 4 1 0 &&
            swift-ring-builder "$builder" add "r1z1-$IP:$(swift_port "$kind")/disk" 1 &&
            swift-ring-builder "$builder" rebalance || return
    done
}

start_swift() {
    # swift.conf is looked for in /etc/swift before any option of ours is read.
    local program start_it="
import runpy, sys
from swift.common import utils
utils.SWIFT_CONF_FILE = '$ETC/swift/swift.conf'
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')"
    for program in account container object proxy; do
        start "swift-$program" "$SYSTEM_PYTHON" -c "$start_it" "/usr/bin/swift-$program-server" \
            "$ETC/swift/$program.conf"
    done
}
