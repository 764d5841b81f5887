from __future__ import annotations

import pytest

from poolmgr.cloud.openstack.timestamps import epoch_of, epoch_of_http_date


@pytest.mark.parametrize(
    ("text", "epoch"),
    [
        ("2023-11-14T22:13:20Z", 1_700_000_000.0),
        ("2023-11-14T22:13:20", 1_700_000_000.0),
        ("2023-11-14T22:13:20.500000", 1_700_000_000.5),
        ("soon", None),
        (None, None),
        (7, None),
    ],
)
def test_times_of_services(text, epoch):
    assert epoch_of(text) == epoch


@pytest.mark.parametrize(
    ("text", "epoch"),
    [("Tue, 14 Nov 2023 22:13:20 GMT", 1_700_000_000.0), ("yesterday", None), ("", None)],
)
def test_times_of_http(text, epoch):
    assert epoch_of_http_date(text) == epoch
