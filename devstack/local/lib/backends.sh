# shellcheck shell=bash disable=SC2034
# What the services lean on: MariaDB, RabbitMQ, memcached.

DATABASES=(keystone glance placement nova_api nova nova_cell0 neutron cinder)
RABBIT_URL=rabbit://openstack:$PASSWORD@$IP:$RABBIT_PORT/

start_mariadb() {
    local data=$STATE/mysql
    mkdir -p "$data"
    chown mysql:mysql "$data"
    [ -d "$data/mysql" ] || mariadb-install-db --no-defaults --user=mysql --datadir="$data" --skip-test-db \
        --auth-root-authentication-method=normal >"$LOG/mariadb-install.log" 2>&1 ||
        die "mariadb-install-db failed; see $LOG/mariadb-install.log"
    # What is lost in a power cut may be lost: it is not worth an fsync for each commit.
    start mariadb mariadbd --no-defaults --user=mysql --datadir="$data" --socket="$data/mysql.sock" \
        --pid-file="$data/mysql.pid" --bind-address="$IP" --port="$MYSQL_PORT" --skip-name-resolve --skip-log-bin \
        --max-connections=2000 --performance-schema=OFF --innodb-buffer-pool-size=256M \
        --innodb-flush-log-at-trx-commit=0 --innodb-doublewrite=0 \
        --character-set-server=utf8mb3 --collation-server=utf8mb3_general_ci
}

sql() { mariadb --no-defaults --user=root --socket="$STATE/mysql/mysql.sock" --execute "$1"; }

create_databases() {
    local name script="CREATE USER IF NOT EXISTS 'openstack'@'%' IDENTIFIED BY '$PASSWORD';
        GRANT ALL ON *.* TO 'openstack'@'%';"
    for name in "${DATABASES[@]}"; do
        script+="CREATE DATABASE IF NOT EXISTS $name CHARACTER SET utf8mb3;"
    done
    sql "$script"
}

start_memcached() {
    start memcached memcached -u nobody -l "$IP" -p "$MEMCACHED_PORT" -m 128 -c 4096
}

start_rabbitmq() {
    local home=$STATE/rabbitmq epmd server
    mkdir -p "$home"
    echo '[].' >"$home/enabled_plugins"
    cat >"$home/rabbitmq.conf" <<END
listeners.tcp.default = $IP:$RABBIT_PORT
loopback_users = none
default_user = openstack
default_pass = $PASSWORD
vm_memory_high_watermark.absolute = 1GB
log.file.level = warning
END
    local environment=(
        HOME="$home" RABBITMQ_NODENAME=poolmgr@localhost RABBITMQ_NODE_IP_ADDRESS="$IP"
        RABBITMQ_NODE_PORT="$RABBIT_PORT" RABBITMQ_DIST_PORT="$RABBIT_DISTRIBUTION_PORT"
        ERL_EPMD_PORT="$EPMD_PORT" ERL_EPMD_ADDRESS="$IP"
        RABBITMQ_MNESIA_BASE="$home/mnesia" RABBITMQ_LOG_BASE="$LOG" RABBITMQ_PID_FILE="$home/pid"
        RABBITMQ_ENABLED_PLUGINS_FILE="$home/enabled_plugins" RABBITMQ_CONF_ENV_FILE=/dev/null
        RABBITMQ_CONFIG_FILE="$home/rabbitmq" RABBITMQ_GENERATED_CONFIG_DIR="$home/generated"
        # Erlang's schedulers spin while they wait for work: on few cores that starves the others.
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none"
    )
    # Started here and not by RabbitMQ itself, so that down.sh knows it.
    epmd=$(compgen -G '/usr/lib/erlang/erts-*/bin/epmd' | head -n 1)
    server=$(compgen -G '/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server' | head -n 1)
    start epmd env ERL_EPMD_ADDRESS="$IP" "${epmd:-epmd}" -port "$EPMD_PORT" -address "$IP"
    start rabbitmq env "${environment[@]}" "${server:?no rabbitmq-server in /usr/lib/rabbitmq}"
}

BACKENDS=(rabbitmq epmd memcached mariadb) # in the order of stopping
