# shellcheck shell=bash
# Networks. In `fake` a plugin of ours answers in place of the agents (plugin/); in `qemu` there are real ones.

configure_neutron() {
    local l3=poolmgr_standin_l3 driver=poolmgr_standin firewall=noop kind=vxlan without_agents=
    if [ "$VARIANT" = qemu ]; then
        l3=router driver=linuxbridge firewall=iptables kind=local
    else
        without_agents=$'dhcp_agent_notification = false\nnetwork_auto_schedule = false\nrouter_auto_schedule = false'
    fi
    mkdir -p "$STATE/neutron/lock"
    cat >"$ETC/neutron.conf" <<END
[DEFAULT]
bind_host = $IP
bind_port = $NEUTRON_PORT
api_workers = 2
rpc_workers = 1
rpc_state_report_workers = 0
core_plugin = ml2
service_plugins = $l3
$without_agents
auth_strategy = keystone
notify_nova_on_port_status_changes = true
notify_nova_on_port_data_changes = true
transport_url = $RABBIT_URL
api_paste_config = /usr/share/neutron-common/api-paste.ini
state_path = $STATE/neutron
dhcp_agents_per_network = 1
dns_domain = openstacklocal.
[experimental]
linuxbridge = true
[agent]
root_helper = env
[oslo_concurrency]
lock_path = $STATE/neutron/lock
[quotas]
quota_network = 100
quota_subnet = 100
quota_port = 1000
quota_floatingip = 500
quota_router = 20
quota_security_group = 100
quota_security_group_rule = 1000
$(client nova nova)
$(authtoken neutron)
$(database database neutron)
END
    cat >"$ETC/ml2.ini" <<END
[ml2]
type_drivers = flat,vlan,vxlan,local
tenant_network_types = $kind
mechanism_drivers = $driver
extension_drivers = port_security
[ml2_type_flat]
flat_networks = *
[ml2_type_vxlan]
vni_ranges = 1:5000
[securitygroup]
enable_security_group = true
firewall_driver = $firewall
END
}

prepare_neutron() {
    neutron-db-manage --config-file "$ETC/neutron.conf" --config-file "$ETC/ml2.ini" upgrade heads
}

start_neutron() {
    start neutron env PYTHONPATH="$HERE/plugin" neutron-server --config-file "$ETC/neutron.conf" \
        --config-file "$ETC/ml2.ini"
}
