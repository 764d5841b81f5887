# shellcheck shell=bash
# The packages of a variant, from the machine's own apt sources. Nothing of them is started as a system service.

COMMON_PACKAGES=(
    mariadb-server rabbitmq-server memcached uwsgi-core uwsgi-plugin-python3 curl openssl iproute2 qemu-utils
    keystone glance-api placement-api nova-api nova-conductor nova-scheduler neutron-server
    cinder-api cinder-scheduler cinder-volume swift-proxy swift-account swift-container swift-object
    python3-openstackclient python3-pymysql python3-memcache python3-keystoneauth1 python3-requests
    openssh-server openssh-client # tests play the machines of `fake` with it
)
QEMU_PACKAGES=(
    nova-compute nova-compute-kvm qemu-system-x86 libvirt-daemon-system libvirt-clients python3-libvirt
    neutron-linuxbridge-agent neutron-dhcp-agent neutron-l3-agent iptables ebtables ipset conntrack dnsmasq-base
    iputils-arping netcat-openbsd genisoimage
    extlinux syslinux-common cpio e2fsprogs xz-utils kmod
)

missing_packages() {
    local package
    for package in "$@"; do
        dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
            echo "$package"
    done
}

# Package scripts ask this file whether they may start their services.
without_service_starts() { # COMMAND...
    local policy=/usr/sbin/policy-rc.d status=0
    if [ -e "$policy" ]; then
        "$@"
        return
    fi
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    "$@" || status=$?
    rm -f "$policy"
    return "$status"
}

install_packages() {
    local log=$BASE/install.log wanted=("${COMMON_PACKAGES[@]}") missing
    [ "$VARIANT" = fake ] || wanted+=("${QEMU_PACKAGES[@]}")
    mapfile -t missing < <(missing_packages "${wanted[@]}")
    [ "${#missing[@]}" -gt 0 ] || return 0
    say "installing ${#missing[@]} packages and what they need (log: $log)"
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get --quiet --yes -o DPkg::Lock::Timeout=900)
    # A list that cannot be refreshed may still be good enough: the installation decides.
    "${apt[@]}" update >"$log" 2>&1 </dev/null || say "apt-get update failed; going on with the lists at hand"
    without_service_starts "${apt[@]}" -o Dpkg::Options::=--force-confold install --no-install-recommends \
        "${missing[@]}" >>"$log" 2>&1 </dev/null || {
        tail -n 20 "$log" >&2
        die "apt-get could not install: ${missing[*]} (whole log: $log)"
    }
}
