"""What is run for a build, as builder.md 4 has it, and where poolmgr differs on purpose."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from poolmgr.builder.recipe import config_hash, recipe, tmpdir_parent
from poolmgr.config.settings import DiskImage, ImageBuild
from poolmgr.errors import ConfigError

ID = "0123456789abcdef0123456789abcdef"
ENVIRON = {"PATH": "/usr/bin:/bin", "HOME": "/var/lib/builder"}


def image(name="debian", **build):
    build.setdefault("elements", ("debian-minimal", "vm"))
    return DiskImage(name=name, build=ImageBuild(**build))


def cook(one, formats=("qcow2",), *, environ=ENVIRON, elements_dir=None, programs=()):
    return recipe(
        one,
        ID,
        formats,
        images_dir=Path("/opt/images"),
        elements_dir=elements_dir,
        environ=environ,
        has=lambda program, path: program in programs,
    )


def test_the_command_line_is_the_reference_s():
    told = cook(image(), ("qcow2", "raw"))
    assert told.command == (
        *("disk-image-create", "-x", "-t", "qcow2,raw", "--checksum", "--no-tmpfs"),
        *("--qemu-img-options", "compat=0.10", "-o", f"/opt/images/debian-{ID}", "debian-minimal", "vm"),
    )
    assert (told.formats, told.made, told.conversions, told.surplus) == (("qcow2", "raw"),) * 2 + ((), ())


@pytest.mark.parametrize(
    ("formats", "options", "there"),
    [(("raw",), "compat=0.10", []), (("qcow2",), "", []), (("qcow2",), "compat=1.1", ["compat=1.1"])],
)
def test_qemu_img_options_only_for_a_qcow2_and_if_there_are_some(formats, options, there):
    command = cook(image(qemu_img_options=options), formats).command
    assert [command[i + 1] for i, word in enumerate(command) if word == "--qemu-img-options"] == there


def test_blanks_in_elements_and_names_and_a_command_with_arguments_of_its_own():
    told = cook(
        image("my image", dib_cmd="sudo -E '/opt/my tools/dib' --offline", elements=("/el/with blank", "vm"))
    )
    assert told.command[:5] == ("sudo", "-E", "/opt/my tools/dib", "--offline", "-x")
    assert told.command[-4:] == ("-o", f"/opt/images/my image-{ID}", "/el/with blank", "vm")


@pytest.mark.parametrize("command", ["", "  ", "dib 'unbalanced"])
def test_a_command_that_is_none(command):
    with pytest.raises(ConfigError, match="dib-cmd of debian"):
        cook(image(dib_cmd=command))


def test_the_environment_and_which_wins():
    environ = ENVIRON | {"DIB_RELEASE": "old", "LANG": "C.UTF-8", "https_proxy": "http://proxy"}
    told = cook(
        image(release="bookworm", env_vars={"DIB_IMAGE_NAME": "other", "HOME": "/root"}),
        environ=environ,
        elements_dir="/etc/elements:/opt/elements",
    )
    tmpdir = f"/tmp/poolmgr-debian-{ID}"
    assert told.environ == {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "https_proxy": "http://proxy",
        "HOME": "/root",
        "DIB_RELEASE": "bookworm",
        "DIB_IMAGE_NAME": "other",
        "DIB_IMAGE_FILENAME": f"/opt/images/debian-{ID}",
        "ELEMENTS_PATH": "/etc/elements:/opt/elements",
        "TMPDIR": tmpdir,
        "TMP_DIR": tmpdir,
    }
    assert "ELEMENTS_PATH" not in cook(image()).environ


def test_credentials_of_the_daemon_do_not_reach_builds_those_of_the_image_do():
    environ = ENVIRON | {"OS_PASSWORD": "s3cret", "OS_CLOUD": "north", "NOTIFY_SOCKET": "/run/notify"}
    told = cook(image(env_vars={"OS_TOKEN": "for the build"}), environ=environ)
    assert told.environ.keys() & environ.keys() == ENVIRON.keys()
    assert told.environ["OS_TOKEN"] == "for the build"
    assert "for the build" not in repr(told)


@pytest.mark.parametrize(
    ("own", "daemon", "parent"),
    [
        ({}, {}, "/tmp"),
        ({}, {"TMPDIR": "/var/tmp"}, "/var/tmp"),
        ({"TMPDIR": "/big"}, {"TMPDIR": "/var/tmp", "TMP_DIR": "/x"}, "/big"),
        ({"TMPDIR": "/big", "TMP_DIR": "/bigger"}, {}, "/bigger"),
    ],
)
def test_where_builds_have_their_temporary_directories(own, daemon, parent):
    one = image(env_vars=own)
    assert tmpdir_parent(one, daemon) == parent
    told = cook(one, environ=ENVIRON | daemon)
    assert told.tmpdir == told.environ["TMPDIR"] == told.environ["TMP_DIR"] == f"{parent}/poolmgr-debian-{ID}"


@pytest.mark.parametrize(
    ("formats", "command", "programs", "made", "converted"),
    [
        (("qcow2", "vmdk"), "disk-image-create", (), ("qcow2",), {"vmdk": "qcow2"}),
        (("qcow2", "raw", "vmdk"), "disk-image-create", (), ("qcow2", "raw"), {"vmdk": "raw"}),
        (("vhd",), "disk-image-create", ("vhd-util",), ("vhd",), {}),
        (("vhd",), "sudo -E /usr/bin/disk-image-create", (), ("raw",), {"vhd": "raw"}),
        (("vhd",), "disk-image-create -a amd64", (), ("raw",), {"vhd": "raw"}),
        (("vhd",), "my-dib", (), ("vhd",), {}),
        (("vdi", "vhdx"), "my-dib", (), ("raw",), {"vdi": "raw", "vhdx": "raw"}),
        (("tgz", "vmdk"), "disk-image-create", (), ("raw", "tgz"), {"vmdk": "raw"}),
    ],
)
def test_formats_that_are_converted(formats, command, programs, made, converted):
    told = cook(image(dib_cmd=command), formats, programs=programs)
    assert told.command[told.command.index("-t") + 1] == ",".join(made)
    assert told.made == made
    assert {one.image_format: one.command[3] for one in told.conversions} == converted
    assert told.surplus == tuple(sorted(set(made) - set(formats)))


def test_a_conversion_writes_a_draft_beside_the_image():
    (one,) = cook(image(), ("qcow2", "vmdk")).conversions
    output = f"/opt/images/debian-{ID}"
    assert one.command == (
        *("qemu-img", "convert", "-f", "qcow2", "-O", "vmdk", "-o", "subformat=streamOptimized"),
        *(f"{output}.qcow2", f"{output}.vmdk.tmp"),
    )
    assert one.draft == f"{output}.vmdk.tmp"


def test_vhd_util_is_looked_for_on_the_build_s_own_path():
    seen = []
    recipe(
        image(env_vars={"PATH": "/opt/vhd/bin"}),
        ID,
        ("vhd",),
        images_dir=Path("/i"),
        elements_dir=None,
        environ=ENVIRON,
        has=lambda *asked: bool(seen.append(asked)),
    )
    assert seen == [("vhd-util", "/opt/vhd/bin")]


@pytest.mark.parametrize(
    "change",
    [
        {"elements": ("debian-minimal",)},
        {"dib_cmd": "dib2"},
        {"env_vars": {"PASSWORD": "other"}},
        {"release": "trixie"},
        {"qemu_img_options": ""},
    ],
)
def test_the_config_hash_changes_with_what_says_how_it_is_built(change):
    one = image(env_vars={"PASSWORD": "s3cret"})
    other = replace(one, build=replace(one.build, **change))
    assert config_hash(one, None) != config_hash(other, None)
    assert config_hash(one, None) != config_hash(one, "/elements")


def test_the_config_hash_stays_with_everything_else():
    one = image()
    other = DiskImage(name="debian", pause=True, build=replace(one.build, rebuild_age=1.0, formats=("raw",)))
    assert config_hash(one, None) == config_hash(other, None) == cook(one, ("qcow2",)).config_hash
    assert cook(one, ("qcow2",)).config_hash == cook(one, ("raw", "vmdk")).config_hash
