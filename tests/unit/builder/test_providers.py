"""Connections of a builder: opened once, replaced when their settings change, closed when nothing runs over them."""

from __future__ import annotations

import pytest

from poolmgr.builder.context import ImageProvider
from poolmgr.builder.providers import START_RETRY, Connection, ProviderSet
from poolmgr.config.settings import OpenStackProvider, Settings
from poolmgr.errors import ConfigError
from poolmgr.model.image import Upload
from tests.fakes import FakeClock, InlineExecutor


class Clouds:
    """What clouds.yaml knows, and which connections are open."""

    def __init__(self):
        self.known = {"one", "two"}
        self.open = []
        self.uploads = set()

    def connect(self, provider):
        if provider.cloud not in self.known:
            raise ConfigError(f"no cloud {provider.cloud}")
        return (provider.cloud, provider.rate), lambda: self.connection(provider.name, provider)

    def connection(self, name, provider):
        made = Connection(
            provider=image_provider(name, provider.cloud),
            identity=(provider.cloud, provider.rate),
            close=lambda: self.open.remove(made),
        )
        self.open.append(made)
        return made

    def stray(self, cloud, region):
        if cloud not in self.known:
            raise ConfigError(f"no cloud {cloud}")
        return self.connection(f"stray {cloud}", OpenStackProvider(name="x", cloud=cloud, region_name=region))


def image_provider(name, cloud):
    return ImageProvider(
        name=name,
        cloud=cloud,
        region=None,
        image_format="qcow2",
        images=None,
        canary=None,
        uploads=InlineExecutor(),
        deletions=InlineExecutor(),
    )


def settings(*providers):
    return Settings(providers={p.name: p for p in providers})


NORTH = OpenStackProvider(name="north", cloud="one")
SOUTH = OpenStackProvider(name="south", cloud="two")


@pytest.fixture
def clouds():
    return Clouds()


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def providers(clouds, clock):
    return ProviderSet(clock, opener=clouds.connect, stray=clouds.stray, uploads=lambda: clouds.uploads)


def test_a_connection_stays_while_its_settings_do(clouds, providers):
    assert providers.apply(settings(NORTH, SOUTH))
    north = providers.current()["north"]
    assert not providers.apply(settings(NORTH, SOUTH))
    assert providers.current()["north"] is north
    assert providers.apply(settings(NORTH))
    providers.tick()
    assert list(providers.current()) == ["north"]
    assert [c.provider.name for c in clouds.open] == ["north"]


def test_an_upload_that_runs_keeps_its_old_connection_open(clouds, providers):
    providers.apply(settings(NORTH))
    old = providers.current()["north"]
    clouds.uploads = {Upload(image="i", build="b", provider="north", id="1").path}
    assert providers.apply(settings(OpenStackProvider(name="north", cloud="one", rate=5.0)))
    providers.tick()
    assert providers.current()["north"] is not old
    assert len(clouds.open) == 2
    assert old.uploads.submit(lambda: 1).cancelled()
    clouds.uploads = set()
    providers.tick()
    assert [c.provider for c in clouds.open] == [providers.current()["north"]]


def test_a_provider_without_cloud_stops_no_other_and_is_tried_again(clouds, clock, providers, caplog):
    clouds.known.remove("two")
    providers.apply(settings(NORTH, SOUTH))
    assert list(providers.current()) == ["north"]
    assert providers.failed == {"south": "no cloud two"}
    clouds.known.add("two")
    assert not providers.tick()
    clock.advance(START_RETRY)
    assert providers.tick()
    assert list(providers.current()) == ["north", "south"]
    assert providers.failed == {}
    assert caplog.text.count("no cloud two") == 1


def test_new_settings_that_cannot_be_used_leave_the_old_connection(clouds, providers, caplog):
    providers.apply(settings(NORTH))
    assert not providers.apply(settings(OpenStackProvider(name="north", cloud="three")))
    assert list(providers.current()) == ["north"]
    assert "goes on with its old settings" in caplog.text


def test_a_stray_record_gets_the_connection_of_its_cloud(clouds, providers):
    providers.apply(settings(NORTH))
    assert providers.stray("one", None) is providers.current()["north"]
    two = providers.stray("two", None)
    assert two is not None
    assert providers.stray("two", None) is two
    assert providers.stray("three", None) is None
    providers.close()
    assert clouds.open == []
    assert providers.current() == {}
