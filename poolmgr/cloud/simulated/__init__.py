"""`Cloud` and `Prober` straight on a pretend world, without HTTP: for scenarios on a clock of their own.

Faults come out as the same errors that OpenStack's layer makes of them over HTTP, except that no call takes
time: what hangs has timed out at once, and `slow` and the cloud's latency do nothing.
"""

from poolmgr.cloud.simulated.cloud import SimulatedCloud
from poolmgr.cloud.simulated.prober import SimulatedProber

__all__ = ["SimulatedCloud", "SimulatedProber"]
