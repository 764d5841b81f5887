"""Credentials in log messages."""

from __future__ import annotations

import io
import logging

import pytest

from poolmgr.observe.redaction import Redaction


@pytest.fixture
def redaction() -> Redaction:
    return Redaction()


@pytest.mark.parametrize(
    "text",
    [
        "password=hunter2x",
        "os_password: hunter2x, more",
        '{"auth": {"password": "hunter2x"}}',
        "'application_credential_secret': 'hunter2x'",
        "X-Auth-Token: hunter2x",
        "-H 'X-Subject-Token: hunter2x'",
        "Authorization: Basic hunter2x",
        "authorization: bearer hunter2x",
        "https://user:hunter2x@proxy.example.org:3128/",
        "api_key=hunter2x&x=1",
    ],
)
def test_what_looks_like_a_credential_is_hidden(redaction, text):
    cleaned = redaction.clean(text)
    assert "hunter2x" not in cleaned
    assert "***" in cleaned


@pytest.mark.parametrize(
    "text",
    [
        "node 0000000007 is ready after 12.5 s",
        "https://cloud.example.org:5000/v3/auth/tokens answered 201",
        "no password for user zuul",
        "scanned 3 host keys: ssh-ed25519 AAAAC3Nz",
        "user@host:/path",
    ],
)
def test_ordinary_text_stays(redaction, text):
    assert redaction.clean(text) == text


def test_a_known_secret_is_hidden_wherever_it_stands(redaction):
    redaction.hide("correct horse", "correct horse battery", "abc")
    assert redaction.clean("said 'correct horse battery', abc") == "said '***', abc"


def logged(redaction: Redaction, emit) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(redaction)
    logger = logging.Logger("x")  # noqa: LOG001 (of nobody else)
    logger.addHandler(handler)
    emit(logger)
    return stream.getvalue()


def test_arguments_and_tracebacks_are_cleaned_too(redaction):
    def emit(logger: logging.Logger) -> None:
        try:
            raise RuntimeError("login failed with password=hunter2x")
        except RuntimeError:
            logger.exception("token=%s", "hunter2x")

    text = logged(redaction, emit)
    assert "hunter2x" not in text
    assert "RuntimeError: login failed with password=***" in text


def test_a_wrong_log_call_is_left_to_the_handler_to_report(redaction, monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", False)
    assert logged(redaction, lambda logger: logger.info("%d", "text")) == ""


def test_long_lines_cost_little(redaction):
    # Quadratic matching would take minutes here.
    assert redaction.clean("a-" * 200_000).endswith("a-")
