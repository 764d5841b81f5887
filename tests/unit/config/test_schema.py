"""The shape of every section: what is accepted, what is refused, and how that is said."""

from __future__ import annotations

import pytest

from poolmgr.config.problem import Severity

PROVIDER = """
providers:
  - name: p
    cloud: north
    {provider}
    cloud-images:
      - name: ci
        {image}
    diskimages:
      - name: di
        {upload}
    pools:
      - name: main
        {pool}
        labels:
          - name: l
            cloud-image: ci
            flavor-name: f
            {label}
labels:
  - name: l
    {top_label}
diskimages:
  - name: di
    {diskimage}
tenant-resource-limits:
  - tenant-name: t
    {tenant}
webapp:
  port: 1
  {webapp}
{top}
"""
STATIC = """
labels: [{{name: l}}]
providers:
  - name: s
    driver: static
    {static}
    pools:
      - name: main
        {static_pool}
        nodes:
          - name: n
            {node}
"""
NAMES = (
    "provider", "image", "upload", "pool", "label", "top_label", "diskimage", "tenant", "webapp", "top",
    "static", "static_pool", "node",
)  # fmt: skip


def text_with(section: str, line: str) -> str:
    """A correct file with `line` added to `section`."""
    lines = dict.fromkeys(NAMES, "# nothing") | {section: line}
    if section in ("static", "static_pool", "node"):
        lines["node"] += "" if "labels:" in lines["node"] else "\n            labels: l"
        return STATIC.format(**lines)
    return PROVIDER.format(**lines)


@pytest.mark.parametrize("section", NAMES)
def test_a_correct_file_has_no_findings(found, section):
    assert found(text_with(section, "# nothing")) == []


GOOD = [
    ("top", "elements-dir: /a:/b"),
    ("top", "images-dir: /a"),
    ("top", "build-log-dir: /a"),
    ("top", "build-log-retention: -1"),
    ("top", "zookeeper-timeout: 20"),  # the reference's validator insists on a float
    ("top", "zookeeper-timeout: 20.5"),
    ("top", "statsd-escape: true"),
    ("top", "clouds-files: [/etc/ci/clouds.yaml]"),
    ("top", "max-hold-age: -1"),
    ("top", "builder-webapp: {port: 0, listen_address: '::1'}"),
    ("top", "max-parallel-uploads: 0"),
    ("top", "upload-rate-limit: 20M"),
    ("top", "image-retry-max: 60"),
    ("top", "image-orphan-grace: 60"),
    ("top", "images-url: 'https://images.example.org/a/'"),
    ("webapp", "listen_address: '::'"),
    ("tenant", "max-servers: 1"),
    ("tenant", "max-cores: 1"),
    ("tenant", "max-ram: 1"),
    ("tenant", "max-volumes: 1"),
    ("tenant", "max-volume-gb: 1"),
    ("tenant", "L-1216C47A: 5"),
    ("top_label", "min-ready: 3"),
    ("top_label", "max-ready-age: 3600"),
    ("diskimage", "dib-cmd: 'sudo -E disk-image-create'"),
    ("diskimage", "elements: [a, b]"),
    ("diskimage", "env-vars: {A: '1', B: ''}"),
    ("diskimage", "formats: [qcow2]"),
    ("diskimage", "keep-formats: [qcow2]"),
    ("diskimage", "delete-after-upload: false"),
    ("diskimage", "rebuild-age: 1"),
    ("diskimage", "build-timeout: 1"),
    ("diskimage", "rebuild-cron: '30 2 * * MON-FRI'"),
    ("diskimage", "rebuild-cron: ''"),
    ("diskimage", "qemu-img-options: 'compat=1.1,preallocation=off'"),
    ("diskimage", "qemu-img-options: ''"),
    ("diskimage", "keep-builds: 1"),
    ("diskimage", "keep-uploads: 3"),
    ("diskimage", "validate: {label: l, command: 'true', timeout: 60, username: u}"),
    ("diskimage", "validate: false"),
    ("diskimage", "release: 9"),
    ("diskimage", "release: noble"),
    ("diskimage", "pause: true"),
    ("diskimage", "username: u"),
    ("diskimage", "python-path: /p"),
    ("diskimage", "shell-type: cmd"),  # works in the reference, whose validator refuses it
    ("diskimage", "metadata: {a: 1, b: true}"),
    ("provider", "driver: openstack"),
    ("provider", "region-name: one"),
    ("provider", "rate: 0.001"),
    ("provider", "rate: '0.25'"),
    ("provider", "rate: 0"),
    ("provider", "boot-timeout: 120"),
    ("provider", "launch-timeout: 600"),
    ("provider", "launch-retries: 1"),
    ("provider", "max-concurrency: 5"),
    ("provider", "max-concurrency: -1"),
    ("provider", "priority: -5"),
    ("provider", "image-upload-timeout: 21600"),
    ("provider", "image-name-format: 'x-{image_name}-{timestamp}-{upload_id}'"),
    ("provider", "post-upload-hook: /usr/bin/hook"),
    ("provider", "clean-floating-ips: true"),
    ("provider", "port-cleanup-interval: 0"),
    ("provider", "max-parallel-uploads: 4"),
    ("provider", "upload-rate-limit: 0"),
    ("upload", "pause: false"),
    ("upload", "meta: {hw_disk_bus: scsi, n: 1}"),
    ("upload", "config-drive: true"),
    ("upload", "connection-type: network_cli"),
    ("upload", "connection-port: 5986"),
    ("image", "image-id: 5cc0a4b6"),
    ("image", "image-name: Debian"),
    ("image", "config-drive: false"),
    ("image", "username: u"),
    ("image", "python-path: /p"),
    ("image", "shell-type: powershell"),
    ("image", "connection-type: winrm"),
    ("image", "connection-port: 1"),
    ("pool", "max-servers: 0"),
    ("pool", "max-servers: -1"),
    ("pool", "max-cores: 10"),
    ("pool", "max-ram: 10"),
    ("pool", "max-volumes: 10"),
    ("pool", "max-volume-gb: 10"),
    ("pool", "priority: 1"),
    ("pool", "node-attributes: {a: [1, {b: c}]}"),
    ("pool", "ignore-provider-quota: true"),
    ("pool", "availability-zones: [a]"),
    ("pool", "networks: [a, b]"),
    ("pool", "security-groups: [a]"),
    ("pool", "auto-floating-ip: false"),
    ("pool", "host-key-checking: false"),
    ("label", "min-ram: 8000"),
    ("label", "key-name: k"),
    ("label", "console-log: true"),
    ("label", "boot-from-volume: true"),
    ("label", "volume-size: 80"),
    ("label", "instance-properties: {a: b}"),
    ("label", "dynamic-instance-properties: {a: '{request.requestor_data[x]} {request.id}'}"),
    ("label", "userdata: x"),
    ("label", "networks: [a]"),
    ("label", "host-key-checking: false"),
    ("static", "max-concurrency: 1"),
    ("static", "priority: 1"),
    ("static_pool", "max-servers: 1"),
    ("static_pool", "priority: 1"),
    ("static_pool", "node-attributes: {a: b}"),
    ("node", "username: u"),
    ("node", "timeout: 13"),
    ("node", "host-key-checking: false"),
    ("node", "host-key: ssh-ed25519 A"),
    ("node", "host-key: [ssh-ed25519 A, ssh-rsa B]"),
    ("node", "connection-port: 5986"),
    ("node", "connection-type: network_cli"),
    ("node", "shell-type: cmd"),
    ("node", "max-parallel-jobs: 3"),
    ("node", "python-path: auto"),
    ("node", "labels: [l, l]"),
]


@pytest.mark.parametrize(("section", "line"), GOOD)
def test_every_key_of_the_reference_is_known(found, section, line):
    assert found(text_with(section, line), strict=True) == []


BAD = [
    ("top", "elements-dir: 1", "elements-dir", "1", "a text"),
    ("top", "build-log-retention: many", "build-log-retention", "'many'", "a whole number"),
    ("top", "zookeeper-timeout: 0", "zookeeper-timeout", "0", "seconds, more than 0"),
    ("top", "zookeeper-timeout: '10'", "zookeeper-timeout", "'10'", "seconds, more than 0"),
    ("top", "zookeeper-timeout: .inf", "zookeeper-timeout", "inf", "seconds, more than 0"),
    ("top", "max-hold-age: 1.5", "max-hold-age", "1.5", "a whole number (seconds)"),
    ("top", "builder-webapp: {port: x}", "builder-webapp.port", "'x'", "a whole number (port)"),
    ("top", "max-parallel-uploads: -1", "max-parallel-uploads", "-1", "a whole number (uploads), 0 or more"),
    ("top", "upload-rate-limit: -1", "upload-rate-limit", "-1", "bytes per second, 0 or more"),
    ("top", "upload-rate-limit: fast", "upload-rate-limit", "'fast'", "with K, M, G or T (powers of 1024)"),
    ("top", "upload-rate-limit: true", "upload-rate-limit", "True", "bytes per second"),
    ("top", "upload-rate-limit: .inf", "upload-rate-limit", "inf", "bytes per second"),
    ("top", "image-retry-max: soon", "image-retry-max", "'soon'", "a whole number (seconds)"),
    ("top", "image-orphan-grace: -1", "image-orphan-grace", "-1", "a whole number (seconds)"),
    ("top", "images-url: /images", "images-url", "'/images'", "begins with http:// or https://"),
    ("top", "images-url: 'http://h/?a=b'", "images-url", "'http://h/?a=b'", "a URL"),
    ("webapp", "listen_address: 1", "webapp.listen_address", "1", "a text"),
    ("tenant", "max-ram: x", "tenant-resource-limits[0].max-ram", "'x'", "a whole number"),
    ("tenant", "L-1216C47A: x", "tenant-resource-limits[0].L-1216C47A", "'x'", "a whole number"),
    ("top_label", "min-ready: '1'", "labels[0].min-ready", "'1'", "a whole number"),
    ("top_label", "max-ready-age: -1", "labels[0].max-ready-age", "-1", "a whole number (seconds), 0 or more"),
    ("diskimage", "elements: a", "diskimages[0].elements", "'a'", "a list of texts"),
    ("diskimage", "elements: [a, 1]", "diskimages[0].elements[1]", "1", "a list of texts"),
    ("diskimage", "release: 22.04", "diskimages[0].release", "22.04", "a text or a whole number"),
    ("diskimage", "release: 2024-01-01", "diskimages[0].release", "datetime", "a text or a whole number"),
    ("diskimage", "dib-cmd: \"a 'b\"", "diskimages[0].dib-cmd", '"a \'b"', "a command line"),
    ("diskimage", "release: [9]", "diskimages[0].release", "a list", "a text or a whole number"),
    ("diskimage", "dib-cmd: 1", "diskimages[0].dib-cmd", "1", "a command line"),
    ("diskimage", "dib-cmd: ' '", "diskimages[0].dib-cmd", "' '", "a command line"),
    ("diskimage", "rebuild-cron: 2", "diskimages[0].rebuild-cron", "2", "five fields in UTC"),
    ("diskimage", "qemu-img-options: [a]", "diskimages[0].qemu-img-options", "a list", "options of qemu-img"),
    ("diskimage", "keep-builds: 0", "diskimages[0].keep-builds", "0", "a whole number, 1 or more"),
    ("diskimage", "keep-uploads: true", "diskimages[0].keep-uploads", "True", "a whole number, 1 or more"),
    ("diskimage", "validate: yes", "diskimages[0].validate", "True", "a mapping with the keys label, command"),
    ("provider", "max-parallel-uploads: 0", "providers[0].max-parallel-uploads", "0", "1 or more"),
    ("diskimage", "pause: 'no'", "diskimages[0].pause", "'no'", "true or false"),
    ("diskimage", "metadata: [a]", "diskimages[0].metadata", "a list", "a mapping"),
    ("provider", "rate: fast", "providers[0].rate", "'fast'", "seconds between API calls"),
    ("provider", "rate: [1]", "providers[0].rate", "a list", "seconds between API calls"),
    ("provider", "image-name-format: 1", "providers[0].image-name-format", "1", "a text"),
    ("provider", "image-name-format: ''", "providers[0].image-name-format", "''", "a text"),
    ("pool", "networks: [1]", "providers[0].pools[0].networks[0]", "1", "a list of names"),
    ("provider", "rate: -1", "providers[0].rate", "-1", "seconds between API calls, 0 or more"),
    ("provider", "rate: nan", "providers[0].rate", "'nan'", "seconds between API calls"),
    ("provider", "boot-timeout: -1", "providers[0].boot-timeout", "-1", "0 or more"),
    ("provider", "launch-retries: lots", "providers[0].launch-retries", "'lots'", "a whole number (attempts)"),
    ("provider", "image-name-format: '{name}'", "providers[0].image-name-format", "'{name}'", "{image_name}"),
    ("provider", "image-name-format: '{'", "providers[0].image-name-format", "'{'", "{image_name}"),
    ("provider", "clean-floating-ips: 1", "providers[0].clean-floating-ips", "1", "true or false"),
    ("provider", "region-name:", "providers[0].region-name", "nothing (null)", "a text"),
    ("upload", "meta: hw", "providers[0].diskimages[0].meta", "'hw'", "a mapping"),
    ("upload", "connection-port: 0", "providers[0].diskimages[0].connection-port", "0", "from 1 to 65535"),
    ("image", "image-id: ''", "providers[0].cloud-images[0].image-id", "''", "a text that is not empty"),
    ("pool", "max-servers: '10'", "providers[0].pools[0].max-servers", "'10'", "a whole number"),
    ("pool", "max-servers:", "providers[0].pools[0].max-servers", "nothing (null)", "a whole number"),
    ("pool", "availability-zones: a", "providers[0].pools[0].availability-zones", "'a'", "a list of texts"),
    ("pool", "networks: public", "providers[0].pools[0].networks", "'public'", "a list of names"),
    ("label", "min-ram: abc", "providers[0].pools[0].labels[0].min-ram", "'abc'", "(MiB), 0 or more"),
    ("label", "console-log: 0", "providers[0].pools[0].labels[0].console-log", "0", "true or false"),
    ("label", "key-name: 123", "providers[0].pools[0].labels[0].key-name", "123", "a text"),
    ("node", "labels: {a: b}", "providers[0].pools[0].nodes[0].labels", "a mapping", "a label, or a list"),
    ("node", "timeout: soon", "providers[0].pools[0].nodes[0].timeout", "'soon'", "a whole number (seconds)"),
    ("node", "host-key: [1]", "providers[0].pools[0].nodes[0].host-key", "a list", "a host key, or a list"),
]  # fmt: skip


@pytest.mark.parametrize(("section", "line", "path", "value", "allowed"), BAD)
def test_a_wrong_value_is_named_with_place_path_value_and_what_is_allowed(
    look, tmp_path, section, line, path, value, allowed
):
    text = text_with(section, line)
    [problem] = look(text).problems
    number = 1 + text.lstrip("\n")[: text.lstrip("\n").index(line)].count("\n")
    assert (problem.severity, problem.file) == (Severity.ERROR, str(tmp_path / "m.yaml"))
    assert (problem.line, problem.key) == (number, path)
    assert value in problem.found
    assert allowed in problem.allowed


@pytest.mark.parametrize(
    ("section", "line", "hint"),
    [
        ("diskimage", "release: 22.04", "quote it to have a text"),
        ("diskimage", "username: yes", "YAML reads yes, no, on, off, true, false as booleans"),
        ("diskimage", "env-vars: {on: x}", "the key itself is no text"),
        ("pool", "max-servers: '10'", "write a number without quotes"),
        ("pool", "networks: [{name: ci}]", "networks are texts now: write '- ci'"),
        ("pool", "networks: [{net-id: 17a3, public: true}]", "networks are texts now: write '- 17a3'"),
        ("pool", "networks: [{net-label: x}]", "write '- x'"),
        ("label", "networks: [{public: true}]", "networks are texts"),
        ("diskimage", 'dib-cmd: "a \'b"', "no closing quotation"),
        ("provider", "image-name-format: '{'", "a brace itself is written {{ or }}"),
        ("diskimage", "rebuild-cron: '0 2 * *'", "4 fields instead of 5"),
        ("diskimage", "rebuild-cron: '0 0 2 * * *'", "6 fields instead of 5"),
        ("diskimage", "rebuild-cron: '@daily'", "1 fields instead of 5"),
        ("diskimage", "rebuild-cron: '0 25 * * *'", "bad hour ('25')"),
        ("diskimage", "rebuild-cron: '61 2 * * *'", "bad minute ('61')"),
        ("diskimage", "rebuild-cron: '0 2 * * FUN'", "bad day-of-week ('FUN')"),
        ("diskimage", "rebuild-cron: '0 2 30 2 *'", "bad day-of-month ('30')"),
        ("diskimage", "keep-builds: 0", "the newest always stays"),
        ("diskimage", "qemu-img-options: 'a=b c=d'", "separated by commas"),
        ("provider", "max-parallel-uploads: 0", "'pause: true' of the provider's disk images stops uploads"),
        ("provider", "upload-rate-limit: 20Mbit/s", "write bytes, not bits"),
        ("provider", "upload-rate-limit: 20Mb", "write bytes, not bits"),
    ],
)
def test_a_hint_says_how_to_put_it_right(look, section, line, hint):
    [problem] = look(text_with(section, line)).problems
    assert hint in problem.hint


@pytest.mark.parametrize(
    ("section", "line", "severity", "path", "hint"),
    [
        ("label", "min-ran: 1", Severity.WARNING, "providers[0].pools[0].labels[0].min-ran", "'min-ram'"),
        ("pool", "max_servers: 1", Severity.WARNING, "providers[0].pools[0].max_servers", "'max-servers'"),
        ("top", "label: []", Severity.WARNING, "label", "'labels'"),
        ("top", "zookeeper-severs: []", Severity.WARNING, "zookeeper-severs", "'zookeeper-servers'"),
        ("diskimage", "meta: {a: b}", Severity.WARNING, "diskimages[0].meta", "it is 'metadata' here"),
        (
            "upload",
            "metadata: {a: b}",
            Severity.WARNING,
            "providers[0].diskimages[0].metadata",
            "it is 'meta'",
        ),
        (
            "upload",
            "username: x",
            Severity.WARNING,
            "providers[0].diskimages[0].username",
            "top-level disk image",
        ),
        ("pool", "use-internal-ip: true", Severity.WARNING, "providers[0].pools[0].use-internal-ip", ""),
        ("node", "port: 22", Severity.WARNING, "providers[0].pools[0].nodes[0].port", ""),
        ("webapp", "listen-address: x", Severity.WARNING, "webapp.listen-address", "'listen_address'"),
        ("top_label", "1: x", Severity.WARNING, "labels[0][1]", ""),
    ],
)
def test_an_unknown_key_is_a_warning_with_the_nearest_known_one_and_an_error_when_strict(
    look, section, line, severity, path, hint
):
    [problem] = look(text_with(section, line)).problems
    assert (problem.severity, problem.what, problem.key) == (severity, "unknown key", path)
    assert hint in problem.hint
    assert problem.allowed
    [problem] = look(text_with(section, line), strict=True).problems
    assert problem.severity is Severity.ERROR


@pytest.mark.parametrize(
    ("section", "line", "path"),
    [
        ("diskimage", "elements:", "diskimages[0].elements"),
        ("diskimage", "env-vars:", "diskimages[0].env-vars"),
        ("diskimage", "rebuild-cron:", "diskimages[0].rebuild-cron"),
        ("diskimage", "qemu-img-options:", "diskimages[0].qemu-img-options"),
        ("diskimage", "validate:", "diskimages[0].validate"),
        ("top", "builder-webapp:", "builder-webapp"),
        ("upload", "meta: null", "providers[0].diskimages[0].meta"),
        ("pool", "networks: ~", "providers[0].pools[0].networks"),
        ("pool", "availability-zones:", "providers[0].pools[0].availability-zones"),
        ("pool", "node-attributes:", "providers[0].pools[0].node-attributes"),
        ("label", "instance-properties:", "providers[0].pools[0].labels[0].instance-properties"),
        ("node", "host-key:", "providers[0].pools[0].nodes[0].host-key"),
    ],
)
def test_null_for_a_list_or_mapping_is_empty_with_a_warning(look, section, line, path):
    examined = look(text_with(section, line))
    [problem] = examined.problems
    assert (problem.severity, problem.key) == (Severity.WARNING, path)
    assert "counts as empty" in problem.what
    assert examined.settings is not None


@pytest.mark.parametrize("key", ["labels", "diskimages", "providers", "tenant-resource-limits", "webapp"])
def test_null_for_a_top_level_section_is_empty_with_a_warning(look, key):
    examined = look(f"{key}:\n")
    assert [p.what for p in examined.problems] == ["nothing (null) counts as empty here"]
    assert examined.settings is not None


def test_null_pools_and_nodes_are_empty(look):
    examined = look(
        "providers:\n  - {name: p, cloud: north, pools: }\n  - {name: s, driver: static, pools: }\n"
    )
    assert len(examined.problems) == 2
    assert examined.settings is not None


@pytest.mark.parametrize(
    ("text", "what", "path"),
    [
        ("labels: {a: b}", "not a list", "labels"),
        ("diskimages: [{name: a/b}]", "wrong value", "diskimages[0].name"),
        ("labels: [a]", "not a label", "labels[0]"),
        ("labels: [null]", "not a label", "labels[0]"),
        ("providers: [north]", "not a provider", "providers[0]"),
        ("providers: [{name: p, cloud: north, pools: [main]}]", "not a pool", "providers[0].pools[0]"),
        ("diskimages: [[]]", "not a disk image", "diskimages[0]"),
        ("webapp: 8005", "not a webapp section", "webapp"),
    ],
)
def test_the_wrong_kind_of_thing_is_said_to_be_so(look, text, what, path):
    [problem] = look(text).problems
    assert (problem.what, problem.key, problem.severity) == (what, path, Severity.ERROR)


@pytest.mark.parametrize(
    ("text", "what", "path"),
    [
        ("labels: [{min-ready: 1}]", "'name' is missing", "labels[0]"),
        ("providers: [{cloud: north}]", "'name' is missing", "providers[0]"),
        ("providers: [{name: p}]", "'cloud' is missing", "providers[0]"),
        ("providers: [{name: p, cloud: north, pools: [{}]}]", "'name' is missing", "providers[0].pools[0]"),
        ("diskimages: [{}]", "'name' is missing", "diskimages[0]"),
        ("tenant-resource-limits: [{max-servers: 1}]", "'tenant-name' is missing", "tenant-resource-limits[0]"),
        ("zookeeper-servers: [{port: 2281}]", "'host' is missing", "zookeeper-servers[0]"),
        ("providers: [{name: s, driver: static, pools: [{name: p, nodes: [{labels: []}]}]}]",
         "'name' is missing", "providers[0].pools[0].nodes[0]"),
        ("providers: [{name: s, driver: static, pools: [{name: p, nodes: [{name: n}]}]}]",
         "'labels' is missing", "providers[0].pools[0].nodes[0]"),
    ],
)  # fmt: skip
def test_a_required_key_that_is_missing_is_an_error(look, text, what, path):
    zookeeper = {"zookeeper": "\nzookeeper-plaintext: true"} if "zookeeper" in text else {}
    problem = next(p for p in look(text, **zookeeper).problems if p.severity is Severity.ERROR)
    assert (problem.what, problem.key) == (what, path)


@pytest.mark.parametrize(
    ("label", "what"),
    [
        ("{name: l, flavor-name: f}", "the label has no image"),
        ("{name: l, flavor-name: f, diskimage: di, cloud-image: ci}", "both 'diskimage' and 'cloud-image'"),
        ("{name: l, cloud-image: ci}", "the label has no flavor"),
    ],
)
def test_a_pool_label_has_one_image_and_some_flavor(look, label, what):
    text = f"""
        labels: [{{name: l}}]
        diskimages: [{{name: di}}]
        providers:
          - name: p
            cloud: north
            diskimages: [{{name: di}}]
            cloud-images: [{{name: ci}}]
            pools: [{{name: main, labels: [{label}]}}]
        """
    [problem] = look(text).problems
    assert what in problem.what
    assert problem.severity is Severity.ERROR


def test_an_image_is_named_by_id_or_by_name_not_both(look):
    [problem] = look(text_with("image", "image-id: x\n        image-name: y")).problems
    assert (problem.what, problem.severity) == ("both 'image-id' and 'image-name' are given", Severity.ERROR)


@pytest.mark.parametrize("driver", ["aws", "azure", "gce", "ibmvpc", "kubernetes", "metastatic", "openshift"])
def test_a_driver_of_the_reference_that_poolmgr_has_not_is_named(look, driver):
    [problem] = look(f"providers: [{{name: p, driver: {driver}, region: x}}]").problems
    assert (problem.what, problem.key, problem.allowed) == (
        "unknown driver",
        "providers[0].driver",
        "openstack, static",
    )
    assert driver in problem.hint


@pytest.mark.parametrize(
    ("driver", "hint"), [("openstak", "'openstack'"), ("bogus", ""), ("[a]", ""), ("7", "")]
)
def test_an_unknown_driver_is_an_error(look, driver, hint):
    [problem] = look(f"providers: [{{name: p, driver: {driver}}}]").problems
    assert problem.what == "unknown driver"
    assert hint in problem.hint


def test_a_provider_called_fake_is_a_provider_like_others(look):
    examined = look("providers: [{name: fake-cloud, cloud: north}]")
    assert examined.problems == ()
    assert examined.settings.providers["fake-cloud"].cloud == "north"


@pytest.mark.parametrize(
    ("section", "line", "what"),
    [
        ("provider", "max-concurrency: 0", "accepts no request"),
        ("provider", "launch-retries: 0", "0 counts as 1"),
        ("static", "max-concurrency: 0", "accepts no request"),
        ("node", "connection-type: winrm", "the port is 22, as for every static node"),
        ("top_label", "min-ready: -1", "below 0 acts as 0"),
        ("diskimage", "rebuild-age: 0", "0 counts as not given"),
        ("diskimage", "build-timeout: 0", "0 counts as not given"),
        ("pool", "max-servers: true", "a boolean where a number belongs"),
        ("label", "dynamic-instance-properties: {a: '{request.nothing}'}", "no field {request.nothing}"),
        ("label", "dynamic-instance-properties: {a: '{node.id}'}", "no field {node.id}"),
        ("label", "dynamic-instance-properties: {a: '{'}", "will be left out"),
        ("node", "labels: 'l l2'", "read as 2 labels"),
    ],
)
def test_what_works_otherwise_than_one_may_think_is_a_warning(look, section, line, what):
    text = text_with(section, line).replace("labels: [{name: l}]", "labels: [{name: l}, {name: l2}]")
    problem = next(p for p in look(text, strict=True).problems if "offers" not in p.what)
    assert what in problem.what
    assert problem.severity is Severity.WARNING


def test_all_errors_are_reported_at_once(look):
    text = """
        labels: [{name: l, min-ready: x}, {}]
        diskimages: [{name: di, pause: 1, elements: [1, 2]}]
        providers:
          - name: p
            cloud: nowhere
            pools:
              - name: a
                max-servers: x
                labels: [{name: l, diskimage: di, min-ram: x}, {name: none, diskimage: none, flavor-name: f}]
              - name: b
                max-cores: x
          - name: q
            rate: x
        """
    errors = [p.key for p in look(text).problems if p.severity is Severity.ERROR]
    assert errors == [
        "labels[0].min-ready",
        "labels[1]",
        "diskimages[0].pause",
        "diskimages[0].elements[0]",
        "diskimages[0].elements[1]",
        "providers[0].cloud",
        "providers[0].pools[0].max-servers",
        "providers[0].pools[0].labels[0].min-ram",
        "providers[0].pools[0].labels[1].name",
        "providers[0].pools[0].labels[1].diskimage",
        "providers[0].pools[1].max-cores",
        "providers[1]",
        "providers[1].rate",
    ]


def test_the_line_of_a_finding_is_complete(found):
    [line] = found(text_with("label", "min-ram: abc"))
    assert line == (
        "m.yaml:18:22: error: providers[0].pools[0].labels[0].min-ram: wrong value; found 'abc'; "
        "allowed: a whole number (MiB), 0 or more (in provider p, pool main, label l)"
    )


@pytest.mark.parametrize(
    "line", ["env-vars: {TOKEN: 8675309}", "env-vars: {TOKEN: [hunter2]}", "env-vars: hunter2"]
)
def test_values_of_the_environment_of_a_build_are_never_shown(found, line):
    [text] = found(text_with("diskimage", line))
    assert "8675309" not in text
    assert "hunter2" not in text


def test_values_out_of_our_own_environment_are_never_shown(found):
    [text] = found(text_with("pool", "max-servers: %(NODEPOOL_X)"), environ={"NODEPOOL_X": "hunter2"})
    assert "hunter2" not in text
    assert "found a text" in text
