"""CPU time and memory of a process."""

import os

from poolmgr.cli.demo.procfs import cpu_seconds, resident_mib

NO_SUCH_PID = 2**22 + 1  # above the kernel's largest pid_max


def test_our_own_process_uses_cpu_and_memory():
    used = cpu_seconds(os.getpid())
    assert used <= sum(os.times()[:2]) + 0.02
    assert resident_mib(os.getpid()) > 1.0


def test_a_process_that_is_gone_uses_nothing():
    assert cpu_seconds(NO_SUCH_PID) == 0.0
    assert resident_mib(NO_SUCH_PID) == 0.0
