# shellcheck shell=bash
# Compute: API, conductor, scheduler, and the fake compute hosts. The host of `qemu` is in qemu.sh.

nova_conf() { # HOST DIRECTORY: one nova.conf on standard output
    local host=$1 home=$2
    mkdir -p "$home"/{lock,instances}
    cat <<END
[DEFAULT]
host = $host
my_ip = $IP
state_path = $home
transport_url = $RABBIT_URL
enabled_apis = osapi_compute
osapi_compute_listen = $IP
osapi_compute_listen_port = $NOVA_PORT
osapi_compute_workers = 2
metadata_listen = $IP
metadata_listen_port = $NOVA_METADATA_PORT
cpu_allocation_ratio = 16.0
ram_allocation_ratio = 1.0
max_concurrent_builds = 10
flat_injected = false
vif_plugging_timeout = 120
vif_plugging_is_fatal = true
resume_guests_state_on_host_boot = false
force_config_drive = $([ "$VARIANT" = qemu ] && echo true || echo false)
$([ "$VARIANT" = qemu ] || echo default_schedule_zone = az1)
[api]
auth_strategy = keystone
[wsgi]
api_paste_config = /usr/share/nova-common/api-paste.ini
[glance]
api_servers = http://$IP:$GLANCE_PORT
[oslo_concurrency]
lock_path = $home/lock
[scheduler]
workers = 1
[conductor]
workers = 2
[vnc]
enabled = false
[spice]
enabled = false
[compute]
# A host whose builds fail would be disabled after ten of them, and zone \`broken\` has no other.
consecutive_build_service_disable_threshold = 0
[filter_scheduler]
host_subset_size = 3
$(authtoken nova)
$(client placement placement)
$(client service_user nova)
send_service_user_token = true
$(client cinder nova)
catalog_info = volumev3::publicURL
os_region_name = $REGION
$(client neutron neutron)
service_metadata_proxy = true
metadata_proxy_shared_secret = $PASSWORD
END
    # Only the control plane: a compute host that is told of a database looks for its cells there.
    if [ "$host" = control ]; then
        database api_database nova_api
        database database nova
    fi
}

configure_nova() { nova_conf control "$STATE/nova" >"$ETC/nova.conf"; }

nova_manage() { nova-manage --config-file "$ETC/nova.conf" "$@"; }

prepare_nova() {
    nova_manage api_db sync &&
        nova_manage cell_v2 map_cell0 --database_connection "$(database_url nova_cell0)" &&
        { nova_manage cell_v2 list_cells | grep -q ' cell1 ' ||
            nova_manage cell_v2 create_cell --name cell1 --database_connection "$(database_url nova)" \
                --transport-url "$RABBIT_URL"; } &&
        nova_manage db sync
}

start_nova() {
    start nova-api "$SYSTEM_PYTHON" -c "$(run_main nova-api nova.cmd.api_os_compute)" --config-file "$ETC/nova.conf"
    start nova-conductor nova-conductor --config-file "$ETC/nova.conf"
    start nova-scheduler nova-scheduler --config-file "$ETC/nova.conf"
}

# Nova's in-tree drivers: servers become ACTIVE without a VM behind them. Every build on broken-1 fails.
start_fake_computes() {
    local hosts=() host driver
    for ((host = 1; host <= FAKE_COMPUTES; host++)); do hosts+=("fake-$host"); done
    hosts+=(broken-1)
    for host in "${hosts[@]}"; do
        driver=FakeDriver
        [ "$host" = broken-1 ] && driver=FakeBuildAbortDriver
        nova_conf "$host" "$STATE/nova-$host" |
            sed "s/^\[DEFAULT\]/&\ncompute_driver = fake.$driver/" >"$ETC/nova-$host.conf"
    done
    start nova-computes "$SYSTEM_PYTHON" "$HERE/fake_computes.py" "${hosts[@]/#/$ETC/nova-}"
}
