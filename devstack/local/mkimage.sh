#!/usr/bin/env bash
# Makes a bootable qcow2 of 16 MB from Debian packages: cloud kernel, busybox, dropbear. Takes 20 s, needs root.
#
#   mkimage.sh OUT.qcow2
#
# The guest has its key, user data (a script) and host name from the config drive, its address by DHCP, and lets
# root in by ssh. All of it is the initramfs: the disk holds only that, the kernel and extlinux.
set -euo pipefail
[ $# = 1 ] || {
    echo "usage: $0 OUT.qcow2" >&2
    exit 2
}
out=$(realpath --canonicalize-missing "$1")
work=$(mktemp --directory --tmpdir="${TMPDIR:-/var/tmp}" mkimage.XXXXXX)
trap 'cleanup' EXIT
packages=$work/packages system=$work/system root=$work/root libraries=lib/x86_64-linux-gnu
export PATH=/usr/sbin:/usr/bin:/sbin:/bin

cleanup() {
    if mountpoint --quiet "$work/mount"; then umount "$work/mount"; fi
    rm -rf --one-file-system "$work"
}

die() {
    echo "mkimage.sh: $*" >&2
    exit 1
}

# Downloaded, not installed: this machine's own kernel is nobody's business here.
fetch_packages() {
    local kernel package
    kernel=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image-[0-9]/ { print $2; exit }')
    [ -n "$kernel" ] || die "apt knows no linux-image-cloud-amd64: this needs Debian on amd64"
    mkdir -p "$packages" "$system"
    (cd "$packages" && apt-get -o APT::Sandbox::User=root --quiet download "$kernel" busybox-static dropbear-bin \
        libtomcrypt1 libtommath1 libgmp10)
    for package in "$packages"/*.deb; do dpkg-deb --extract "$package" "$system"; done
}

make_root() {
    local applet
    mkdir -p "$root"/{bin,sbin,dev,proc,sys,run,tmp,mnt,root/.ssh,etc/dropbear,usr/sbin,usr/lib,var/log,lib/modules,lib64}
    mkdir -p "$root/$libraries" "$root/usr/share/udhcpc"
    cp "$system/bin/busybox" "$root/bin/"
    for applet in $("$system/bin/busybox" --list); do
        [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
    done
    cp "$system/usr/sbin/dropbear" "$root/usr/sbin/"
    cp --archive "$system/usr/$libraries"/lib*.so* "$root/$libraries/"
    for library in libc.so.6 libcrypt.so.1 libz.so.1 libm.so.6; do
        cp --dereference "/$libraries/$library" "$root/$libraries/"
    done
    cp --dereference /lib64/ld-linux-x86-64.so.2 "$root/lib64/"
    ln -s ../../lib/x86_64-linux-gnu "$root/usr/lib/x86_64-linux-gnu"
    echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
    echo 'root:*:19000:0:99999:7:::' >"$root/etc/shadow"
    echo 'root:x:0:' >"$root/etc/group"
    echo /bin/sh >"$root/etc/shells"
    install -m 755 "$(dirname "${BASH_SOURCE[0]}")/image/init" "$root/init"
    install -m 755 "$(dirname "${BASH_SOURCE[0]}")/image/udhcpc.script" "$root/usr/share/udhcpc/default.script"
}

# The modules asked for with those that they need, listed in the order of loading.
add_modules() {
    local version module file
    version=$(basename "$system"/lib/modules/*)
    depmod --basedir "$system" "$version"
    for module in virtio_pci virtio_blk virtio_net ata_piix sr_mod isofs vfat nls_ascii virtio_rng virtio_balloon; do
        { modprobe --dirname "$system" --set-version "$version" --show-depends "$module" 2>/dev/null || true; } |
            awk '/^insmod/ { print $2 }'
    done | awk '!seen[$0]++' | while read -r file; do
        cp "$file" "$root/lib/modules/"
        echo "/lib/modules/$(basename "$file")"
    done >"$root/etc/modules"
    [ -s "$root/etc/modules" ] || die "found no modules for kernel $version"
}

make_disk() {
    local raw=$work/disk.raw mount=$work/mount
    (cd "$root" && find . | cpio --create --format=newc --quiet --owner=0:0 | gzip -6) >"$work/initrd.gz"
    truncate --size=64M "$raw"
    # extlinux reads no newer features than these.
    mkfs.ext4 -q -F -O ^64bit,^metadata_csum -m 0 "$raw"
    mkdir "$mount"
    mount -o loop "$raw" "$mount"
    cp "$system"/boot/vmlinuz-* "$mount/vmlinuz"
    cp "$work/initrd.gz" "$mount/"
    cat >"$mount/extlinux.conf" <<END
DEFAULT tiny
PROMPT 0
TIMEOUT 1
SERIAL 0 115200
LABEL tiny
  LINUX /vmlinuz
  INITRD /initrd.gz
  APPEND console=tty0 console=ttyS0,115200 quiet panic=5 mitigations=off random.trust_cpu=on
END
    extlinux --install "$mount" >/dev/null
    umount "$mount"
    mkdir -p "$(dirname "$out")"
    qemu-img convert -O qcow2 -c "$raw" "$out.part"
    mv "$out.part" "$out"
}

fetch_packages
make_root
add_modules
make_disk
ls -l "$out"
