"""Names that are used twice or not defined: the defects that the reference's validator let pass."""

from __future__ import annotations

import pytest

from poolmgr.config.problem import Severity

GOOD = """
labels: [{name: small}, {name: large}]
diskimages: [{name: base, abstract: true}, {name: deb, parent: base}]
providers:
  - name: p
    cloud: north
    region-name: one
    diskimages: [{name: deb}]
    cloud-images: [{name: ci}]
    pools:
      - name: main
        labels:
          - {name: small, diskimage: deb, flavor-name: f}
          - {name: large, cloud-image: ci, flavor-name: f}
  - name: s
    driver: static
    pools:
      - name: lab
        nodes:
          - {name: h1, labels: [small]}
"""


def test_the_file_the_others_are_made_from_has_no_findings(found):
    assert found(GOOD, strict=True) == []


@pytest.mark.parametrize(
    ("old", "new", "line", "path", "what", "hint"),
    [
        ("{name: deb, parent: base}", "{name: deb, parent: bas}", 2, "diskimages[1].parent",
         "parent 'bas' is not defined", "'base'"),
        ("[{name: deb}]", "[{name: deb}, {name: bed}]", 7, "providers[0].diskimages[1].name",
         "the disk image is not defined", ""),
        ("[{name: deb}]", "[{name: deb}, {name: base}]", 7, "providers[0].diskimages[1].name",
         "the disk image is abstract", ""),
        ("name: small, diskimage", "name: smal, diskimage", 12, "providers[0].pools[0].labels[0].name",
         "the label is not defined", "'small'"),
        ("diskimage: deb", "diskimage: debian", 12, "providers[0].pools[0].labels[0].diskimage",
         "the disk image is not defined", ""),
        ("diskimage: deb", "diskimage: base", 12, "providers[0].pools[0].labels[0].diskimage",
         "the disk image is abstract", ""),
        ("cloud-image: ci", "cloud-image: cii", 13, "providers[0].pools[0].labels[1].cloud-image",
         "the cloud image is not defined", "'ci'"),
        ("cloud: north", "cloud: nort", 5, "providers[0].cloud", "clouds.yaml has no such cloud", "'north'"),
        ("region-name: one", "region-name: ONE", 6, "providers[0].region-name", "cloud north has no such region",
         "'one'"),
        ("labels: [small]", "labels: [small, lrge]", 19, "providers[1].pools[0].nodes[0].labels",
         "label 'lrge' is not defined", "'large'"),
        ("[{name: base, abstract: true}, ", "[{name: base, abstract: true}, {name: deb}, ", 2, "diskimages[2].name",
         "the disk image is defined twice", "line 2 has it already"),
        ("- {name: h1, labels: [small]}", "- {name: h1, labels: [small]}\n          - {name: h1, labels: [large]}", 20,
         "providers[1].pools[0].nodes[1].name", "the static node is defined twice", "line 19 has it already"),
    ],
)  # fmt: skip
def test_a_reference_that_cannot_work_is_an_error(look, old, new, line, path, what, hint):
    assert old in GOOD
    problems = [p for p in look(GOOD.replace(old, new)).problems if p.severity is Severity.ERROR]
    [problem] = problems
    assert (problem.line, problem.key) == (line, path)
    assert what in problem.what
    assert hint in problem.hint


TWICE = [
    ("labels: [{name: small}, {name: large}]", "labels: [{name: small}, {name: large}, {name: small, min-ready: 2}]",
     "the label is defined twice", lambda s: s.labels["small"].min_ready == 2),
    ("  - name: s\n", "  - {name: p, cloud: south}\n  - name: s\n", "the provider is defined twice",
     lambda s: s.providers["p"].cloud == "south"),
    ("      - name: lab\n", "      - {name: lab, priority: 1}\n      - name: lab\n", "the pool is defined twice",
     lambda s: s.providers["s"].pools["lab"].priority == 100),
    ("        labels:\n", "        labels:\n          - {name: small, diskimage: deb, flavor-name: other}\n",
     "the label of the pool is defined twice",
     lambda s: s.providers["p"].pools["main"].labels["small"].flavor_name == "f"),
    ("[{name: ci}]", "[{name: ci}, {name: ci, image-id: x}]", "the cloud image is defined twice",
     lambda s: s.providers["p"].pools["main"].labels["large"].image.image_id == "x"),
    ("[{name: deb}]", "[{name: deb}, {name: deb, pause: true}]", "the disk image of the provider is defined twice",
     lambda s: s.providers["p"].diskimages["deb"].pause),
    ("labels: [{name: small}", ("tenant-resource-limits: [{tenant-name: t}, {tenant-name: t, max-ram: 1}]\n"
     "labels: [{name: small}"), "the tenant is defined twice", lambda s: s.tenants["t"].limits == {"ram": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "what", "last_counts"), TWICE)
def test_a_name_used_twice_is_a_warning_the_last_one_counts(look, old, new, what, last_counts):
    examined = look(GOOD.replace(old, new, 1))
    [problem] = examined.problems
    assert (problem.severity, problem.what) == (Severity.WARNING, what)
    assert "only the last one counts" in problem.hint
    assert last_counts(examined.settings)


@pytest.mark.parametrize(("old", "new", "what", "last_counts"), TWICE)
def test_a_name_used_twice_is_an_error_when_strict(look, old, new, what, last_counts):
    assert [p.severity for p in look(GOOD.replace(old, new, 1), strict=True).problems] == [Severity.ERROR]


def test_a_disk_image_that_the_provider_does_not_list_is_a_warning_and_an_error_when_strict(look):
    text = GOOD.replace("    diskimages: [{name: deb}]\n", "")
    examined = look(text)
    [problem] = examined.problems
    assert (problem.severity, problem.key) == (Severity.WARNING, "providers[0].pools[0].labels[0].diskimage")
    image = examined.settings.providers["p"].pools["main"].labels["small"].image
    assert (image.name, image.connection_port) == ("deb", 22)
    assert look(text, strict=True).settings is None


def test_static_nodes_differ_by_name_user_or_port(found):
    more = """
          - {name: h1, labels: [small], username: other}
          - {name: h1, labels: [small], connection-port: 23}
          - {name: h2, labels: [small]}
"""
    assert found(GOOD.rstrip() + more) == []
    assert "defined twice" in "".join(found(GOOD.rstrip() + more.replace("23", "22")))


@pytest.mark.parametrize(
    ("parents", "loops"),
    [
        ("{name: a, parent: a}", ["a -> a"]),
        ("{name: a, parent: b}, {name: b, parent: a}", ["a -> b -> a", "b -> a -> b"]),
        ("{name: a, parent: b}, {name: b, parent: c}, {name: c, parent: b}", ["b -> c -> b", "c -> b -> c"]),
    ],
)
def test_a_parent_loop_is_an_error_at_each_image_in_it(look, parents, loops):
    problems = look(f"diskimages: [{parents}]").problems
    assert [p.hint for p in problems if p.what == "the image is its own ancestor"] == loops
    assert len(problems) == len(loops)


def test_without_a_clouds_yaml_clouds_are_not_checked_and_that_is_said_once(look):
    examined = look(GOOD.replace("cloud: north", "cloud: anything"), clouds=None, strict=True)
    [problem] = examined.problems
    assert (problem.severity, problem.what) == (Severity.WARNING, "clouds and regions are not checked")
    assert examined.settings is not None


def test_any_region_is_right_where_the_cloud_lists_none(found):
    assert found(GOOD.replace("cloud: north", "cloud: south")) == []


def test_no_region_is_right_where_the_cloud_lists_some(found):
    assert found(GOOD.replace("    region-name: one\n", "")) == []


def test_a_clouds_yaml_without_clouds_is_named_as_such(look):
    [problem] = look(GOOD, clouds={}).problems
    assert problem.allowed == "none: it defines no cloud"


def test_labels_that_no_pool_offers_are_one_warning(look):
    [problem] = look(GOOD.replace("{name: large}]", "{name: large}, {name: x}, {name: y}]")).problems
    assert (problem.severity, problem.what) == (Severity.WARNING, "no pool in this file offers x, y")


def test_a_builder_file_without_pools_is_not_told_about_labels(found):
    assert found("labels: [{name: x}]") == []


def test_an_image_that_is_never_built_is_a_warning(look):
    [problem] = look("diskimages: [{name: a, elements: [vm]}, {name: placeholder, elements: []}]").problems
    assert (problem.severity, problem.what, problem.key) == (
        Severity.WARNING,
        "the image is never built",
        "diskimages[0].name",
    )
    assert look("diskimages: [{name: a, elements: [vm], formats: [raw]}]").problems == ()


def test_one_defect_in_a_list_shared_by_alias_is_one_line(look):
    text = """
        labels: [{name: small}]
        diskimages: [{name: deb}]
        providers:
          - name: p
            cloud: north
            diskimages: [{name: deb}]
            pools: [{name: main, labels: &labels [{name: small, diskimage: deb, min-ram: x}]}]
          - name: q
            cloud: north
            diskimages: [{name: deb}]
            pools: [{name: main, labels: *labels}]
        """
    [problem] = look(text).problems
    assert problem.hint == "the same at 1 more places by alias"
