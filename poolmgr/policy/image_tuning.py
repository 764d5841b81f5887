"""The constants of the builder's behaviour, in one place. All durations in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ImageTuning:
    """Defaults suit real sites; tests and the demo shorten some."""

    idle_cycle: float = 60.0  # a cycle without any event; all timers are asked at least this often
    cycle_spacing: float = 0.2  # a burst of events costs one cycle
    clock_skew: float = 300.0  # so far clocks of other machines may be ahead; later times are not believed
    retry_first: float = 60.0  # after the first failed build or upload; doubles up to `image-retry-max`
    progress_interval: float = 10.0  # between writes of an upload's progress to the store
    space_look: float = 5.0  # between looks at how much disk a running build uses
    space_margin: float = 1.1  # a build begins only if so many times what the last one needed is free
    grace_kill: float = 10.0  # between SIGTERM and SIGKILL for a build that has to end
    stop_timeout: float = 60.0
    abandoned_after: float = 120.0  # a BUILDING record without lock whose builder is not registered, or dead
    lost_lock_grace: float = 600.0  # the same while its builder is registered: it takes the lock again itself
    delete_retry: float = 30.0  # a cloud image that could not be deleted; doubles
    delete_retry_max: float = 600.0  # cloud.md 3.5: in use is retried every 10 minutes, not spun on
    sweep_interval: float = 600.0  # between looks for cloud images and objects of ours without a record
    sweep_sightings: int = 2  # so many complete lists have to show it before it is deleted
    sweep_age: float = 900.0  # and it has to be this old
    late_import: float = 7200.0  # so long a cut-off import may still make an image without our properties
    hook_timeout: float = 3600.0  # of post-upload-hook
    web_port: int = 8006  # of a builder whose configuration names none
