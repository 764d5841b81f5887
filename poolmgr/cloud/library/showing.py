"""The doctor: looks at a cloud, makes nothing, and reports."""

from __future__ import annotations

from poolmgr.cloud.openstack import OpenStackCloud
from poolmgr.cloud.openstack.doctor import examine
from poolmgr.cloud.openstack.survey import survey
from poolmgr.model.cloud_report import CloudReport
from poolmgr.runtime.clock import Clock
from poolmgr.runtime.executor import ThreadExecutor

THREADS = 24  # more than there are sections: none waits for another


def show(cloud: OpenStackCloud, clock: Clock, *, limit: float) -> CloudReport:
    """See `Connection.show`."""
    began = clock.monotonic()
    parts = cloud.parts()
    executor = ThreadExecutor("show", THREADS)
    try:
        found = survey(parts, executor, limit=limit)
    finally:
        executor.stop()
    return examine(
        parts.settings,
        found,
        region=parts.region,
        now=clock.time(),
        seconds=clock.monotonic() - began,
        reachable_v6=parts.reachable_v6,
    )
