from __future__ import annotations

import json

import pytest

from poolmgr.builder.manifest import manifest_properties, packages_in, read_manifest, write_manifest

RPMS = "bash-5.2.26-3.el10.x86_64\nkernel-core-6.12.0-1.el10.x86_64\nnot a package\n"


def dpkg(*packages):
    listed = [
        {"package": name, "arch": "amd64", "version": version, "status": "ii "} for name, version in packages
    ]
    return json.dumps({"packages": listed})


@pytest.fixture
def manifests(tmp_path):
    directory = tmp_path / "img-1.d" / "dib-manifests"
    directory.mkdir(parents=True)
    return directory


def test_packages_of_debian_as_dib_lists_them(manifests):
    text = dpkg(("zlib1g:amd64", "1:1.2.13"), ("adduser", "3.134"))
    (manifests / "dib-manifest-dpkg-img-1").write_text(text)
    assert packages_in(manifests.parent) == [
        {"name": "adduser", "version": "3.134", "arch": "amd64", "type": "dpkg"},
        {"name": "zlib1g", "version": "1:1.2.13", "arch": "amd64", "type": "dpkg"},
    ]


def test_packages_as_rpm_lists_them(manifests):
    (manifests / "dib-manifest-rpm-img-1").write_text(RPMS)
    assert packages_in(manifests.parent) == [
        {"name": "bash", "version": "5.2.26-3.el10", "arch": "x86_64", "type": "rpm"},
        {"name": "kernel-core", "version": "6.12.0-1.el10", "arch": "x86_64", "type": "rpm"},
    ]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"packages": 7}', '{"packages": [7, {"version": "1"}]}', "\udcff"]
)
def test_what_makes_no_sense_lists_nothing(manifests, text):
    (manifests / "dib-manifest-dpkg-img-1").write_bytes(text.encode(errors="surrogateescape"))
    assert packages_in(manifests.parent) == []


def test_other_files_and_links_are_not_read(manifests, tmp_path):
    (tmp_path / "secret").write_text(dpkg(("secret", "1")))
    (manifests / "dib-manifest-dpkg-link").symlink_to(tmp_path / "secret")
    (manifests / "dib-manifest-git-zuul").write_text(dpkg(("zuul", "1")))
    assert packages_in(manifests.parent) == []
    assert packages_in(tmp_path / "nowhere") == []


def test_properties_need_a_manifest_that_makes_sense(tmp_path):
    path = tmp_path / "manifest.json"
    assert manifest_properties(path) == {}
    for text in ("", "[]", "{}", '{"format": 2}'):
        path.write_text(text)
        assert read_manifest(path) is None
        assert manifest_properties(path) == {}
    write_manifest(path, {"format": 1, "config_hash": "c" * 64, "packages": [{}, {}]})
    told = manifest_properties(path)
    assert (told["poolmgr_config_hash"], told["poolmgr_packages"]) == ("c" * 64, "2")
    assert all(len(text) <= 255 for text in told.values())
