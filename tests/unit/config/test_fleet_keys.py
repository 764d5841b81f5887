"""Keys that only poolmgr's launchers have."""

import pytest

from poolmgr.config.settings import OnRemove, Settings


def test_they_arrive(look):
    settings = look("""
        on-remove: drain
        fair-tenants: true
        idle-hold: 45
        ledger: /var/log/nodepool/ledger.jsonl
    """).settings
    assert settings.on_remove is OnRemove.DRAIN
    assert settings.fair_tenants is True
    assert settings.idle_hold == 45.0
    assert settings.ledger == "/var/log/nodepool/ledger.jsonl"


def test_a_file_without_them_acts_as_the_reference(look):
    settings = look("").settings
    assert (settings.on_remove, settings.fair_tenants) == (OnRemove.KEEP, False)
    assert settings.idle_hold == Settings().idle_hold
    assert settings.ledger is None


@pytest.mark.parametrize(
    "text",
    [
        "on-remove: delete",
        "on-remove: true",
        "fair-tenants: fair",
        "idle-hold: -1",
        "ledger: ''",
        "ledger: 5",
    ],
)
def test_what_makes_no_sense_is_refused(look, text):
    assert look(text).settings is None


def test_the_fuse_is_a_provider_s_own(look):
    text = "providers: [{{name: north, cloud: north{more}}}]"
    fuses = {
        more: look(text.format(more=more)).settings.providers["north"].reclaim_fuse
        for more in ("", ", reclaim-fuse: 0", ", reclaim-fuse: 25")
    }
    assert list(fuses.values()) == [None, 0, 25]
    assert look(text.format(more=", reclaim-fuse: -1")).settings is None
