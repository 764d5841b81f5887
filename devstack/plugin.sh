# shellcheck shell=bash
# DevStack plugin: a launcher of poolmgr that keeps servers of this DevStack ready.
#
#   enable_plugin poolmgr https://example.org/poolmgr    in local.conf; `settings` beside this lists the settings
#
# Shell-checked, and its files are checked by the unit tests; it has not run under DevStack yet (README.rst).

poolmgr_install() {
    # zookeeperd brings a running service, zookeeper only the programs.
    install_package zookeeperd
    # A virtual environment of its own: DevStack's requirements are not poolmgr's.
    python3 -m venv "$POOLMGR_VENV"
    "$POOLMGR_VENV/bin/pip" install --constraint "$POOLMGR_DIR/constraints.txt" "$POOLMGR_DIR"
}

poolmgr_clouds_yaml() {
    cat <<END
clouds:
  devstack-poolmgr:
    region_name: $REGION_NAME
    identity_api_version: 3
    auth:
      auth_url: $KEYSTONE_SERVICE_URI
      username: $POOLMGR_CLOUD_PROJECT
      password: $POOLMGR_CLOUD_PASSWORD
      project_name: $POOLMGR_CLOUD_PROJECT
      user_domain_name: Default
      project_domain_name: Default
END
}

poolmgr_nodepool_yaml() {
    cat <<END
zookeeper-servers:
  - host: 127.0.0.1
    port: 2181
zookeeper-plaintext: true
clouds-files: [$POOLMGR_CONF_DIR/clouds.yaml]

labels:
  - name: devstack
    min-ready: $POOLMGR_MIN_READY

providers:
  - name: devstack
    cloud: devstack-poolmgr
    cloud-images:
      - name: $DEFAULT_IMAGE_NAME
        username: ${DEFAULT_INSTANCE_USER:-cirros}
    pools:
      - name: main
        max-servers: $POOLMGR_MAX_SERVERS
        networks: [poolmgr]
        labels:
          - name: devstack
            cloud-image: $DEFAULT_IMAGE_NAME
            flavor-name: $DEFAULT_INSTANCE_TYPE
            key-name: poolmgr
END
}

poolmgr_configure() {
    sudo install -d -o "$STACK_USER" -m 750 "$POOLMGR_CONF_DIR"
    poolmgr_clouds_yaml >"$POOLMGR_CONF_DIR/clouds.yaml"
    chmod 600 "$POOLMGR_CONF_DIR/clouds.yaml"
    poolmgr_nodepool_yaml >"$POOLMGR_CONF_DIR/nodepool.yaml"
    "$POOLMGR_VENV/bin/poolmgr" -c "$POOLMGR_CONF_DIR/nodepool.yaml" config-validate
}

# What servers of the project need: a user, a network with a way out, a key, and ssh let in.
poolmgr_create_project() {
    get_or_create_project "$POOLMGR_CLOUD_PROJECT" default >/dev/null
    get_or_create_user "$POOLMGR_CLOUD_PROJECT" "$POOLMGR_CLOUD_PASSWORD" default >/dev/null
    get_or_add_user_project_role member "$POOLMGR_CLOUD_PROJECT" "$POOLMGR_CLOUD_PROJECT" default default >/dev/null

    local key=$POOLMGR_CONF_DIR/id_ed25519
    [ -e "$key" ] || ssh-keygen -q -t ed25519 -N '' -f "$key"
    local as=(env OS_CLIENT_CONFIG_FILE="$POOLMGR_CONF_DIR/clouds.yaml" openstack --os-cloud devstack-poolmgr)
    "${as[@]}" keypair show poolmgr >/dev/null 2>&1 || "${as[@]}" keypair create --public-key "$key.pub" poolmgr
    if ! "${as[@]}" router show poolmgr >/dev/null 2>&1; then
        "${as[@]}" network create poolmgr
        "${as[@]}" subnet create --network poolmgr --subnet-range 10.77.0.0/24 poolmgr
        "${as[@]}" router create --external-gateway "$PUBLIC_NETWORK_NAME" poolmgr
        "${as[@]}" router add subnet poolmgr poolmgr
        "${as[@]}" security group rule create --protocol tcp --dst-port 22 default
    fi
}

poolmgr_start() {
    local service
    for service in launcher builder; do
        if is_service_enabled "poolmgr-$service"; then
            run_process "poolmgr-$service" \
                "$POOLMGR_VENV/bin/poolmgr-$service -f -c $POOLMGR_CONF_DIR/nodepool.yaml"
        fi
    done
}

# The launcher first, then its servers: it would replace them.
poolmgr_stop() {
    stop_process poolmgr-launcher
    stop_process poolmgr-builder
}

poolmgr_clean() {
    sudo rm -rf "$POOLMGR_CONF_DIR"
    rm -rf "$POOLMGR_VENV"
}

if is_service_enabled poolmgr-launcher poolmgr-builder; then
    case "${1-} ${2-}" in
    'stack install') poolmgr_install ;;
    'stack post-config') poolmgr_configure ;;
    'stack test-config') # the last phase: networks and images of DevStack are there
        poolmgr_create_project
        poolmgr_start
        ;;
    'unstack ') poolmgr_stop ;;
    'clean ') poolmgr_clean ;;
    esac
fi
