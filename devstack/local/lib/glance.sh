# shellcheck shell=bash
# Images: files on disk; both kinds of import (glance-direct, web-download) are on.

configure_glance() {
    local home=$STATE/glance
    mkdir -p "$home"/{images,staging,tasks,lock}
    cat >"$ETC/glance-api.conf" <<END
[DEFAULT]
bind_host = $IP
bind_port = $GLANCE_PORT
workers = 1
public_endpoint = http://$IP:$GLANCE_PORT
enabled_import_methods = [glance-direct,web-download]
node_staging_uri = file://$home/staging
work_dir = $home/tasks
[import_filtering_opts]
# A test serves its image from loopback, on a port that the kernel picked: by default neither is allowed.
allowed_hosts = [$IP]
allowed_ports = []
disallowed_ports = []
[paste_deploy]
flavor = keystone
config_file = /usr/share/glance-common/glance-api-paste.ini
[glance_store]
stores = file,http
default_store = file
filesystem_store_datadir = $home/images
[oslo_concurrency]
lock_path = $home/lock
$(database database glance)
$(authtoken glance)
END
}

prepare_glance() { glance-manage --config-file "$ETC/glance-api.conf" db_sync; }

start_glance() { start glance glance-api --config-file "$ETC/glance-api.conf"; }
