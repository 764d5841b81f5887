from __future__ import annotations

import pytest

from poolmgr.config.problem import Severity


def built(look, text):
    """How each image is built, of a file whose findings do not matter."""
    settings = look(text).settings
    return {name: image.build for name, image in settings.diskimages.items()}


CHAIN = """
diskimages:
  - {{name: leaf, parent: middle, {leaf}}}
  - {{name: middle, parent: root, abstract: true, {middle}}}
  - {{name: root, abstract: true, {root}}}
"""


@pytest.mark.parametrize(
    ("key", "root", "middle", "leaf", "value"),
    [
        ("elements", "elements: [a]", "elements: [b]", "elements: [c, a]", ("a", "b", "c", "a")),
        ("elements", "elements: [a]", "", "", ("a",)),
        ("env-vars", "env-vars: {A: r, B: r}", "env-vars: {B: m, C: m}", "env-vars: {C: l}",
         {"A": "r", "B": "m", "C": "l"}),
        ("formats", "formats: [raw]", "", "", ("raw",)),
        ("formats", "formats: [raw]", "formats: [vhd]", "formats: []", ("vhd",)),  # empty counts as not given
        ("keep-formats", "keep-formats: [raw]", "", "keep-formats: [vhd]", ("vhd",)),
        ("delete-after-upload", "delete-after-upload: true", "", "", True),
        ("delete-after-upload", "delete-after-upload: true", "", "delete-after-upload: false", False),
        ("rebuild-age", "rebuild-age: 5", "", "", 5),
        ("rebuild-age", "rebuild-age: 5", "rebuild-age: 6", "rebuild-age: 0", 6),  # 0 counts as not given
        ("rebuild-age", "", "", "", 86400),
        ("build-timeout", "build-timeout: 5", "", "build-timeout: 7", 7),
        ("build-timeout", "", "", "", 28800),
        ("release", "release: 9", "", "", "9"),
        ("release", "release: noble", "", "release: ''", "noble"),
        ("dib-cmd", "dib-cmd: other", "", "", "other"),
        ("dib-cmd", "", "", "", "disk-image-create"),
    ],
)  # fmt: skip
def test_what_an_image_gets_from_its_parents(look, key, root, middle, leaf, value):
    builds = built(look, CHAIN.format(root=root, middle=middle, leaf=leaf))
    assert getattr(builds["leaf"], key.replace("-", "_")) == value
    assert list(builds) == ["leaf"]  # abstract images are no images


@pytest.mark.parametrize(
    ("root", "leaf", "expected"),
    [
        ("", "", ("zuul", "auto", None)),
        ("username: u, python-path: /p, shell-type: cmd", "", ("u", "/p", "cmd")),
        ("username: u, python-path: /p, shell-type: cmd", "username: v", ("v", "/p", "cmd")),
    ],
)
def test_the_login_is_inherited(look, root, leaf, expected):
    image = look(CHAIN.format(root=root, middle="", leaf=leaf)).settings.diskimages["leaf"]
    assert (image.username, image.python_path, image.shell_type) == expected


def test_a_parent_that_is_not_abstract_is_an_image_too(look):
    builds = built(look, "diskimages: [{name: b, parent: a, elements: [y]}, {name: a, elements: [x]}]")
    assert (builds["a"].elements, builds["b"].elements) == (("x",), ("x", "y"))


def test_metadata_is_not_inherited_and_that_is_said(look):
    examined = look(CHAIN.format(root="", middle="metadata: {a: b}", leaf="formats: [raw]"))
    assert examined.settings.diskimages["leaf"].metadata == {}
    assert [p.what for p in examined.problems] == ["metadata of the parent is not inherited"]
    examined = look(CHAIN.format(root="", middle="metadata: {a: b}", leaf="metadata: {c: d}"))
    assert examined.settings.diskimages["leaf"].metadata == {"c": "d"}
    assert examined.problems == ()


def test_a_child_of_a_paused_image_is_paused_whatever_it_says_and_that_is_said(look):
    examined = look(CHAIN.format(root="pause: true", middle="", leaf="pause: false"))
    assert examined.settings.diskimages["leaf"].pause
    [problem] = examined.problems
    assert (problem.severity, problem.key) == (Severity.WARNING, "diskimages[0].pause")
    assert look(CHAIN.format(root="pause: true", middle="", leaf="")).settings.diskimages["leaf"].pause


def test_images_do_not_share_what_they_inherited(look):
    text = "diskimages: [{name: r, abstract: true, env-vars: {A: '1'}}, {name: a, parent: r}, {name: b, parent: r}]"
    secure = "diskimages: [{name: a, env-vars: {A: '2'}}]"
    builds = {n: i.build for n, i in look(text, secure=secure).settings.diskimages.items()}
    assert (builds["a"].env_vars, builds["b"].env_vars) == ({"A": "2"}, {"A": "1"})
