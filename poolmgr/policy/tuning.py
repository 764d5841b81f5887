"""The constants of the launcher's behaviour, in one place. All durations in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """Defaults suit real clouds; tests and the demo shorten some."""

    takes_per_cycle: int = 4  # requests a provider takes before it looks at everything else again
    cycle_spacing: float = 0.05  # a burst of events costs one cycle
    idle_cycle: float = 10.0  # a cycle without any event; all timers are asked at least this often
    poll_min: float = 0.5  # between server listings while something is in transition
    poll_max: float = 10.0
    poll_idle: float = 60.0
    poll_backoff_max: float = 60.0
    poll_per_duration: float = 3.0  # a listing that takes long is made rarely (cloud.md 3.8)
    patience_samples: int = 3  # boots or deletions seen before their duration is believed in
    patience_share: float = 0.8  # of the shortest of them, in which nothing is looked for
    patience_max: float = 20.0
    absence_sightings: int = 2  # complete listings that must lack a server before it is gone (3.17)
    young_server: float = 60.0  # a server this young may not be listed yet (3.8)
    address_grace: float = 60.0  # ACTIVE without address (3.7)
    unknown_spacing: float = 10.0  # between the two listings that settle a create without answer (3.6)
    retry_backoff: float = 1.0  # before the second attempt; doubles
    retry_backoff_max: float = 30.0
    probe_interval: float = 0.5  # between attempts to reach a new server
    probe_timeout: float = 10.0  # of one attempt
    quota_refresh: float = 300.0  # 3.16
    quota_cooldown: float = 60.0  # no launches after a quota error, unless a delete finishes before
    capacity_cooldown: float = 60.0  # a flavor in a zone without room is left alone (3.18); doubles
    capacity_cooldown_max: float = 900.0
    facts_retry: float = 5.0  # a cloud that did not answer is asked again; doubles
    facts_retry_max: float = 60.0
    image_retry: float = 300.0  # a cloud image that was not there is looked for again (launcher.md 2)
    broken_retry: float = 300.0  # a label whose settings the cloud rejected gets another chance (3.18)
    sweep_interval: float = 60.0  # leaks, ageing
    delete_reissue: float = (
        30.0  # a server still listed and not being deleted is deleted again (3.17); doubles
    )
    delete_patience: float = 300.0  # the same for one that is said to be being deleted
    delete_reissue_max: float = 1800.0
    delete_alarm: float = 1800.0  # a node not gone by then is told about
    stuck_after: float = 60.0  # a deletion that takes longer is looked at less and less often
    stuck_share: float = 0.05  # of the time over that, between two looks
    stuck_look_max: float = 30.0
    leftover_look: float = 1.0  # between looks at what is left of a node; doubles
    leftover_look_max: float = 60.0
    leftover_retry: float = 5.0  # a leftover that is still there is deleted again; doubles
    leftover_tries: int = 3  # deletions without effect before that is told; a volume then goes by force
    force_after: int = 3  # deletions of a server without effect before it is deleted by force
    force_patience: float = 1800.0  # a volume whose state forbids its deletion so long is deleted by force
    leak_age: float = 300.0  # of a server without a node before it is deleted (3.17)
    idle_port_age: float = 180.0  # between two sightings of a port without a mark (3.13)
    idle_floating_ip_age: float = 600.0  # the same for floating IPs (3.17)
    mark_retry: float = 5.0  # a volume that could not be marked; doubles
    mark_retry_max: float = 300.0
    spare_grace: float = 5.0  # a node being built for a request that was cancelled waits so long for the next
    lost_request_grace: float = 1.0  # a pending request must be unlocked this long before it is reset
    adoption_grace: float = 60.0  # the same where a live launcher could adopt what was launched for it
    adoption_patience: float = (
        5.0  # before a node that is being built for a request someone else has is given up
    )
    adoption_spacing: float = (
        20.0  # before the server of a create call that a dead launcher may have sent is not there
    )
    peer_settle: float = 5.0  # a launcher must have been there so long before providers are moved to it
    takeover_grace: float = 3.0  # a free provider is left so long to the launcher that is preferred for it
    handover_patience: float = 10.0  # for calls in flight, before what they are made for is let go
    handover_retry: float = 300.0  # a launcher that did not take what was handed over is offered it again
    request_locks_interval: float = 600.0  # full look for forgotten lock directories
    static_live: float = 10.0  # a static host that answered so lately is not asked before it is handed out
    static_check: float = 60.0  # between two looks at a static host that has free nodes
    static_rescan: float = 600.0  # the same, with its host keys
    static_fresh: float = 10.0  # slots are registered by a scan that is not older
    static_strikes: int = 2  # failed looks in a row before the free nodes of a static host go
    static_retry: float = 1.0  # after a failed look; doubles
    static_retry_max: float = 60.0
    static_stillborn: float = 10.0  # a static node that stays INIT so long lost its maker between two writes
    stop_timeout: float = 30.0
    stop_finish: float = 0.5  # the part of stop_timeout in which launches may still finish
    api_threads: int = 10  # per provider
    probe_threads: int = 10
    static_patience: float = (
        300.0  # that a request of several static nodes lets later ones of its labels pass
    )
    static_threads: int = 50  # per static provider: hosts that may be looked at at a time
