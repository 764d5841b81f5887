# shellcheck shell=bash
# Identity.

configure_keystone() {
    cat >"$ETC/keystone.conf" <<END
[token]
provider = fernet
expiration = 14400
[fernet_tokens]
key_repository = $STATE/keystone/fernet-keys
[credential]
key_repository = $STATE/keystone/credential-keys
[identity]
password_hash_rounds = 4
[cache]
enabled = true
backend = dogpile.cache.memcached
memcache_servers = $IP:$MEMCACHED_PORT
$(database database keystone)
END
    mkdir -p "$STATE/keystone"
}

prepare_keystone() {
    local manage=(keystone-manage --config-file "$ETC/keystone.conf")
    "${manage[@]}" db_sync &&
        "${manage[@]}" fernet_setup --keystone-user root --keystone-group root &&
        "${manage[@]}" credential_setup --keystone-user root --keystone-group root &&
        "${manage[@]}" bootstrap --bootstrap-password "$PASSWORD" --bootstrap-region-id "$REGION" \
            --bootstrap-public-url "$AUTH_URL/" --bootstrap-internal-url "$AUTH_URL/" --bootstrap-admin-url "$AUTH_URL/"
}

start_keystone() {
    wsgi keystone "$KEYSTONE_PORT" /usr/bin/keystone-wsgi-public 2 OS_KEYSTONE_CONFIG_FILES="$ETC/keystone.conf"
}

write_clouds() { # what a client needs: clouds.yaml, and openrc for the admin
    local cloud
    {
        echo 'clouds:'
        for cloud in admin "${POOLS[@]}"; do
            cat <<END
  $cloud:
    region_name: $REGION
    identity_api_version: 3
    auth:
      auth_url: $AUTH_URL
      username: $cloud
      password: $PASSWORD
      project_name: $cloud
      user_domain_name: Default
      project_domain_name: Default
END
        done
    } >"$STATE/clouds.yaml"
    cat >"$STATE/openrc" <<END
export OS_AUTH_URL=$AUTH_URL OS_USERNAME=admin OS_PASSWORD=$PASSWORD OS_PROJECT_NAME=admin
export OS_USER_DOMAIN_NAME=Default OS_PROJECT_DOMAIN_NAME=Default OS_IDENTITY_API_VERSION=3 OS_REGION_NAME=$REGION
END
    ln -sfn "$VARIANT/clouds.yaml" "$BASE/clouds.yaml"
    ln -sfn "$VARIANT/openrc" "$BASE/openrc"
}
