"""Which removed providers are drained, from where, and for how long."""

from __future__ import annotations

import logging

import pytest

from poolmgr.config.settings import OnRemove, OpenStackProvider, Provider, Settings, StaticProvider
from poolmgr.launcher.removed import Removed, tell_unserved
from poolmgr.model.fleet import Peer
from poolmgr.model.snapshot import Snapshot
from tests.unit.policy.worlds import ready, snapshot_of

NORTH = OpenStackProvider(name="north", cloud="north")
SOUTH = OpenStackProvider(name="south", cloud="south")


def settings(*providers: Provider, on_remove: OnRemove = OnRemove.DRAIN) -> Settings:
    return Settings(providers={one.name: one for one in providers}, on_remove=on_remove)


def world() -> Snapshot:
    return snapshot_of(ready("1"), ready("2", provider="south"))


def removed(*, on_remove: OnRemove = OnRemove.DRAIN) -> Removed:
    """South was removed."""
    made = Removed()
    made.note(settings(NORTH, SOUTH), settings(NORTH, on_remove=on_remove))
    return made


def test_what_is_removed_is_drained_as_it_was_configured():
    assert removed().to_drain(world(), "me") == {"south": SOUTH}


def test_by_default_it_is_kept_as_the_reference_does():
    assert removed(on_remove=OnRemove.KEEP).to_drain(world(), "me") == {}


def test_a_static_provider_has_nothing_to_be_drained():
    made = Removed()
    made.note(settings(NORTH, StaticProvider(name="south")), settings(NORTH))
    assert made.to_drain(world(), "me") == {}


def test_it_goes_on_over_further_changes_until_nothing_is_left():
    made = removed()
    made.note(settings(NORTH), settings(NORTH))
    assert made.names == {"south"}
    assert made.to_drain(snapshot_of(ready("1")), "me") == {}
    assert made.names == frozenset()


@pytest.mark.parametrize("after", [settings(NORTH, SOUTH), settings(NORTH, on_remove=OnRemove.KEEP)])
def test_it_ends_when_the_provider_is_put_back_or_the_operator_changes_his_mind(after):
    made = removed()
    made.note(settings(NORTH), after)
    assert made.to_drain(world(), "me") == {}


def test_it_waits_while_another_launcher_still_has_the_provider():
    made, snapshot = removed(), world()
    snapshot.put_peer(Peer(znode="2", id="other", providers=("south",), offers={"south": {}}))
    assert made.to_drain(snapshot, "me") == {}
    snapshot.put_peer(Peer(znode="2", id="other", providers=("south",)))  # it drains, too
    assert made.to_drain(snapshot, "me") == {"south": SOUTH}


def test_nodes_that_nobody_can_drain_are_told_once_by_name(caplog):
    caplog.set_level(logging.WARNING)
    told = tell_unserved(world(), ["north"], told={})
    assert told == {"south": 1}
    assert "no launcher has provider south, of which 1 nodes are left: 2;" in caplog.text
    caplog.clear()
    assert tell_unserved(world(), ["north"], told=told) == told
    assert caplog.text == ""
