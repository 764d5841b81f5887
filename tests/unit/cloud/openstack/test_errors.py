"""Refusals as recorded from services (Zed) or as their API references show them, and what we make of them."""

from __future__ import annotations

import json

import pytest

from poolmgr.cloud.openstack.errors import (
    AlreadyBound,
    Call,
    Forbidden,
    NoSuchApi,
    StaleName,
    WrongEndpoint,
    error_of,
    failure_of,
    retry_after,
)
from poolmgr.errors import (
    AuthFailed,
    CloudUnavailable,
    ImageGone,
    NoCapacity,
    NotFound,
    OutcomeUnknown,
    OverQuota,
    Rejected,
    Throttled,
)
from poolmgr.simcloud.fault_texts import TEXTS

NOW = 1_700_000_000.0


def error(service, method, status, body="", headers=None, *, repeatable=False):
    content = body if isinstance(body, str) else json.dumps(body)
    call = Call("north", service, method, f"http://{service}.example/v2/things")
    return error_of(failure_of(call, status, headers or {}, content.encode(), NOW), repeatable=repeatable)


def nova(word, message, code=400):
    return {word: {"message": message, "code": code}}


def neutron(kind, message):
    return {"NeutronError": {"type": kind, "message": message, "detail": ""}}


@pytest.mark.parametrize(
    ("service", "method", "status", "body", "leaf"),
    [
        # the login
        (
            "identity",
            "POST",
            401,
            {"error": {"message": "bad password", "title": "Unauthorized"}},
            AuthFailed,
        ),
        ("identity", "POST", 403, {"error": {"message": "locked"}}, AuthFailed),
        ("identity", "POST", 404, {"error": {"message": "Could not find project"}}, AuthFailed),
        ("identity", "POST", 429, "", Throttled),
        ("identity", "POST", 503, "", CloudUnavailable),
        ("compute", "GET", 401, "", AuthFailed),
        ("compute", "GET", 403, nova("forbidden", "Policy doesn't allow x to be performed."), Forbidden),
        ("network", "GET", 403, neutron("PolicyNotAuthorized", "rule:x is disallowed by policy"), Forbidden),
        ("compute", "GET", 403, "", Forbidden),
        (
            "compute",
            "POST",
            403,
            nova("forbidden", "Policy doesn't allow servers:create:forced_host"),
            Rejected,
        ),
        # too many calls
        ("compute", "GET", 429, nova("overLimit", "Too many"), Throttled),
        ("compute", "POST", 413, {"overLimit": {"message": "rate", "retryAfter": "6"}}, Throttled),
        ("compute", "POST", 413, {"overLimit": {"message": "Quota", "retryAfter": "0"}}, OverQuota),
        ("image", "PUT", 413, "", Rejected),  # an image service's 413 is about a size
        # quota
        (
            *("compute", "POST", 403),
            nova("forbidden", "Quota exceeded for cores, instances: Requested 30, 30, but already used 3"),
            OverQuota,
        ),
        ("compute", "POST", 403, nova("forbidden", "Maximum number of ports exceeded"), OverQuota),
        (
            "network",
            "POST",
            409,
            neutron("OverQuota", "Quota exceeded for resources: ['floatingip']"),
            OverQuota,
        ),
        ("block-storage", "POST", 413, nova("overLimit", "VolumeLimitExceeded"), OverQuota),
        ("compute", "POST", 403, nova("forbidden", "Maximum number of floating IPs exceeded"), OverQuota),
        ("compute", "POST", 403, nova("forbidden", "IP allocation over quota in pool nova."), OverQuota),
        (
            "compute",
            "POST",
            403,
            nova("forbidden", "Maximum number of metadata items exceeds 128"),
            OverQuota,
        ),
        # capacity
        ("network", "POST", 409, neutron("IpAddressGenerationFailure", "No more IP addresses"), NoCapacity),
        ("network", "POST", 400, neutron("ExternalIpAddressExhausted", "Unable to find any IP"), NoCapacity),
        ("compute", "POST", 500, nova("computeFault", "No valid host was found."), NoCapacity),
        ("compute", "POST", 404, nova("itemNotFound", "No more floating IPs in pool nova."), NoCapacity),
        # images
        ("image", "GET", 404, '{"message": "No image found with ID x<br /><br />\\n\\n"}', NotFound),
        ("compute", "POST", 400, nova("badRequest", "Can not find requested image"), ImageGone),
        ("compute", "POST", 400, nova("badRequest", "Image 12 is not active."), ImageGone),
        ("compute", "POST", 404, nova("itemNotFound", "Image 12 could not be found."), ImageGone),
        # names out of date
        ("compute", "POST", 400, nova("badRequest", "Invalid key_name provided."), StaleName),
        (
            "compute",
            "POST",
            400,
            nova("badRequest", "The requested availability zone is not available"),
            StaleName,
        ),
        ("compute", "POST", 400, nova("badRequest", "Flavor 77 could not be found."), StaleName),
        ("compute", "POST", 400, nova("badRequest", "Network 5f1c could not be found."), StaleName),
        (
            "compute",
            "POST",
            400,
            nova("badRequest", "Security group web not found for project 1."),
            StaleName,
        ),
        # floating IPs
        (
            *("network", "POST", 409),
            neutron("FloatingIPPortAlreadyAssociated", "Cannot associate floating IP"),
            AlreadyBound,
        ),
        (
            *("network", "POST", 404),
            neutron(
                "ExternalGatewayForFloatingIPNotFound", "External network x is not reachable from subnet y"
            ),
            Rejected,
        ),
        ("network", "POST", 404, neutron("PortNotFound", "Port 1 could not be found."), NotFound),
        ("network", "POST", 404, neutron("HTTPNotFound", "The resource could not be found."), NoSuchApi),
        ("network", "POST", 404, {"message": "The resource could not be found.<br /><br />"}, NoSuchApi),
        ("network", "POST", 404, neutron("NetworkNotFound", "Network 5f1c could not be found."), StaleName),
        (
            "network",
            "POST",
            404,
            neutron("SecurityGroupNotFound", "Security group 7 does not exist"),
            StaleName,
        ),
        # the rest
        (
            "network",
            "POST",
            409,
            neutron("Conflict", "Another change is under way, please try again"),
            CloudUnavailable,
        ),
        ("compute", "GET", 404, nova("itemNotFound", "Instance 1 could not be found."), NotFound),
        ("compute", "DELETE", 409, nova("conflictingRequest", "Cannot 'delete' while locked"), Rejected),
        ("compute", "POST", 409, nova("conflictingRequest", "Multiple possible networks found"), Rejected),
        ("compute", "POST", 403, nova("forbidden", "It is not allowed on external network 1"), Rejected),
        ("compute", "GET", 406, "", WrongEndpoint),
        ("compute", "GET", 500, nova("computeFault", "Unexpected"), CloudUnavailable),
        (
            "image",
            "PUT",
            413,
            {"message": "Image exceeds the storage quota: 9 will exceed the limit"},
            OverQuota,
        ),
        ("image", "PUT", 413, {"message": "The incoming image is too large: 9"}, Rejected),
        ("image", "PUT", 413, {"message": "Image storage media is full: 9"}, CloudUnavailable),
        ("image", "POST", 405, {"message": "Method Not Allowed"}, WrongEndpoint),
        ("compute", "GET", 504, "<html><title>504 Gateway Time-out</title>", CloudUnavailable),
        ("compute", "DELETE", 503, "", CloudUnavailable),
        ("compute", "GET", 408, "", CloudUnavailable),
        ("compute", "POST", 500, nova("computeFault", "Unexpected"), OutcomeUnknown),
        ("compute", "POST", 502, "", OutcomeUnknown),
        ("compute", "POST", 400, nova("badRequest", "Invalid input for field/attribute name"), Rejected),
    ],
)
def test_what_a_refusal_is(service, method, status, body, leaf):
    found = error(service, method, status, body, repeatable=service == "identity")
    assert type(found) is leaf


def test_a_post_that_only_asks_has_no_open_outcome():
    assert type(error("compute", "POST", 503, repeatable=True)) is CloudUnavailable


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            '{"message": "No image found with ID x<br /><br />\\n\\n", "code": "404"}',
            "No image found with ID x",
        ),
        (nova("badRequest", "wrong"), "badRequest: wrong"),
        (neutron("OverQuota", "wrong"), "OverQuota: wrong"),
        ({"error": {"message": "wrong", "title": "Unauthorized", "status": "401"}}, "Unauthorized: wrong"),
        ({"NeutronError": "wrong"}, ": wrong"),
        ({"message": "wrong"}, ": wrong"),
        ({"faultstring": "wrong"}, ": wrong"),
        ("<html><head><title>Bad\n Gateway</title></head>", ": Bad Gateway"),
        (
            "<html><head><title>413 Too Large</title></head><body><h1>413 Too Large</h1>No\nroom<br /></body></html>",
            ": 413 Too Large: No room",
        ),
        (f"<html><title>Portal</title><body><h1>Portal</h1>{'news ' * 200}</body></html>", ": Portal"),
        ("plain\ntext", ": plain text"),
        (["unexpected"], "unexpected"),
        ("", "no message"),
    ],
)
def test_the_message_is_found_in_every_shape_of_body(body, message):
    assert message in str(error("compute", "GET", 400, body))


def test_an_error_says_which_cloud_what_was_asked_what_came_back_and_the_request_id():
    headers = {"x-openstack-request-id": "req-1"}
    found = error("compute", "GET", 400, nova("badRequest", "wrong"), headers)
    assert str(found) == (
        "cloud north: compute: GET /v2/things at compute.example: 400 badRequest: wrong (req-1)"
    )
    assert found.request_id == "req-1"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("6", 6.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("Tue, 14 Nov 2023 22:13:30 GMT", 10.0),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 0.0),  # past
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text, seconds):
    assert retry_after({"retry-after": text}, NOW) == seconds
    thrown = error("compute", "GET", 429, "", {"retry-after": text})
    assert thrown.retry_after == seconds


#: Refusals in the words of services: method, service, and what they are.
REFUSALS = {
    "instances-quota": ("compute", OverQuota),
    "ports-quota": ("compute", OverQuota),
    "metadata-quota": ("compute", OverQuota),
    "neutron-quota": ("network", OverQuota),
    "volumes-quota": ("block-storage", OverQuota),
    "policy": ("network", Forbidden),
    "no-such-image": ("compute", ImageGone),
    "no-such-key": ("compute", StaleName),
    "no-such-zone": ("compute", StaleName),
    "no-such-network": ("compute", StaleName),
    "small-disk": ("compute", Rejected),
    "small-memory": ("compute", Rejected),
    "external-network": ("compute", Rejected),
    "several-networks": ("compute", Rejected),
    "locked": ("compute", Rejected),
    "no-external-address": ("network", NoCapacity),
    "no-fixed-address": ("network", NoCapacity),
    "no-route": ("network", Rejected),
}


@pytest.mark.parametrize("text", REFUSALS)
def test_refusals_in_the_words_of_services(text):
    service, leaf = REFUSALS[text]
    said = TEXTS[text]
    body = neutron(said.kind, said.message) if service == "network" else nova(said.kind or "x", said.message)
    assert type(error(service, "POST", said.status, body)) is leaf


def test_no_text_of_a_service_is_left_out():
    faults = {name for name, text in TEXTS.items() if text.status in (500, 404) and name not in REFUSALS}
    assert set(TEXTS) - set(REFUSALS) - faults == {"block-device"}  # faults are a matter of test_faults.py
