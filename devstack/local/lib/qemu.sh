# shellcheck shell=bash
# The data plane of `qemu`: one network namespace with libvirt, nova-compute and Neutron's agents in it, so that
# bridges, routers, NAT and DHCP servers never meet the machine's own network.

LIBVIRT=$STATE/libvirt
MARK=POOLMGR_OPENSTACK_STATE=$STATE # in the environment of all that runs inside: agents leave daemons behind

start_qemu() {
    say "network namespace $NAMESPACE"
    make_namespace
    # The services answer inside, too, at the same URLs: the agents need them, and a client may run there.
    # shellcheck disable=SC2086
    start nsrelay "$SYSTEM_PYTHON" "$HERE/nsrelay.py" "$NAMESPACE" "$RABBIT_PORT" "$KEYSTONE_PORT" "$GLANCE_PORT" \
        "$PLACEMENT_PORT" "$NOVA_PORT" "$NEUTRON_PORT" "$CINDER_PORT" "$SWIFT_PORT" $EXTRA_RELAY
    start_holder
    start_libvirt
    start_agents
    start_qemu_compute
}

make_namespace() {
    local name address
    [ -e "/run/netns/$NAMESPACE" ] || ip netns add "$NAMESPACE"
    ip -n "$NAMESPACE" link set lo up
    # A provider network is one end of a veth pair, which Neutron puts into a bridge; the other end is the gateway.
    while read -r name address; do
        ip -n "$NAMESPACE" link show "p-$name" >/dev/null 2>&1 || {
            ip -n "$NAMESPACE" link add "p-$name" type veth peer name "gw-$name"
            ip -n "$NAMESPACE" addr add "$address" dev "gw-$name"
        }
        ip -n "$NAMESPACE" link set "p-$name" up
        ip -n "$NAMESPACE" link set "gw-$name" up
    done <<END
public 172.24.4.1/24
direct 172.24.5.1/24
END
}

# `ip netns exec` gives each call a mount namespace of its own, where the next one does not see what it mounted.
# So one process holds one mount namespace for all: with libvirt's directories replaced by ours, and with Neutron's
# namespaces in a /run/netns that is nobody else's.
start_holder() {
    local directory
    mkdir -p "$LIBVIRT"/{etc,var,run,log,cache}
    rm -f "$LIBVIRT/ready"
    mkdir -p /etc/libvirt /var/lib/libvirt /run/libvirt /var/log/libvirt /var/cache/libvirt
    local script="set -e
        mount --bind $LIBVIRT/etc /etc/libvirt
        mount --bind $LIBVIRT/var /var/lib/libvirt
        mount --bind $LIBVIRT/run /run/libvirt
        mount --bind $LIBVIRT/log /var/log/libvirt
        mount --bind $LIBVIRT/cache /var/cache/libvirt
        mount -t tmpfs -o mode=755 netns /run/netns
        touch $LIBVIRT/ready
        exec sleep infinity"
    if ! alive holder; then
        start holder ip netns exec "$NAMESPACE" sh -c "$script"
        wait_for holder 10 test -e "$LIBVIRT/ready"
    fi
    read -r directory _ <"$RUN/holder.pid"
    INSIDE=(nsenter --target "$directory" --mount --net -- env "$MARK")
    echo "${INSIDE[*]}" >"$STATE/inside" # for people: $(cat inside) virsh list
}

start_libvirt() {
    [ -e "$LIBVIRT/uuid" ] || cat /proc/sys/kernel/random/uuid >"$LIBVIRT/uuid"
    cat >"$LIBVIRT/etc/libvirtd.conf" <<END
unix_sock_group = "root"
unix_sock_rw_perms = "0700"
auth_unix_rw = "none"
host_uuid = "$(cat "$LIBVIRT/uuid")"
log_outputs = "3:stderr"
END
    # No cgroups, no dbus, no systemd's machine registry: it works without.
    cat >"$LIBVIRT/etc/qemu.conf" <<END
user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = [ ]
namespaces = [ ]
remember_owner = 0
stdio_handler = "file"
END
    start libvirtd "${INSIDE[@]}" libvirtd --config "$LIBVIRT/etc/libvirtd.conf" --pid-file "$LIBVIRT/run/poolmgr.pid"
}

start_agents() {
    local agent
    cat >"$ETC/linuxbridge.ini" <<END
[linux_bridge]
# Not bridge_mappings: with those the tap of a VM ends up in no bridge.
physical_interface_mappings = public:p-public,direct:p-direct
[vxlan]
enable_vxlan = false
[securitygroup]
firewall_driver = iptables
enable_ipset = true
END
    cat >"$ETC/dhcp.ini" <<END
[DEFAULT]
interface_driver = linuxbridge
enable_isolated_metadata = false
resync_interval = 30
END
    cat >"$ETC/l3.ini" <<END
[DEFAULT]
interface_driver = linuxbridge
agent_mode = legacy
enable_metadata_proxy = false
END
    sed 's/^\[DEFAULT\]/&\nhost = qemu-1/' "$ETC/neutron.conf" >"$ETC/neutron-agents.conf"
    for agent in linuxbridge dhcp l3; do
        start "neutron-$agent-agent" "${INSIDE[@]}" "neutron-$agent-agent" \
            --config-file "$ETC/neutron-agents.conf" --config-file "$ETC/$agent.ini"
    done
}

start_qemu_compute() {
    local group
    {
        nova_conf qemu-1 "$STATE/nova-qemu-1" | sed 's/^\[DEFAULT\]/&\ncompute_driver = libvirt.LibvirtDriver/'
        cat <<END
[libvirt]
virt_type = $VIRT_TYPE
cpu_mode = $([ "$VIRT_TYPE" = kvm ] && echo host-model || echo none)
images_type = qcow2
inject_partition = -2
tb_cache_size = 128
END
        # Stock rootwrap refuses a configuration outside /etc, and root needs no wrapper.
        for group in nova_sys_admin vif_plug_linux_bridge_privileged vif_plug_ovs_privileged privsep_osbrick; do
            printf '[%s]\nhelper_command = privsep-helper --config-file %s\n' "$group" "$ETC/nova-qemu-1.conf"
        done
    } >"$ETC/nova-qemu-1.conf"
    wait_for libvirtd 30 test -S "$LIBVIRT/run/libvirt-sock"
    start nova-compute "${INSIDE[@]}" nova-compute --config-file "$ETC/nova-qemu-1.conf"
}

make_tiny_image() {
    [ -e "$BASE/image/tiny.qcow2" ] && return
    say "image tiny"
    "$HERE/mkimage.sh" "$BASE/image/tiny.qcow2" >"$LOG/mkimage.log" 2>&1 || {
        tail -n 5 "$LOG/mkimage.log" >&2
        die "mkimage.sh failed; see $LOG/mkimage.log"
    }
}

# What agents and libvirt left behind: dnsmasq, privsep daemons, VMs. libvirt clears the environment of its VMs.
leftovers() {
    { grep -lszx "$MARK" /proc/[0-9]*/environ || true; } | cut -d/ -f3
    local file pid
    for file in "$LIBVIRT"/run/qemu/*.pid; do
        [ -e "$file" ] || continue
        pid=$(cat "$file") # not `read`: the file has no newline
        if grep -qs "$STATE/" "/proc/$pid/cmdline"; then echo "$pid"; fi
    done
}

stop_qemu() {
    local pids _
    for _ in {1..20}; do
        mapfile -t pids < <(leftovers)
        [ "${#pids[@]}" -gt 0 ] || break
        kill -TERM "${pids[@]}" 2>/dev/null || true
        sleep 0.5
    done
    mapfile -t pids < <(leftovers)
    [ "${#pids[@]}" = 0 ] || kill -KILL "${pids[@]}" 2>/dev/null || true
    [ ! -e "/run/netns/$NAMESPACE" ] || ip netns del "$NAMESPACE"
    rm -rf "$LIBVIRT/run" # as a reboot would
    # Volumes of servers that were still there.
    losetup --list --noheadings --output NAME,BACK-FILE | awk -v state="$STATE/" 'index($2, state) == 1 { print $1 }' |
        xargs --no-run-if-empty losetup --detach
}
