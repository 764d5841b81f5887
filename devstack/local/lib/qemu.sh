# shellcheck shell=bash
start_qemu() { die "not yet"; }
stop_qemu() { :; }
