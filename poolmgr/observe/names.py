"""Every metric poolmgr sends: name, statsd type and meaning, in one table.

Names under `nodepool.` and `<prefix>.` are the reference's (metrics.md 2 and 5) and must not change: dashboards
query them. What it never sent is under `poolmgr.`.

Values that fill a name's parts stay as they are, dots included, as the reference sends them; `requestor`,
`tenant` and `resource` lose their dots and colons, again as there, and `host` does, which is ours. Characters
that no statsd line can hold (colon, bar, white space, anything beyond ASCII) become `_` everywhere: the reference
sends such lines broken.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from string import Formatter

_UNSENDABLE = re.compile(r"[^!-9;-{}~]")  # all but printable ASCII without colon and bar
_PART = re.compile(r"{[^}]*}")
_ALWAYS_ESCAPED = frozenset({"requestor", "tenant", "resource", "host"})
_NEVER_ESCAPED = frozenset({"prefix", "result", "queue"})  # dots in these are levels on purpose


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `types` has `g`, `c` or `ms`; two types mean that one name is sent as both."""

    template: str
    types: tuple[str, ...]  # none: not for statsd, where a name for each value would be of no use
    meaning: str
    whole: bool = False  # of all daemons together: sent by one of them, but each can tell
    plain: str = ""  # the name for Prometheus, where it is not just what `template` has between its parts

    def name(self, *, escape_all: bool = False, **parts: str) -> str:
        """The name with its parts filled in; with `escape_all` dots become `_` in every value."""
        return self.template.format_map(
            {part: _clean(part, value, escape_all=escape_all) for part, value in parts.items()}
        )

    @property
    def parts(self) -> tuple[str, ...]:
        """What `name` wants to know, in order."""
        return tuple(part for _, part, _, _ in Formatter().parse(self.template) if part)

    @property
    def is_gauge(self) -> bool:
        return self.types in (_GAUGE, ())

    @property
    def is_timer(self) -> bool:
        return "ms" in self.types

    @property
    def prometheus(self) -> str:
        """The name for Prometheus, whose labels are `parts`; a timer's unit is in it."""
        words = (word for word in re.split(r"[^A-Za-z0-9_]+", _PART.sub("", self.template)) if word)
        return (self.plain or "_".join(words)) + ("_seconds" if self.is_timer else "")


def _clean(part: str, value: str, *, escape_all: bool) -> str:
    if part in _ALWAYS_ESCAPED or (escape_all and part not in _NEVER_ESCAPED):
        value = value.replace(".", "_")
    return _UNSENDABLE.sub("_", value)


_GAUGE = ("g",)
_COUNTER = ("c",)
_TIMER = ("ms",)
_COUNTED_TIMER = ("c", "ms")

# By the launcher that leads the stats election, for the whole system (metrics.md 2.1)
NODES = Metric("nodepool.nodes.{state}", _GAUGE, "nodes in the state, all providers", whole=True)
PROVIDER_NODES = Metric(
    "nodepool.provider.{provider}.nodes.{state}", _GAUGE, "the same for each provider", whole=True
)
LABEL_NODES = Metric(
    "nodepool.label.{label}.nodes.{state}",
    _GAUGE,
    "the same for each label a node has or a pool offers",
    whole=True,
)
ADDRESSABLE = Metric(
    "nodepool.provider.{provider}.pool.{pool}.addressable_requests",
    _GAUGE,
    "node requests in any state whose labels the pool offers, all of them",
    whole=True,
)
REQUESTS = Metric("poolmgr.requests.{state}", _GAUGE, "node requests in the state", whole=True)
OLDEST_REQUEST = Metric(
    "poolmgr.request_age.{state}",
    _GAUGE,
    "seconds since the oldest request in the state was made",
    whole=True,
)
PROVIDER_USED = Metric(
    "poolmgr.provider.{provider}.used.{resource}", _GAUGE, "what all its nodes use", whole=True
)
POOL_USED = Metric(
    "poolmgr.provider.{provider}.pool.{pool}.used.{resource}", _GAUGE, "what the pool's nodes use", whole=True
)
PEERS = Metric("poolmgr.launchers", _GAUGE, "launchers of this software that live", whole=True)
OWNED = Metric(
    "poolmgr.provider.{provider}.owned",
    _GAUGE,
    "1 when a launcher owns the provider, 0 when none does",
    whole=True,
)
OWNER = Metric(
    "poolmgr.provider.{provider}.owner.{hostname}", (), "1 for the host that owns the provider", whole=True
)
ALARMS = Metric(
    "poolmgr.provider.{provider}.alarms",
    _GAUGE,
    "what its owner says that a person should look at",
    whole=True,
)
HELD_BACK = Metric(
    "poolmgr.provider.{provider}.held_back.{kind}",
    _GAUGE,
    "deletions that wait for `poolmgr reclaim --approve`",
    whole=True,
)

# By every launcher (2.2)
MAX_SERVERS = Metric(
    "nodepool.provider.{provider}.max_servers", _GAUGE, "sum over its pools; not sent when one is unlimited"
)
PROVIDER_MODE = Metric(
    "poolmgr.provider.{provider}.mode", _GAUGE, "0 running, 1 paused, 2 draining, as operators have ordered"
)
PROVIDER_LIMIT = Metric(
    "poolmgr.provider.{provider}.max_servers_in_force",
    _GAUGE,
    "the smaller of the configured sum and what is ordered; not sent when unlimited",
)
RELOAD_FAILED = Metric(
    "poolmgr.{daemon}.{hostname}.reload_failed",
    _GAUGE,
    "1 while the files cannot be used and old settings count",
)
TENANT_LIMIT = Metric(
    "nodepool.tenant_limits.{tenant}.{resource}", _GAUGE, "configured limit; not sent when unlimited"
)
QUEUE = Metric(
    "nodepool.launcher.{hostname}.{queue}",
    _GAUGE,
    "length of a queue of the ZooKeeper client or its caches",
    plain="nodepool_launcher_queue",
)
DEFERRED = Metric(
    "poolmgr.provider.{provider}.pool.{pool}.deferred.{reason}",
    _GAUGE,
    "requests the pool lets wait, by reason",
)
HOSTS_DOWN = Metric(
    "poolmgr.provider.{provider}.hosts_down", _GAUGE, "hosts of a static provider that cannot be reached"
)
HOST_DOWN = Metric(
    "poolmgr.provider.{provider}.host.{host}.down",
    _GAUGE,
    "1 while a host of a static provider cannot be reached, or has other keys than configured",
)
POOL_LIMIT = Metric(
    "poolmgr.provider.{provider}.pool.{pool}.limit.{resource}", _GAUGE, "configured; not sent when unlimited"
)
QUOTA = Metric(
    "poolmgr.provider.{provider}.quota.{resource}", _GAUGE, "what the cloud allows; not sent when unlimited"
)
POOL_PAUSED = Metric(
    "poolmgr.provider.{provider}.pool.{pool}.paused.{reason}",
    _GAUGE,
    "1 while the pool takes nothing, by reason",
)
LAST_LISTING = Metric(
    "poolmgr.provider.{provider}.last_listing",
    _GAUGE,
    "Unix time of the last complete list of the cloud's servers",
)
CONFIG = Metric("poolmgr.{daemon}.{hostname}.config.{hash}", (), "1; the hash is that of the files in force")
STORE_CONNECTED = Metric("poolmgr.store_connected", (), "1 while the daemon has ZooKeeper's current state")
CYCLE = Metric("poolmgr.provider.{provider}.cycle", _TIMER, "one cycle of the provider's worker")

# As things happen (2.3, 2.4)
LAUNCH = Metric("nodepool.launch.{result}", _COUNTED_TIMER, "launch attempts that ended, and how")
LAUNCH_PROVIDER = Metric("nodepool.launch.provider.{provider}.{result}", _COUNTED_TIMER, "by provider")
LAUNCH_ZONE = Metric(
    "nodepool.launch.provider.{provider}.{zone}.{result}",
    _COUNTED_TIMER,
    "by zone, once it is known",
    plain="nodepool_launch_zone",
)
LAUNCH_REQUESTOR = Metric("nodepool.launch.requestor.{requestor}.{result}", _COUNTED_TIMER, "by requestor")
LEAKED = Metric("nodepool.provider.{provider}.leaked.{kind}", _COUNTER, "leaked resources removed")
REQUEST_FINISHED = Metric(
    "poolmgr.request.{outcome}", _COUNTED_TIMER, "requests that ended, from their creation: fulfilled, failed"
)
LAUNCH_IMAGE = Metric(
    "nodepool.launch.image.{image}.{result}",
    _COUNTED_TIMER,
    "by disk image or cloud image; the reference's manual has it",
)

# By builders (3); the four of BUILDER_* are in the reference's manual and were never sent (4)
BUILD_SIZE = Metric(
    "nodepool.dib_image_build.{image}.{format}.size",
    _GAUGE,
    "bytes that the file of a good build takes on disk",
)
BUILD_RC = Metric("nodepool.dib_image_build.{image}.status.rc", _GAUGE, "exit code of the last build")
BUILD_DURATION = Metric("nodepool.dib_image_build.{image}.status.duration", _TIMER, "how long a build took")
BUILD_LAST = Metric(
    "nodepool.dib_image_build.{image}.status.last_build", _GAUGE, "Unix time of the last build, good or not"
)
BUILD_LAST_GOOD = Metric("poolmgr.image.{image}.last_good_build", _GAUGE, "Unix time of the last good build")
IMAGE_UPDATE = Metric(
    "nodepool.image_update.{image}.{provider}", _COUNTED_TIMER, "good uploads, their hook and trial included"
)
UPLOAD_FAILED = Metric(
    "poolmgr.image_update.{image}.{provider}.failed", _COUNTED_TIMER, "uploads that failed"
)
UPLOAD_SIZE = Metric("poolmgr.image_update.{image}.{provider}.size", _GAUGE, "bytes of the last good upload")
UPLOAD_AGE = Metric(
    "poolmgr.image.{image}.provider.{provider}.age", _GAUGE, "seconds since the newest ready upload became so"
)
BUILD_REQUESTS = Metric("nodepool.image_build_requests", _GAUGE, "manual requests that wait, all images")
IMAGE_BUILD_REQUESTS = Metric("nodepool.image.{image}.image_build_requests", _GAUGE, "the same, 0 or 1")
BUILD_STATE = Metric(
    "nodepool.builder.{builder}.image.{image}.build.state", _GAUGE, "0 idle, 1 building, 3 paused"
)
UPLOAD_STATE = Metric(
    "nodepool.builder.{builder}.image.{image}.provider.{provider}.upload.state",
    _GAUGE,
    "0 idle, 2 uploading, 3 paused",
)
BUILDER_BUILDS = Metric("nodepool.builder.{builder}.current_builds", _GAUGE, "builds that run")
BUILDER_UPLOADS = Metric("nodepool.builder.{builder}.current_uploads", _GAUGE, "uploads that run")
BUILDER_BUILD_WORKERS = Metric(
    "nodepool.builder.{builder}.build_workers", _GAUGE, "builds that may run at once"
)
BUILDER_UPLOAD_WORKERS = Metric(
    "nodepool.builder.{builder}.upload_workers", _GAUGE, "uploads that may run at once"
)
IMAGE_LEAKED = Metric(
    "poolmgr.provider.{provider}.leaked.{kind}",
    _COUNTER,
    "images and objects without a record that were removed",
)

# Cloud API calls (5)
API_STATUS = Metric(
    "{prefix}.{service}.{method}.{call}.{status}",
    _COUNTED_TIMER,
    "answers of a cloud's API, by status code",
    plain="poolmgr_api_call",
)
API_SLOW = Metric(
    "{prefix}.{service}.{method}.{call}.over_1000",
    _COUNTER,
    "those that took more than 1,000 ms",
    plain="poolmgr_api_slow",
)
API_ATTEMPTED = Metric(
    "{prefix}.{service}.{method}.{call}.attempted",
    _COUNTER,
    "calls sent",
    plain="poolmgr_api_attempted",
)
API_FAILED = Metric(
    "{prefix}.{service}.{method}.{call}.failed",
    _COUNTER,
    "calls without any answer",
    plain="poolmgr_api_failed",
)

METRICS: tuple[Metric, ...] = tuple(thing for thing in list(globals().values()) if isinstance(thing, Metric))
