"""What real clouds say when something fails, by short names: for faults (`text: volume-wait`) and for refusals.

The words are those of the services (cloud.md 3.18), since clients tell causes apart by them. `{id}` stands for the
server's id. `poolmgr simcloud --list-faults` prints the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Text:
    """`status` and `kind` (Neutron's type) are those of a refusal in these words."""

    message: str
    status: int = 500
    kind: str = ""


TEXTS: Mapping[str, Text] = {
    # Why servers go to ERROR.
    "no-valid-host": Text(message="No valid host was found. There are not enough hosts available."),
    "too-many-retries": Text(
        message="Exceeded maximum number of retries. Exhausted all hosts available for retrying build failures "
        "for instance {id}."
    ),
    "no-resources": Text(
        message="Insufficient compute resources: Free memory 512.00 MB < requested 8192 MB."
    ),
    "no-network": Text(
        message="Build of instance {id} aborted: Failed to allocate the network(s), not rescheduling."
    ),
    "no-fixed-address": Text(
        message="Build of instance {id} aborted: No more IP addresses available on network "
        "6f1e5e0a-5b0e-4b6f-9f5c-2f4f6f0f7a11.",
        status=409,
        kind="IpAddressGenerationFailure",
    ),
    "volume-wait": Text(
        message="Build of instance {id} aborted: Volume 0a3c5b8e-6a39-4a87-8f9f-3b9a3e0fd7b2 did not finish being "
        "created even after we waited 181 seconds or 61 attempts. And its status is creating."
    ),
    "block-device": Text(
        message="Build of instance {id} aborted: Block Device Mapping is Invalid.", status=400
    ),
    "volume-quota": Text(
        message="Build of instance {id} aborted: VolumeLimitExceeded: Maximum number of volumes allowed (10) "
        "exceeded for quota 'volumes'."
    ),
    "image-gone": Text(message="Image 70e55b2f-28a7-4b88-9f5d-9e2b1f6a1c55 could not be found.", status=404),
    # Why calls are refused.
    "instances-quota": Text(
        message="Quota exceeded for instances: Requested 1, but already used 10 of 10 instances", status=403
    ),
    "ports-quota": Text(message="Maximum number of ports exceeded", status=403),
    "metadata-quota": Text(message="Maximum number of metadata items exceeds 128", status=403),
    "neutron-quota": Text(
        message="Quota exceeded for resources: ['floatingip'].", status=409, kind="OverQuota"
    ),
    "volumes-quota": Text(
        message="VolumeLimitExceeded: Maximum number of volumes allowed (10) exceeded for quota 'volumes'.",
        status=413,
        kind="overLimit",
    ),
    "policy": Text(
        message="Policy doesn't allow this action to be performed.", status=403, kind="PolicyNotAuthorized"
    ),
    "no-such-image": Text(message="Can not find requested image", status=400),
    "no-such-key": Text(message="Invalid key_name provided.", status=400),
    "no-such-zone": Text(message="The requested availability zone is not available", status=400),
    "no-such-network": Text(
        message="Network 6f1e5e0a-5b0e-4b6f-9f5c-2f4f6f0f7a11 could not be found.", status=400
    ),
    "small-disk": Text(
        message="Flavor's disk is too small for requested image. Flavor disk is 1073741824 bytes, image is "
        "2147483648 bytes.",
        status=400,
    ),
    "small-memory": Text(message="Flavor's memory is too small for requested image.", status=400),
    "external-network": Text(
        message="It is not allowed to create an interface on external network "
        "6f1e5e0a-5b0e-4b6f-9f5c-2f4f6f0f7a11",
        status=403,
    ),
    "several-networks": Text(
        message="Multiple possible networks found, use a Network ID to be more specific.", status=409
    ),
    "locked": Text(message="Instance {id} is locked", status=409),
    "no-external-address": Text(
        message="Unable to find any IP address on external network 6f1e5e0a-5b0e-4b6f-9f5c-2f4f6f0f7a11.",
        status=400,
        kind="ExternalIpAddressExhausted",
    ),
    "no-route": Text(
        message="External network 6f1e5e0a-5b0e-4b6f-9f5c-2f4f6f0f7a11 is not reachable from subnet "
        "1e9a1c3e-9d43-4f6d-8f3b-7c8b6b0c2a10.  Therefore, cannot associate Port "
        "c2b6e9f8-5d2b-4b0b-8a3d-2f8f1a9b7e66 with a Floating IP.",
        status=404,
        kind="ExternalGatewayForFloatingIPNotFound",
    ),
}
