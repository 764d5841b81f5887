"""What a pretend cloud says instead of doing as asked.

The words are those real services use (cloud.md 3.18, measured on Zed services where its notes say so), since
clients tell causes apart by them. Each service's HTTP face puts a refusal into its own envelope.
"""

from __future__ import annotations


class Refusal(Exception):
    """A request that the cloud declines.

    `status` is the HTTP status; `kind` Neutron's type or Nova's word (`forbidden`, `overLimit`), "" for the
    usual one of the status.
    """

    def __init__(
        self, status: int, message: str, *, kind: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.retry_after = retry_after


def bad_request(message: str, kind: str = "") -> Refusal:
    return Refusal(400, message, kind=kind)


def conflict(message: str, kind: str = "") -> Refusal:
    return Refusal(409, message, kind=kind)


def no_such(thing: str, thing_id: str) -> Refusal:
    """Something that is not there, in the words of the service that owns `thing`."""
    message, kind = {
        "server": (f"Instance {thing_id} could not be found.", "itemNotFound"),
        "flavor": (f"Flavor {thing_id} could not be found.", "itemNotFound"),
        "keypair": (f"Keypair {thing_id} not found for user", "itemNotFound"),
        "volume": (f"Volume {thing_id} could not be found.", "itemNotFound"),
        "image": (f"No image found with ID {thing_id}", ""),
        "task": (f"No task found with ID {thing_id}", ""),
        "network": (f"Network {thing_id} could not be found.", "NetworkNotFound"),
        "subnet": (f"Subnet {thing_id} could not be found.", "SubnetNotFound"),
        "port": (f"Port {thing_id} could not be found.", "PortNotFound"),
        "router": (f"Router {thing_id} could not be found", "RouterNotFound"),
        "floating IP": (f"Floating IP {thing_id} could not be found", "FloatingIPNotFound"),
        "security group": (f"Security group {thing_id} does not exist", "SecurityGroupNotFound"),
    }.get(thing, (f"{thing} {thing_id} could not be found.", ""))
    return Refusal(404, message, kind=kind)


def nova_quota(
    resources: dict[str, tuple[float, float, float]], *, status: int = 403, words: str = ""
) -> Refusal:
    """Nova's refusal, as measured: 403 `forbidden`; before 2014 it was 413 with a Retry-After of 0.

    `resources`: name -> (requested, used, limit). `words` "": Nova's own.
    """
    rows = sorted(resources.items())
    names = ", ".join(name for name, _ in rows)
    asked, used, limits = (", ".join(f"{row[i]:g}" for _, row in rows) for i in range(3))
    message = f"Quota exceeded for {names}: Requested {asked}, but already used {used} of {limits} {names}"
    kind = {403: "forbidden", 413: "overLimit"}.get(status, "")
    return Refusal(status, words or message, kind=kind, retry_after=0 if status == 413 else None)


def neutron_quota(resource: str) -> Refusal:
    return Refusal(409, f"Quota exceeded for resources: ['{resource}'].", kind="OverQuota")


def cinder_quota(what: str, limit: float) -> Refusal:
    message = f"{what}LimitExceeded: Maximum number of {what.lower()}s allowed ({limit:g}) exceeded."
    return Refusal(413, message, kind="overLimit", retry_after=0)
