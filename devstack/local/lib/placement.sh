# shellcheck shell=bash
# Placement: what each compute host has and who holds it.

configure_placement() {
    mkdir -p "$ETC/placement"
    cat >"$ETC/placement/placement.conf" <<END
[api]
auth_strategy = keystone
$(database placement_database placement)
$(authtoken placement)
END
}

prepare_placement() {
    OS_PLACEMENT_CONFIG_DIR=$ETC/placement placement-manage --config-file "$ETC/placement/placement.conf" db sync
}

start_placement() {
    wsgi placement "$PLACEMENT_PORT" /usr/bin/placement-api 1 OS_PLACEMENT_CONFIG_DIR="$ETC/placement"
}
