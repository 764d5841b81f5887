#!/usr/bin/env bash
# Brings up a real OpenStack on this machine's loopback. Running it again starts only what is missing.
#
#   up.sh fake    Nova's fake virt driver: hundreds of ACTIVE servers without a VM
#   up.sh qemu    libvirt and qemu: real VMs behind real routers, in a network namespace
#
# Needs root on Debian or Ubuntu. README.rst, one directory up, lists the settings and what is in the cloud.
set -euo pipefail
VARIANT=${1-}
case $VARIANT in
fake | qemu) ;;
*)
    echo "usage: $0 fake|qemu" >&2
    exit 2
    ;;
esac
# shellcheck source-path=SCRIPTDIR
{
    # shellcheck source=lib/settings.sh
    . "$(dirname "${BASH_SOURCE[0]}")/lib/settings.sh"
    for piece in process install backends sections keystone glance placement nova neutron cinder swift qemu; do
        # shellcheck disable=SC1090
        . "$HERE/lib/$piece.sh"
    done
}

check_machine() {
    [ "$(id -u)" = 0 ] || die "needs root: it installs packages and starts services as their own users"
    command -v apt-get >/dev/null || die "needs Debian or a relative: it installs OpenStack through apt-get"
    grep -qs '^VERSION_CODENAME=bookworm' /etc/os-release ||
        say "made for Debian 12 and its OpenStack Zed, and tried nowhere else: going on"
    [ "${#BASE}" -le 60 ] || die "$BASE is too long for the sockets below it: choose a path of at most 60 characters"
}

check_state() {
    local running made_with
    running=$(cat "$BASE/variant" 2>/dev/null || true)
    if [ -n "$running" ] && [ "$running" != "$VARIANT" ] && compgen -G "$BASE/$running/run/*.pid" >/dev/null; then
        die "variant $running is up in $BASE: run down.sh first, or give this one a POOLMGR_OPENSTACK_BASE and" \
            "POOLMGR_OPENSTACK_PORT_OFFSET of its own"
    fi
    made_with=$(cat "$STATE/port-offset" 2>/dev/null || echo "$PORT_OFFSET")
    [ "$made_with" = "$PORT_OFFSET" ] ||
        die "$STATE was made with port offset $made_with, and its schemas hold URLs: use that, or down.sh --wipe first"
    mkdir -p "$ETC" "$LOG" "$RUN"
    chmod 755 "$BASE" "$STATE" # MariaDB runs as its own user
    echo "$PORT_OFFSET" >"$STATE/port-offset"
    echo "$VARIANT" >"$BASE/variant"
}

check_ports() {
    want_free mariadb "$MYSQL_PORT"
    want_free rabbitmq "$RABBIT_PORT"
    want_free memcached "$MEMCACHED_PORT"
    want_free keystone "$KEYSTONE_PORT"
    want_free glance "$GLANCE_PORT"
    want_free placement "$PLACEMENT_PORT"
    want_free nova-api "$NOVA_PORT"
    want_free neutron "$NEUTRON_PORT"
    want_free cinder-api "$CINDER_PORT"
    want_free swift-proxy "$SWIFT_PORT"
}

configure() {
    configure_keystone
    configure_glance
    configure_placement
    configure_nova
    configure_neutron
    configure_cinder
    configure_swift
}

prepare_services() { # in two lines side by side: each of these tools keeps one core busy
    local others
    { once keystone prepare_keystone && once neutron prepare_neutron && once placement prepare_placement; } &
    others=$!
    once nova prepare_nova
    once glance prepare_glance
    once cinder prepare_cinder
    once swift prepare_swift
    wait "$others"
}

seed() { "$SYSTEM_PYTHON" "$HERE/seed.py" "$1" "$STATE/clouds.yaml" "${@:2}"; }

start_backends() {
    say "MariaDB, RabbitMQ, memcached"
    start_mariadb
    start_rabbitmq
    start_memcached
    wait_for mariadb 60 sql 'SELECT 1'
    create_databases
}

start_services() {
    say "Keystone"
    start_keystone
    wait_for keystone 90 answers "$AUTH_URL"
    write_clouds
    seed identity "image=glance=http://$IP:$GLANCE_PORT" "placement=placement=http://$IP:$PLACEMENT_PORT" \
        "compute=nova=http://$IP:$NOVA_PORT/v2.1" "network=neutron=http://$IP:$NEUTRON_PORT" \
        "volumev3=cinder=http://$IP:$CINDER_PORT/v3/\$(project_id)s" \
        "object-store=swift=http://$IP:$SWIFT_PORT/v1/AUTH_\$(project_id)s"
    wait_for rabbitmq 90 listens "$RABBIT_PORT"
    say "Glance, Placement, Neutron, Nova, Cinder, Swift"
    start_glance
    start_placement
    start_neutron
    start_nova
    start_cinder
    start_swift
    wait_for glance 120 answers "http://$IP:$GLANCE_PORT"
    wait_for placement 120 answers "http://$IP:$PLACEMENT_PORT"
    wait_for neutron 120 answers "http://$IP:$NEUTRON_PORT"
    wait_for nova-api 120 answers "http://$IP:$NOVA_PORT"
    wait_for cinder-api 120 answers "http://$IP:$CINDER_PORT"
    wait_for swift-proxy 120 answers "http://$IP:$SWIFT_PORT/healthcheck"
}

start_computes() {
    say "compute hosts"
    local count=1 image=tiny file=$BASE/image/tiny.qcow2
    if [ "$VARIANT" = fake ]; then
        start_fake_computes
        count=$((FAKE_COMPUTES + 1)) image=fake-image file=$STATE/fake-image.raw
        truncate --size=1M "$file"
    else
        make_tiny_image
        start_qemu
    fi
    seed cloud "$VARIANT" "$image" "$file"
    seed hosts "$VARIANT" "$count" nova-manage --config-file "$ETC/nova.conf" cell_v2 discover_hosts
}

check_machine
mkdir -p "$BASE"
exec 9>"$BASE/lock"
flock --nonblock 9 || die "another up.sh or down.sh works in $BASE"
check_state
install_packages
check_ports
configure
start_backends
prepare_services
start_services
start_computes
say "up: export OS_CLIENT_CONFIG_FILE=$BASE/clouds.yaml (clouds admin, ${POOLS[*]})"
