"""Every key of old releases: warned about or refused, with advice, and never shown."""

from __future__ import annotations

import pytest

from poolmgr.config.problem import Severity
from tests.unit.config.test_schema import text_with

IGNORED = [
    ("provider", "nodepool-id", "ignored"),
    ("provider", "hostname-format", "ignored"),
    ("provider", "ipv6-preferred", "clouds.yaml"),
    ("provider", "template-hostname", "ignored"),
    ("provider", "subnode-hostname", "ignored"),
    ("provider", "use-floating-ip", "auto-floating-ip"),
    ("provider", "api-timeout", "api_timeout"),
    *((section, key, "disk image") for section in ("diskimage", "upload", "image")
      for key in ("private-key", "user-home", "setup", "reset")),
]  # fmt: skip

REFUSED = [
    ("provider", "image-type", "image_format"),
    ("provider", "keypair", "key-name"),
    ("provider", "images", "'diskimages'"),
    *(("provider", key, "pools[]") for key in ("max-servers", "availability-zones", "networks", "labels")),
    *(("provider", key, "clouds.yaml") for key in (
        "username", "password", "auth-url", "project-id", "project-name", "service-type", "service-name")),
    ("label", "name-filter", "'flavor-name'"),
    *((section, key, "snapshot images are gone") for section in ("diskimage", "upload", "image")
      for key in ("base-image", "snapshot-image")),
    *(("top_label", key, "before version 3") for key in ("image", "providers", "subnodes", "ready-script")),
    *(("top", key, "Nodepool 2") for key in (
        "targets", "jenkins", "cron", "script-dir", "dburi", "gearman-servers", "zmq-publishers", "worker-map-ttl")),
]  # fmt: skip


@pytest.mark.parametrize(("section", "key", "advice"), IGNORED)
def test_an_old_key_that_changes_nothing_is_a_warning_also_when_strict(look, section, key, advice):
    examined = look(text_with(section, f"{key}: hunter2"), strict=True)
    [problem] = examined.problems
    assert problem.severity is Severity.WARNING
    assert advice in problem.hint
    assert "hunter2" not in str(problem)
    assert examined.settings is not None


@pytest.mark.parametrize(("section", "key", "advice"), REFUSED)
def test_an_old_key_that_meant_something_is_refused_with_what_to_write(look, section, key, advice):
    [problem] = look(text_with(section, f"{key}: hunter2")).problems
    assert problem.severity is Severity.ERROR
    assert advice in problem.hint
    assert "hunter2" not in str(problem)


def test_ssh_port_is_read_as_connection_port(look):
    examined = look(text_with("node", "ssh-port: 2222"))
    [problem] = examined.problems
    assert (problem.severity, problem.hint) == (Severity.WARNING, "write 'connection-port'")
    assert examined.settings.providers["s"].pools["main"].nodes[0].connection_port == 2222


def test_connection_port_wins_over_ssh_port(look):
    examined = look(text_with("node", "ssh-port: 2222\n            connection-port: 2223"))
    assert examined.settings.providers["s"].pools["main"].nodes[0].connection_port == 2223


def test_a_wrong_ssh_port_is_an_error_at_its_own_place(look):
    problem = look(text_with("node", "ssh-port: x")).problems[-1]
    assert (problem.key, problem.severity) == ("providers[0].pools[0].nodes[0].ssh-port", Severity.ERROR)
