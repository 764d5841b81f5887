"""The keys about images that are ours: what they mean, how they are inherited, and what is said about them."""

from __future__ import annotations

import pytest

from poolmgr.config.problem import Severity
from poolmgr.config.settings import ImageBuild, Validation, WebApp
from poolmgr.policy.image_tuning import ImageTuning

CHAIN = """
labels: [{{name: small}}]
diskimages:
  - {{name: leaf, parent: root, {leaf}}}
  - {{name: root, abstract: true, {root}}}
providers:
  - name: north
    cloud: north
    diskimages: [{{name: leaf}}]
    pools: [{{name: main, labels: [{{name: small, diskimage: leaf, flavor-name: f}}]}}]
"""


def leaf_of(look, root, leaf):
    return look(CHAIN.format(root=root, leaf=leaf)).settings.diskimages["leaf"].build


TRIED = Validation(label="small", command="true")


@pytest.mark.parametrize(
    ("root", "leaf", "field", "value"),
    [
        ("", "", "rebuild_cron", None),
        ("rebuild-cron: '0 2 * * *'", "", "rebuild_cron", "0 2 * * *"),
        ("rebuild-cron: '0 2 * * *'", "rebuild-cron: ' 0  3 * * * '", "rebuild_cron", "0 3 * * *"),
        ("rebuild-cron: '0 2 * * *'", "rebuild-cron: ''", "rebuild_cron", None),
        ("rebuild-cron: '0 2 * * *'", "rebuild-cron: null", "rebuild_cron", None),
        ("", "", "rebuild_age", 86400),
        ("rebuild-cron: '0 2 * * *'", "", "rebuild_age", 0),  # it alone says when
        ("rebuild-cron: '0 2 * * *'", "rebuild-age: 50", "rebuild_age", 50),
        ("rebuild-age: 50", "rebuild-cron: '0 2 * * *'", "rebuild_age", 50),
        ("", "", "qemu_img_options", "compat=0.10"),
        ("qemu-img-options: compat=1.1", "", "qemu_img_options", "compat=1.1"),
        ("qemu-img-options: compat=1.1", "qemu-img-options: ''", "qemu_img_options", ""),
        ("", "", "keep_builds", 2),
        ("keep-builds: 5", "", "keep_builds", 5),
        ("keep-builds: 5", "keep-builds: 1", "keep_builds", 1),
        ("keep-uploads: 5", "", "keep_uploads", 5),
        ("keep-uploads: 5", "keep-uploads: 2", "keep_uploads", 2),
        ("", "", "validate", None),
        ("validate: {label: small, command: 'true'}", "", "validate", TRIED),
        ("validate: {label: small, command: 'true'}", "validate: false", "validate", None),
        ("validate: {label: small, command: x, timeout: 5}", "validate: {label: small, command: 'true'}",
         "validate", TRIED),  # as a whole
        ("", "validate: {label: small, command: x, timeout: 5, username: u}", "validate",
         Validation(label="small", command="x", timeout=5, username="u")),
        ("", "validate: {label: small, command: 'true', timeout: 0}", "validate", TRIED),
    ],
)  # fmt: skip
def test_what_an_image_gets_from_its_parents(look, root, leaf, field, value):
    assert getattr(leaf_of(look, root, leaf), field) == value


def test_nothing_given_is_the_default_of_the_record(look):
    assert leaf_of(look, "", "") == ImageBuild()


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("0", 0),
        ("1000", 1000),
        ("1000.5", 1000.5),
        ("'2000'", 2000),
        ("20M", 20 * 1024**2),
        ("1.5G", 1.5 * 1024**3),
        ("1.5 GiB/s", 1.5 * 1024**3),
        ("64k", 64 * 1024),
        ("500kB/s", 500_000),
        ("20MB", 20_000_000),
        ("1T", 1024**4),
        ("100B", 100),
    ],
)
def test_a_rate_is_bytes_per_second(look, text, rate):
    assert look(f"upload-rate-limit: {text}").settings.upload_rate_limit == rate


@pytest.mark.parametrize("text", ["20 bananas", "M", "1e", "-5M", "''"])
def test_what_is_no_rate_is_refused(look, text):
    assert look(f"upload-rate-limit: {text}").settings is None


def test_the_keys_of_builders_arrive(look):
    settings = look("""
        builder-webapp: {listen_address: 127.0.0.1}
        max-parallel-uploads: 6
        upload-rate-limit: 100
        image-retry-max: 60
        image-orphan-grace: 70
        images-url: https://images.example.org/ci/
    """).settings
    assert settings.builder_webapp == WebApp(port=ImageTuning().web_port, listen_address="127.0.0.1")
    assert (settings.max_parallel_uploads, settings.upload_rate_limit) == (6, 100)
    assert (settings.image_retry_max, settings.image_orphan_grace) == (60, 70)
    assert settings.images_url == "https://images.example.org/ci"


@pytest.mark.parametrize(
    ("text", "key", "what", "field", "value"),
    [
        ("image-retry-max: 0", "image-retry-max", "0 counts as not given", "image_retry_max", 3600),
        ("image-orphan-grace: 0", "image-orphan-grace", "files without a record go at once",
         "image_orphan_grace", 0),
        ("build-log-retention: 0", "build-log-retention", "0 counts as 1", "build_log_retention", 0),
    ],
)  # fmt: skip
def test_a_zero_that_is_not_what_one_may_think_is_a_warning(look, text, key, what, field, value):
    examined = look(text)
    [problem] = examined.problems
    assert (problem.severity, problem.key, problem.what) == (Severity.WARNING, key, what)
    assert getattr(examined.settings, field) == value


def test_a_format_that_nobody_makes_is_a_warning(look):
    [problem] = look("diskimages: [{name: a, formats: [raw, qcow]}]").problems
    assert (problem.severity, problem.key) == (Severity.WARNING, "diskimages[0].formats[1]")
    assert problem.what == "diskimage-builder makes no such format"
    assert problem.hint == "did you mean 'qcow2'?"


@pytest.mark.parametrize(
    ("validate", "what"),
    [
        ("{label: small}", "there is nothing to try"),
        ("{label: small, command: 'true', script: /etc/passwd}", "both 'command' and 'script' are given"),
        ("{command: 'true'}", "'label' is missing"),
        ("{label: small, command: ''}", "wrong value"),
        ("{label: small, command: [a]}", "wrong value"),
    ],
)
def test_a_validation_that_cannot_work_is_an_error_with_the_remedy(look, validate, what):
    [problem] = look(CHAIN.format(root="", leaf=f"validate: {validate}")).problems
    assert (problem.severity, problem.what) == (Severity.ERROR, what)
    assert problem.line == 3
    assert problem.allowed


@pytest.mark.parametrize("key", ["script", "private-key"])
def test_a_file_of_a_validation_that_is_not_here_is_a_warning(look, tmp_path, key):
    command = "command: 'true', " if key == "private-key" else ""
    text = CHAIN.format(root="", leaf=f"validate: {{label: small, {command}{key}: {tmp_path}/try.sh}}")
    examined = look(text)
    [problem] = examined.problems
    assert (problem.severity, problem.key) == (Severity.WARNING, f"diskimages[0].validate.{key}")
    assert problem.what == "there is no such file to read here"
    assert getattr(examined.settings.diskimages["leaf"].build.validate, key.replace("-", "_"))
    (tmp_path / "try.sh").write_text("true\n")
    assert look(text).problems == ()


@pytest.mark.parametrize(
    ("old", "new", "allowed", "hint"),
    [
        ("label: small", "label: smal", "small", "did you mean 'small'?"),
        ("label: small", "label: huge", "small", "add the label to a pool of the provider"),
        ("labels: [{name: small, diskimage: leaf, flavor-name: f}]", "priority: 5", "none: the provider has no",
         "add the label to a pool"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("where", ["root", "leaf"])
def test_a_validation_with_a_label_that_a_provider_lacks_is_a_warning(look, where, old, new, allowed, hint):
    keys = {"root": "", "leaf": "", where: "validate: {label: small, command: 'true'}"}
    text = CHAIN.format(**keys)
    assert look(text).problems == ()
    [problem] = [p for p in look(text.replace(old, new)).problems if "pool of provider" in p.what]
    assert problem.severity is Severity.WARNING
    assert problem.key == f"diskimages[{0 if where == 'leaf' else 1}].validate.label"
    assert problem.what == "no pool of provider north has the label, so uploads of leaf cannot be tried there"
    assert allowed in problem.allowed
    assert hint in problem.hint
    assert look(text.replace(old, new), strict=True).settings is None


def test_a_validation_of_an_image_that_nobody_lists_needs_no_label(look):
    text = CHAIN.format(root="", leaf="validate: {label: huge, command: 'true'}")
    text = text.replace("diskimages: [{name: leaf}]", "# nothing")
    assert "validate" not in " ".join(p.key for p in look(text).problems)


def test_a_builder_needs_a_directory_for_images(look):
    text = "diskimages: [{name: deb, elements: [vm], formats: [raw]}]"
    assert look(text).problems == ()
    [problem] = look(text, builder=True).problems
    assert (problem.severity, problem.what) == (Severity.ERROR, "'images-dir' is missing")
    assert "images-dir: /opt" in problem.hint
    assert look(text + "\nimages-dir: /images", builder=True).problems == ()


BUILT = "images-dir: /images\ndiskimages: [{{name: base, abstract: true, {base}}}, {{name: deb, parent: base, {deb}}}]"


@pytest.mark.parametrize(
    ("base", "deb", "warned"),
    [
        ("", "formats: [raw]", True),
        ("", "", False),  # a placeholder: others build it
        ("elements: [vm]", "formats: [raw]", False),
        ("dib-cmd: /opt/make-image", "formats: [raw]", False),  # may need no elements
        ("dib-cmd: sudo -E disk-image-create", "formats: [raw]", True),
    ],
)
def test_a_builder_is_told_about_images_without_elements(look, base, deb, warned):
    text = BUILT.format(base=base, deb=deb)
    whats = [p.what for p in look(text, builder=True).problems]
    assert whats == (["there is nothing to build the image from"] if warned else [])
    assert look(text).problems == ()


def test_a_builder_without_images_is_told_so(look):
    [problem] = look("images-dir: /images", builder=True).problems
    assert (problem.severity, problem.what) == (Severity.WARNING, "the file has no disk images")
