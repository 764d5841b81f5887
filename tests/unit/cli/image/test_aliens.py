"""Alien images listed and deleted, in simulated clouds."""

import hashlib

import pytest

from poolmgr import wiring
from poolmgr.cloud.simulated import SimulatedCloud
from poolmgr.errors import ConfigError
from poolmgr.model.cloud_image import PROP_BUILD, ImageOwner, ImageSpec
from poolmgr.model.image import UploadState
from poolmgr.simcloud.config import load
from poolmgr.simcloud.world import Fault, FaultKind, World
from tests.fakes import FakeClock

PROVIDERS = """\
providers:
  - {name: north, driver: openstack, cloud: one, diskimages: [{name: debian}]}
  - {name: south, driver: openstack, cloud: two, diskimages: [{name: debian}]}
"""


class Clouds:
    """What the commands get for the providers of the configuration, in place of real clouds."""

    def __init__(self, place):
        with place.config.open("a") as config:
            config.write(PROVIDERS)
        self.deployment = place.store.deployment()
        self.clock = FakeClock()
        self.world = World(load({"clouds": {"one": {}, "two": {}}}), self.clock.time)
        self.of = {name: self.cloud(far) for name, far in (("north", "one"), ("south", "two"))}
        self.file = place.directory / "x.qcow2"
        self.file.write_bytes(b"QFI\xfb" + bytes(100))
        place.monkeypatch.setattr(wiring, "open_image_clouds", self.open)

    def cloud(self, far):
        return SimulatedCloud(self.world.clouds[far], clock=self.clock)

    def open(self, settings, environ, *, deployment):
        assert deployment == self.deployment
        return {name: cloud for name, cloud in self.of.items() if name in settings.providers}

    def upload(self, provider="north", owner="", name="x", **more):
        """An image there; `owner` "": ours, of a build that is gone."""
        if owner == "":
            owner = ImageOwner(
                provider=provider, image="debian", build="0e", upload="0000000009", deployment=self.deployment
            )
        spec = ImageSpec(
            name=name,
            path=str(self.file),
            size=self.file.stat().st_size,
            md5=hashlib.md5(self.file.read_bytes()).hexdigest(),
            owner=owner,
            **more,
        )
        return self.of[provider].upload_image(spec).id

    def images(self, provider="north"):
        return set(self.of[provider].list_images().items)


@pytest.fixture
def clouds(place):
    place.add_build()
    return Clouds(place)


def other(clouds, **changes):
    values = {
        "provider": "north",
        "image": "debian",
        "build": "0d",
        "upload": "0000000008",
        "deployment": "e" * 32,
    }
    return ImageOwner(**{**values, **changes})


def test_what_no_ready_upload_names_is_listed(place, clouds):
    served = clouds.upload(owner=other(clouds, build="0f", upload="0000000000", deployment=clouds.deployment))
    place.add_upload(external_id=served)
    clouds.upload(owner=None, name="a person's")
    alien = clouds.upload(name="left")
    table = place.run("alien-image-list").out.splitlines()
    assert table[1].split() == ["|", "Provider", "|", "Name", "|", "Image", "ID", "|"]
    assert table[3].split() == ["|", "north", "|", "left", "|", alien, "|"]
    assert len(table) == 5
    (row,) = place.rows("alien-image-list")
    assert (row["id"], row["build_id"], row["stays"], row["result"]) == (alien, "0e", None, None)
    assert "Stays" in place.run("alien-image-list", "--detail").out


def test_one_provider_only(place, clouds):
    clouds.upload("north")
    south = clouds.upload("south")
    assert [row["id"] for row in place.rows("alien-image-list", "south")] == [south]
    assert "did you mean south?" in place.run("alien-image-list", "soth", code=1).err


def test_providers_that_share_a_project_show_an_image_once(place, clouds):
    clouds.of["south"] = clouds.cloud("one")
    mine = clouds.upload("south")
    assert [(row["provider"], row["id"]) for row in place.rows("alien-image-list")] == [("south", mine)]


@pytest.mark.parametrize(("answer", "code"), [("1\n", 0), ("yes\n", 0), ("2\n", 1), ("", 1)])
def test_deleting_asks_and_spares_what_is_not_ours(place, clouds, answer, code):
    mine = clouds.upload(name="mine")
    theirs = clouds.upload(owner=other(clouds), name="theirs")
    unnamed = clouds.upload(owner=None, name="unnamed", properties={PROP_BUILD: "0c"})
    output, errors = place.run("alien-image-list", "--delete", answer=answer, code=code)
    assert "1 image will be deleted, 2 stay. Type 1 or yes" in errors
    assert "of another deployment" in errors
    assert clouds.images() >= {theirs, unnamed}
    assert (mine in clouds.images()) == (code == 1)
    if code == 0:
        assert "| deleted " in output
        assert "kept: of another deployment" in output


def test_yes_does_not_ask_and_json_tells_each_result(place, clouds):
    mine = clouds.upload()
    clouds.upload(owner=other(clouds))
    rows = place.rows("alien-image-list", "--delete", "--yes")
    assert {row["result"] for row in rows} == {"deleted", "kept: of another deployment"}
    assert mine not in clouds.images()
    errors = place.run("alien-image-list", "--delete", "--yes").err
    assert "nothing here may be deleted" in errors


def test_nothing_to_delete_is_fine(place, clouds):
    assert "there are no alien images" in place.run("alien-image-list", "--delete").err


def test_what_a_record_names_meanwhile_is_not_deleted(place, clouds):
    image = clouds.upload(owner=other(clouds, build="0f", upload="0000000000", deployment=clouds.deployment))
    cloud, lists = clouds.of["north"], []
    really = cloud.list_images

    def list_images():
        lists.append(1)
        if len(lists) == 2:  # the person has said yes, and a builder has finished
            place.add_upload(external_id=image)
        return really()

    place.monkeypatch.setattr(cloud, "list_images", list_images)
    (row,) = place.rows("alien-image-list", "--delete", "--yes")
    assert row["result"] == "not deleted: it is gone, or no alien any more"
    assert image in clouds.images()


def test_a_provider_that_is_away_does_not_stop_the_others(place, clouds):
    clouds.of["north"] = ConfigError("there is no cloud one in clouds.yaml")
    image = clouds.upload("south")
    output, errors = place.run("alien-image-list", code=1)
    assert image in output
    assert errors == "poolmgr: provider north: there is no cloud one in clouds.yaml\n"
    output, _ = place.run("alien-image-list", "--delete", "--yes", code=1)
    assert image not in clouds.images("south")


def test_a_cloud_that_refuses_a_deletion_is_told(place, clouds):
    clouds.upload(name="a")
    second = ImageOwner(
        provider="north", image="debian", build="0e", upload="5", deployment=clouds.deployment
    )
    clouds.upload(name="b", owner=second)
    clouds.world.clouds["one"].faults.add(
        Fault(kind=FaultKind.REFUSE, operations=("image.DELETE.image",), times=1)
    )
    rows = place.rows("alien-image-list", "--delete", "--yes", code=1)
    assert sorted(row["result"].split(":")[0] for row in rows) == ["deleted", "not deleted"]
    assert len(clouds.images()) == 1


def test_a_cloud_that_is_gone_after_the_question_is_told(place, clouds):
    image = clouds.upload()
    cloud, lists = clouds.of["north"], []
    really = cloud.list_images

    def list_images():
        lists.append(1)
        if len(lists) > 1:
            raise ConfigError("gone")
        return really()

    place.monkeypatch.setattr(cloud, "list_images", list_images)
    (row,) = place.rows("alien-image-list", "--delete", "--yes", code=1)
    assert row["result"] == "not deleted: the cloud could not be asked again"
    assert image in clouds.cloud("one").list_images().items


def at_first_deletion(place, clouds, act):
    """Two aliens in the north; `act` happens while the first of them is deleted."""
    for number in ("6", "7"):
        owner = other(clouds, build="0f", upload=number.zfill(10), deployment=clouds.deployment)
        clouds.upload(owner=owner, name=f"image {number}")
    cloud = clouds.of["north"]
    really = cloud.delete_image

    def delete_image(image_id):
        really(image_id)
        act()

    place.monkeypatch.setattr(cloud, "delete_image", delete_image)


def test_each_image_is_asked_about_just_before_its_end(place, clouds):
    at_first_deletion(
        place,
        clouds,
        lambda: [place.add_upload(state=UploadState.UPLOADING, external_id=i) for i in clouds.images()],
    )
    rows = place.rows("alien-image-list", "--delete", "--yes")
    assert sorted(row["result"] for row in rows) == ["deleted", "kept: a record names it: builders see to it"]
    assert len(clouds.images()) == 1


def test_nothing_is_deleted_by_what_zookeeper_said_before_it_went_away(place, clouds):
    at_first_deletion(place, clouds, lambda: place.opened[-1].suspend())
    rows = place.rows("alien-image-list", "--delete", "--yes", code=1)
    assert sorted(row["result"] for row in rows) == ["deleted", "not deleted: no connection to ZooKeeper"]
    assert len(clouds.images()) == 1
