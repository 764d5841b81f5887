"""Builds ordered and cancelled, images paused and unpaused."""

import socket

import pytest

from poolmgr.model.component import Component, ComponentKind
from poolmgr.model.image import BuildState, ImageOrder, Order

ANA = f"ana@{socket.gethostname()}"


def order(place, image="debian", kind=Order.BUILD):
    return place.snapshot(lambda snapshot: snapshot.order(image, kind))


@pytest.fixture
def builder(place):
    place.store.register(Component(kind=ComponentKind.BUILDER, hostname="b1"))


@pytest.mark.usefixtures("builder")
def test_a_build_is_ordered_with_who_and_why(place):
    assert place.run("image-build", "debian", "--reason", "CVE") == ("", "")
    assert (order(place).by, order(place).reason) == (ANA, "CVE")


@pytest.mark.usefixtures("builder")
def test_ordered_twice_it_stands_as_it_was(place):
    place.run("image-build", "debian", "--reason", "first")
    _, errors = place.run("image-build", "debian", "--reason", "second")
    assert order(place).reason == "first"
    assert errors == f"a build of debian is asked for already by {ANA} (first)\n"


@pytest.mark.usefixtures("builder")
def test_ordered_again_after_a_failure_it_is_a_new_order(place):
    place.run("image-build", "debian", "--reason", "first")
    place.add_build(state=BuildState.FAILED, state_time=order(place).at + 1)
    assert place.run("image-build", "debian", "--reason", "second").err == ""
    assert order(place).reason == "second"


def test_what_may_keep_a_build_from_beginning_is_told(place):
    place.store.order_image(ImageOrder(image="fedora", kind=Order.PAUSE, by="bob@b2", reason="mirror"))
    _, errors = place.run("image-build", "fedora")
    paused, unlisted, alone = errors.splitlines()
    assert (
        paused
        == "image fedora is paused by bob@b2 (mirror): the build waits for `poolmgr image-unpause fedora`"
    )
    assert "no `formats`, and no provider of this configuration lists it" in unlisted
    assert alone == "no builder is running: the build waits until one starts"
    assert order(place, "fedora")


@pytest.mark.parametrize(
    ("image", "told"),
    [
        ("debain", "there is no disk image debain in this configuration; did you mean debian?"),
        ("zz", "there are debian, fedora, stopped"),
        ("stopped", "image stopped is paused in this configuration; remove `pause: true` from it first"),
    ],
)
def test_what_no_builder_would_build_is_refused(place, image, told):
    assert told in place.run("image-build", image, code=1).err
    assert order(place, image) is None


def test_an_order_is_cancelled_once(place):
    place.store.order_image(ImageOrder(image="elsewhere", kind=Order.BUILD))
    assert "did you mean elsewhere?" in place.run("image-build", "--cancel", "elswhere", code=1).err
    assert place.run("image-build", "--cancel", "elsewhere") == ("", "")
    assert order(place, "elsewhere") is None
    assert (
        "no build of elsewhere is asked for" in place.run("image-build", "--cancel", "elsewhere", code=1).err
    )


def test_an_image_is_paused_with_who_and_why_and_unpaused(place):
    assert place.run("image-pause", "debian", "--reason", "mirror") == ("", "")  # never built: no matter
    pause = order(place, kind=Order.PAUSE)
    assert (pause.by, pause.reason) == (ANA, "mirror")
    _, errors = place.run("image-pause", "debian", "--reason", "other")
    assert errors == f"image debian was paused already by {ANA} (mirror); that stands\n"
    assert place.run("image-unpause", "debian") == ("", "")
    assert order(place, kind=Order.PAUSE) is None
    assert place.run("image-unpause", "debian").err == "image debian was not paused\n"


def test_unpausing_what_the_file_pauses_says_so(place):
    assert "`pause: true`" in place.run("image-unpause", "stopped").err


def test_images_that_only_others_have_are_paused_too(place):
    place.add_build(image="elsewhere")
    place.run("image-pause", "elsewhere")
    assert order(place, "elsewhere", Order.PAUSE)


@pytest.mark.parametrize("command", ["image-pause", "image-unpause"])
def test_an_unknown_image_is_told(place, command):
    assert "did you mean fedora?" in place.run(command, "fedroa", code=1).err
    assert place.snapshot(lambda snapshot: "fedroa" in snapshot.images()) is False
