"""`poolmgr config-validate`: what is checked, and what the exit code says."""

import json
import os

import pytest

from poolmgr.cli import main

GOOD = """\
zookeeper-servers: [{host: zk1}]
zookeeper-plaintext: true
labels: [{name: debian}]
providers:
  - name: north
    driver: openstack
    cloud: acme
    cloud-images: [{name: debian}]
    pools:
      - name: main
        labels: [{name: debian, cloud-image: debian, flavor-name: small}]
"""
CLOUDS = """\
clouds:
  acme:
    auth:
      auth_url: "https://acme.example/v3"
      username: u
      password: p
      project_name: x
      user_domain_name: Default
      project_domain_name: Default
    region_name: north
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """An empty directory, and no clouds.yaml anywhere unless a test writes one here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
    return tmp_path


def validate(place, text, *options):
    (place / "np.yaml").write_text(text)
    return main.main(["-c", str(place / "np.yaml"), "config-validate", *options])


def test_a_good_file_exits_0_and_says_so(place, capsys):
    (place / "clouds.yaml").write_text(CLOUDS)
    assert validate(place, GOOD) == 0
    assert capsys.readouterr().out.endswith("np.yaml: valid\n")


def test_without_clouds_yaml_clouds_are_only_a_warning(place, capsys):
    assert validate(place, GOOD) == 0
    assert "clouds and regions are not checked" in capsys.readouterr().out


def test_a_cloud_that_clouds_yaml_lacks_is_an_error(place, capsys):
    (place / "clouds.yaml").write_text(CLOUDS)
    assert validate(place, GOOD.replace("cloud: acme", "cloud: amce")) == 1
    assert "did you mean" in capsys.readouterr().out


def test_all_errors_come_at_once(place, capsys):
    assert (
        validate(place, GOOD.replace("cloud-image: debian", "cloud-image: x").replace("[{host: zk1}]", "3"))
        == 1
    )
    out = capsys.readouterr().out
    assert "cloud-image" in out
    assert "zookeeper-servers" in out


def test_what_only_a_builder_needs_is_looked_for_on_demand(place, capsys):
    assert validate(place, GOOD) == 0
    assert validate(place, GOOD, "--builder") == 1
    assert "error: 'images-dir' is missing" in capsys.readouterr().out


LISTING = GOOD.replace("    cloud: acme\n", "    cloud: acme\n    diskimages: [{name: deb}, {name: own}]\n")
LISTING += "diskimages: [{name: deb}, {name: own, dib-cmd: make-it}]\n"


def test_a_format_of_a_cloud_that_nobody_makes_is_a_warning(place, capsys):
    (place / "clouds.yaml").write_text(CLOUDS.replace("  acme:\n", "  acme:\n    image_format: qcov2\n"))
    assert validate(place, LISTING) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if "qcov2" in line]
    assert (
        "clouds.yaml:3:1: warning: clouds.acme.image_format: diskimage-builder makes no such format" in line
    )
    assert "provider north gets no deb;" in line  # what makes the other is not known
    assert "did you mean 'qcow2'?" in line


@pytest.mark.parametrize("image_format", ["qcow2", "vhd"])
def test_a_format_that_can_be_made_is_no_problem(place, capsys, image_format):
    (place / "clouds.yaml").write_text(
        CLOUDS.replace("  acme:\n", f"  acme:\n    image_format: {image_format}\n")
    )
    assert validate(place, LISTING) == 0
    assert "no such format" not in capsys.readouterr().out


def test_unknown_keys_are_errors_only_when_strict(place):
    text = GOOD + "no-such-key: 1\n"
    assert validate(place, text) == 0
    assert validate(place, text, "--strict") == 1


def test_a_cloud_that_cannot_be_used_is_an_error(place, capsys):
    (place / "clouds.yaml").write_text(CLOUDS.replace("      password: p\n", ""))
    assert validate(place, GOOD) == 1
    assert "password is missing" in capsys.readouterr().out


def test_a_clouds_yaml_that_cannot_be_read_is_an_error(place, capsys):
    (place / "clouds.yaml").write_text("clouds: [")
    assert validate(place, GOOD) == 1


def test_a_broken_clouds_yaml_does_not_hide_what_is_wrong_in_the_file(place, capsys):
    (place / "clouds.yaml").write_text("clouds: [")
    assert validate(place, GOOD.replace("cloud-image: debian", "cloud-image: x")) == 1
    captured = capsys.readouterr()
    assert "clouds.yaml" in captured.err
    assert "cloud-image" in captured.out


def test_json_has_a_record_for_each_problem(place, capsys):
    validate(place, GOOD + "no-such-key: 1\n", "--json")
    problems = json.loads(capsys.readouterr().out)
    assert {"severity", "file", "line", "column", "key", "what", "found", "allowed", "hint"} == set(
        problems[0]
    )
    assert [p["key"] for p in problems if p["line"] == 12] == ["no-such-key"]


def test_a_missing_file_exits_1(place, capsys):
    assert main.main(["-c", str(place / "none.yaml"), "config-validate"]) == 1
    assert "none.yaml" in capsys.readouterr().out


def test_the_secure_file_is_checked_too(place, capsys):
    (place / "secure.yaml").write_text("zookeeper-servers: 7\n")
    (place / "np.yaml").write_text(GOOD)
    code = main.main(["-c", str(place / "np.yaml"), "-s", str(place / "secure.yaml"), "config-validate"])
    assert code == 1
    assert "secure.yaml:1" in capsys.readouterr().out


def test_the_file_may_say_where_clouds_yaml_is(place, capsys):
    (place / "ours.yaml").write_text(CLOUDS.replace("acme:", "acne:"))
    (place / "clouds.yaml").write_text(CLOUDS)
    assert validate(place, f"clouds-files: [{place}/none.yaml, {place}/ours.yaml]\n{GOOD}") == 0
    del os.environ["OS_CLIENT_CONFIG_FILE"]  # it goes first
    assert validate(place, f"clouds-files: [{place}/none.yaml, {place}/ours.yaml]\n{GOOD}") == 1
    assert "did you mean 'acne'?" in capsys.readouterr().out
