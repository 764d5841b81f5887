"""simcloud behind HTTPS: a certificate that is trusted, and those that are not."""

from __future__ import annotations

import pytest
import requests

from poolmgr.simcloud import running


def test_a_certificate_that_signed_itself_is_good_for_who_trusts_it():
    with running({"tls": "self-signed", "clouds": {"one": {}}}) as sim:
        entry = sim.clouds_yaml()["clouds"]["one"]
        url = entry["auth"]["auth_url"]
        assert url.startswith("https://127.0.0.1:")
        for _ in range(2):
            answer = requests.get(url, verify=entry["cacert"], timeout=10)
            assert answer.json()["version"]["links"][0]["href"] == f"{url}/"
        with pytest.raises(requests.exceptions.SSLError, match="self-signed"):
            requests.get(url, timeout=10)


@pytest.mark.parametrize(("kind", "says"), [("expired", "expired"), ("other-host", "IP address mismatch")])
def test_other_certificates_are_good_for_nobody(kind: str, says: str):
    with running({"tls": kind, "clouds": {"one": {}}}) as sim:
        entry = sim.clouds_yaml()["clouds"]["one"]
        with pytest.raises(requests.exceptions.SSLError, match=says):
            requests.get(entry["auth"]["auth_url"], verify=entry["cacert"], timeout=10)
