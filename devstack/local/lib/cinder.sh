# shellcheck shell=bash
# Volumes, by a driver of ours (plugin/): files instead of LVM, which would need device-mapper.

configure_cinder() {
    local home=$STATE/cinder
    mkdir -p "$home"/{lock,coordination,conversion,volumes}
    cat >"$ETC/cinder.conf" <<END
[DEFAULT]
host = control
my_ip = $IP
state_path = $home
transport_url = $RABBIT_URL
osapi_volume_listen = $IP
osapi_volume_listen_port = $CINDER_PORT
osapi_volume_workers = 1
api_paste_config = /usr/share/cinder-common/api-paste.ini
auth_strategy = keystone
glance_api_servers = http://$IP:$GLANCE_PORT
image_conversion_dir = $home/conversion
enabled_backends = file
# How often the scheduler is told of the backend; until the first time it refuses every volume.
backend_stats_polling_interval = 5
[file]
volume_backend_name = file
volume_driver = poolmgr_standin.volumes.FileVolumeDriver
file_directory = $home/volumes
file_loop = $([ "$VARIANT" = qemu ] && echo true || echo false)
[coordination]
backend_url = file://$home/coordination
[oslo_concurrency]
lock_path = $home/lock
$(database database cinder)
$(authtoken cinder)
$(client service_user cinder)
send_service_user_token = true
$(client nova nova)
END
}

prepare_cinder() { cinder-manage --config-file "$ETC/cinder.conf" db sync; }

start_cinder() {
    local program
    for program in api scheduler volume; do
        start "cinder-$program" env PYTHONPATH="$HERE/plugin" "cinder-$program" --config-file "$ETC/cinder.conf"
    done
}
