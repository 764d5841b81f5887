"""Fake compute hosts, one process each, forked from one that has Nova's modules loaded.

    fake_computes.py CONFIG...      a nova.conf for each host; without the suffix .conf

Loading Nova takes seconds of CPU and 100 MB; forked hosts have both in common. Each child is an ordinary
nova-compute. When one ends, the parent says so and ends the others: half a cloud helps nobody.
"""

import gc
import importlib
import os
import signal
import sys

# What every host needs. The first one also puts eventlet in place of blocking calls, so it has to be the first.
SHARED_MODULES = (
    "nova.cmd.compute",
    "nova.compute.manager",
    "nova.virt.fake",
    "oslo_messaging._drivers.impl_rabbit",
)


def become_compute(config: str) -> None:
    sys.argv = ["nova-compute", "--config-file", f"{config}.conf"]
    sys.modules["nova.cmd.compute"].main()


def main(configs: list[str]) -> int:
    for module in SHARED_MODULES:
        importlib.import_module(module)
    gc.freeze()  # the collector would otherwise touch, and so copy, every page in each child
    children: dict[int, str] = {}
    for config in configs:
        pid = os.fork()
        if not pid:
            become_compute(config)
            os._exit(0)
        children[pid] = config
    pid, status = os.wait()
    code = os.waitstatus_to_exitcode(status)
    sys.stderr.write(f"{children.pop(pid)} ended, exit code {code}; ending the others\n")
    for other in children:
        os.kill(other, signal.SIGTERM)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
