from __future__ import annotations

import pytest

from poolmgr.cloud.faults import fault_kind
from poolmgr.model.server import FaultKind
from poolmgr.simcloud.fault_texts import TEXTS


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("Quota exceeded for instances: Requested 1, but already used 20 of 20 instances", FaultKind.QUOTA),
        ("Requested volume exceeds allowed gigabytes QUOTA", FaultKind.QUOTA),
        ("VolumeLimitExceeded: Maximum number of volumes allowed (10) exceeded", FaultKind.QUOTA),
        ("No valid host was found. There are not enough hosts available.", FaultKind.CAPACITY),
        ("Exceeded maximum number of retries. Exhausted all hosts", FaultKind.CAPACITY),
        ("Insufficient compute resources: Free memory 10 MB", FaultKind.CAPACITY),
        (
            "Build of instance x aborted: Failed to allocate the network(s), not rescheduling.",
            FaultKind.CAPACITY,
        ),
        ("No more IP addresses available on network x.", FaultKind.CAPACITY),
        ("IpAddressGenerationFailure_Remote", FaultKind.CAPACITY),
        ("ExternalIpAddressExhausted", FaultKind.CAPACITY),
        ("Volume x did not finish being created even after we waited 187 seconds", FaultKind.CAPACITY),
        ("Image 42 could not be found.", FaultKind.IMAGE),
        ("Network 42 could not be found.", FaultKind.OTHER),
        ("internal error: qemu unexpectedly closed the monitor", FaultKind.OTHER),
        ("The quota service is away", FaultKind.OTHER),
        ("", FaultKind.OTHER),
    ],
)
def test_a_faults_words_say_what_it_is_about(message: str, kind: FaultKind) -> None:
    assert fault_kind(message) is kind


#: Why servers go to ERROR, in the words of services; the rest of TEXTS are refusals of calls.
FAULTS = {
    "no-valid-host": FaultKind.CAPACITY,
    "too-many-retries": FaultKind.CAPACITY,
    "no-resources": FaultKind.CAPACITY,
    "no-network": FaultKind.CAPACITY,
    "no-fixed-address": FaultKind.CAPACITY,
    "volume-wait": FaultKind.CAPACITY,
    "block-device": FaultKind.CAPACITY,
    "volume-quota": FaultKind.QUOTA,
    "volumes-quota": FaultKind.QUOTA,
    "instances-quota": FaultKind.QUOTA,
    "neutron-quota": FaultKind.QUOTA,
    "image-gone": FaultKind.IMAGE,
    "no-such-image": FaultKind.IMAGE,
    "no-external-address": FaultKind.OTHER,  # nova makes no floating IPs
}


@pytest.mark.parametrize("text", FAULTS)
def test_faults_in_the_words_of_services(text: str) -> None:
    assert fault_kind(TEXTS[text].message) is FAULTS[text]
