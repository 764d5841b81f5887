from __future__ import annotations

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poolmgr.config import settings as records
from poolmgr.config.load import load
from poolmgr.config.schema import MAIN
from poolmgr.errors import ConfigError

FULL = """
webapp: {port: 8006, listen_address: 127.0.0.1}
elements-dir: /e
images-dir: /i
build-log-dir: /l
build-log-retention: 3
statsd-escape: true
clouds-files: [/c, /d]
max-hold-age: 100
tenant-resource-limits: [{tenant-name: t, max-servers: 1, max-cores: 2, max-ram: 3, max-volumes: 4, max-volume-gb: 5,
                          L-1: 6}]
labels: [{name: small, min-ready: 2, max-ready-age: 60}, {name: win}, {name: named}, {name: by-id}, {name: board}]
diskimages: [{name: deb, username: u, python-path: /p, shell-type: sh, metadata: {a: b}, pause: true}]
providers:
  - name: p
    cloud: north
    region-name: one
    rate: '0.25'
    boot-timeout: 1
    launch-timeout: 2
    launch-retries: 3
    max-concurrency: 4
    priority: 50
    image-upload-timeout: 5
    image-name-format: x
    post-upload-hook: /hook
    clean-floating-ips: true
    port-cleanup-interval: 6
    max-parallel-uploads: 3
    upload-rate-limit: 1M
    diskimages: [{name: deb, pause: true, meta: {m: 1}, config-drive: true, connection-type: winrm}]
    cloud-images:
      - {name: w, connection-type: winrm, image-name: Windows, username: adm, python-path: /x, shell-type: cmd}
      - {name: plain, config-drive: false, connection-port: 2222}
      - {name: i, image-id: abc}
    pools:
      - name: main
        max-servers: 1
        max-cores: 2
        max-ram: 3
        max-volumes: 4
        max-volume-gb: 5
        node-attributes: {n: m}
        ignore-provider-quota: true
        availability-zones: [z]
        networks: [net]
        security-groups: [sg]
        auto-floating-ip: false
        host-key-checking: false
        labels:
          - {name: small, diskimage: deb, min-ram: 8, flavor-name: f, key-name: k, console-log: true,
             boot-from-volume: true, volume-size: 9, instance-properties: {a: b},
             dynamic-instance-properties: {c: '{request.id}'}, userdata: ud, networks: [], host-key-checking: true}
          - {name: win, cloud-image: w, min-ram: 8}
      - name: second
        priority: 10
        labels:
          - {name: named, cloud-image: plain, flavor-name: f}
          - {name: by-id, cloud-image: i, flavor-name: f}
  - name: s
    driver: static
    priority: 7
    max-concurrency: 3
    pools:
      - name: lab
        max-servers: 2
        node-attributes: {rack: r1}
        nodes:
          - {name: h, labels: board}
          - {name: h, labels: [board, win], username: u, timeout: 9, host-key-checking: false, host-key: [k1, k2],
             connection-port: 1, connection-type: network_cli, shell-type: sh, max-parallel-jobs: 3, python-path: /p}
"""


def test_every_key_arrives_in_the_settings(look):
    full = look(FULL).settings
    assert full.webapp == records.WebApp(port=8006, listen_address="127.0.0.1")
    assert (full.elements_dir, full.images_dir, full.build_log_dir, full.build_log_retention) == (
        "/e",
        "/i",
        "/l",
        3,
    )
    assert (full.statsd_escape, full.max_hold_age, full.clouds_files) == (True, 100, ("/c", "/d"))
    limits = {"instances": 1, "cores": 2, "ram": 3, "volumes": 4, "volume-gb": 5}
    assert full.tenants == {"t": records.TenantLimits(name="t", limits={**limits, "L-1": 6})}
    assert full.labels["small"] == records.Label(name="small", min_ready=2, max_ready_age=60)
    image = full.diskimages["deb"]
    assert (image.username, image.python_path, image.shell_type) == ("u", "/p", "sh")
    assert (image.metadata, image.pause) == ({"a": "b"}, True)
    provider = full.providers["p"]
    pool = provider.pools["main"]
    assert pool == records.Pool(
        name="main", limits=limits, priority=50, node_attributes={"n": "m"}, ignore_provider_quota=True,
        availability_zones=("z",), security_groups=("sg",), auto_floating_ip=False, labels=pool.labels,
    )  # fmt: skip
    assert provider == records.OpenStackProvider(
        name="p", cloud="north", region_name="one", rate=0.25, boot_timeout=1, launch_timeout=2, launch_retries=3,
        max_concurrency=4, priority=50, image_upload_timeout=5, image_name_format="x", post_upload_hook="/hook",
        clean_floating_ips=True, port_cleanup_interval=6, max_parallel_uploads=3, upload_rate_limit=1024 * 1024,
        pools=provider.pools, diskimages={"deb": records.ProviderImage(
            name="deb", pause=True, meta={"m": 1}, config_drive=True, connection_type="winrm", connection_port=5986,
        )},
    )  # fmt: skip
    assert provider.pools["second"].priority == 10


def test_every_key_of_a_pool_label_arrives(look):
    pools = look(FULL).settings.providers["p"].pools
    assert pools["main"].labels["small"] == records.PoolLabel(
        name="small",
        image=records.BootImage(
            name="deb", is_disk_image=True, config_drive=True, username="u", python_path="/p", shell_type="sh",
            connection_type="winrm", connection_port=5986,
        ),
        min_ram_mib=8, flavor_name="f", key_name="k", console_log=True, boot_from_volume=True, volume_gib=9,
        instance_properties={"a": "b"}, dynamic_instance_properties={"c": "{request.id}"}, userdata="ud",
        networks=(), host_key_checking=True,
    )  # fmt: skip
    win = pools["main"].labels["win"]
    assert win.image == records.BootImage(
        name="w", is_disk_image=False, image_name="Windows", username="adm", python_path="/x", shell_type="cmd",
        connection_type="winrm", connection_port=5986,
    )  # fmt: skip
    assert (win.networks, win.host_key_checking) == (("net",), False)  # of the pool
    assert pools["second"].labels["named"].image == records.BootImage(
        name="plain", is_disk_image=False, image_name="plain", config_drive=False, connection_port=2222
    )
    assert pools["second"].labels["by-id"].image == records.BootImage(
        name="i", is_disk_image=False, image_id="abc"
    )
    assert (pools["second"].labels["named"].networks, pools["second"].labels["named"].host_key_checking) == (
        (),
        True,
    )


def test_every_key_of_a_static_provider_arrives(look):
    provider = look(FULL).settings.providers["s"]
    assert provider == records.StaticProvider(name="s", priority=7, max_concurrency=3, pools=provider.pools)
    pool = provider.pools["lab"]
    assert (pool.limits, pool.priority, pool.node_attributes) == ({"instances": 2}, 7, {"rack": "r1"})
    assert (pool.labels, pool.disabled) == ({"board", "win"}, False)
    assert pool.nodes[0] == records.StaticNode(name="h", labels=("board",))
    assert pool.nodes[1] == records.StaticNode(
        name="h", labels=("board", "win"), username="u", timeout=9, host_key_checking=False, host_keys=("k1", "k2"),
        connection_port=1, connection_type="network_cli", shell_type="sh", max_parallel_jobs=3, python_path="/p",
    )  # fmt: skip


def test_what_is_left_out_has_the_defaults_of_the_records(look):
    empty = look("# nothing").settings
    assert empty == records.Settings(zookeeper=empty.zookeeper)
    text = "providers: [{name: p, cloud: north, pools: [{name: a}]}, {name: s, driver: static, pools: [{name: b}]}]"
    providers = look(text).settings.providers
    assert providers["p"] == records.OpenStackProvider(
        name="p", cloud="north", pools={"a": records.Pool(name="a")}
    )
    assert providers["s"] == records.StaticProvider(name="s", pools={"b": records.StaticPool(name="b")})


def test_launch_retries_of_0_are_one_attempt_and_a_negative_hold_age_is_no_limit(look):
    text = "max-hold-age: -5\nproviders: [{name: p, cloud: north, launch-retries: 0}]"
    examined = look(text).settings
    assert (examined.providers["p"].launch_retries, examined.max_hold_age) == (1, 0)


def test_the_same_file_gives_equal_settings_and_a_change_shows_where_it_is(look):
    one, two = look(FULL).settings, look(FULL + "# changed").settings
    assert one == two
    three = look(FULL.replace("max-servers: 2\n", "max-servers: 3\n")).settings
    assert three.providers["p"] == one.providers["p"]
    assert three.providers["s"] != one.providers["s"]


def write(tmp_path, text):
    path = tmp_path / "nodepool.yaml"
    path.write_text(text)
    return str(path)


def test_load_returns_settings_with_the_warnings(tmp_path):
    text = "zookeeper-servers: [{host: a}]\nzookeeper-plaintext: true\nlables: []\n"
    loaded = load(write(tmp_path, text), environ={})
    assert loaded.settings.zookeeper.hosts == "a:2281"
    [warning] = loaded.warnings
    assert "did you mean 'labels'?" in str(warning)


def test_load_raises_with_every_finding_as_a_line(tmp_path):
    path = write(tmp_path, "lables: []\nlabels: [{min-ready: x}]\n")
    with pytest.raises(ConfigError) as caught:
        load(path, environ={})
    assert len(caught.value.problems) == 5
    assert all(line.startswith(path) for line in caught.value.problems)
    assert "(and 3 more)" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "the file is empty"),
        ("- a\n", "not a configuration file"),
        ("plain text", "not a configuration file"),
    ],
)
def test_a_file_that_is_no_mapping_is_an_error(tmp_path, text, what):
    with pytest.raises(ConfigError, match=what):
        load(write(tmp_path, text), environ={})


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        load(str(tmp_path / "none"), environ={})


def test_the_environment_is_that_of_the_process_unless_given(tmp_path, monkeypatch):
    monkeypatch.setenv("NODEPOOL_HOST", "zk9")
    text = "zookeeper-servers: [{host: '%(NODEPOOL_HOST)'}]\nzookeeper-plaintext: true\n"
    assert load(write(tmp_path, text)).settings.zookeeper.servers[0].host == "zk9"


_KEYS = st.sampled_from([
    "name", "labels", "providers", "diskimages", "pools", "nodes", "driver", "cloud", "parent", "networks", "rate",
    "diskimage", "cloud-image", "cloud-images", "env-vars", "min-ram", "zookeeper-servers", "host", "chroot", "release",
    "zookeeper-tls", "image-name-format", "dynamic-instance-properties", "tenant-resource-limits", "ssh-port", "webapp",
])  # fmt: skip
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.dates(),
    st.sampled_from(
        ["a", "b", "static", "openstack", "{", "{request.id}", "{image_name.x[0]}", "%(NODEPOOL_A)"]
    ),
    st.text(max_size=5),
    st.binary(max_size=3),
)
_TREES = st.recursive(
    _SCALARS,
    lambda children: st.one_of(
        st.lists(children, max_size=3),
        st.dictionaries(
            st.one_of(_KEYS, st.text(max_size=3), st.integers(), st.booleans()), children, max_size=6
        ),
    ),
    max_leaves=30,
)
_MAIN = st.dictionaries(st.sampled_from(sorted(MAIN.keys)), _TREES, max_size=8)
_NAMES = st.sampled_from(["a", "b", "c"])
_IMAGES = st.fixed_dictionaries(
    {"name": _NAMES},
    optional={
        "parent": _NAMES,
        "abstract": st.booleans(),
        "pause": st.booleans(),
        "elements": st.lists(_NAMES),
    },
)
_POOL_LABELS = st.fixed_dictionaries(
    {"name": _NAMES, "flavor-name": _NAMES}, optional={"diskimage": _NAMES, "cloud-image": _NAMES}
)
_PROVIDERS = st.fixed_dictionaries(
    {"name": _NAMES, "cloud": _NAMES},
    optional={
        "diskimages": st.lists(st.fixed_dictionaries({"name": _NAMES}), max_size=2),
        "cloud-images": st.lists(st.fixed_dictionaries({"name": _NAMES}), max_size=2),
        "pools": st.lists(
            st.fixed_dictionaries({"name": _NAMES, "labels": st.lists(_POOL_LABELS, max_size=3)}), max_size=2
        ),
    },
)
_NEARLY_RIGHT = st.fixed_dictionaries(
    {
        "labels": st.lists(st.fixed_dictionaries({"name": _NAMES}), max_size=3),
        "diskimages": st.lists(_IMAGES, max_size=3),
        "providers": st.lists(_PROVIDERS, max_size=2),
        "zookeeper-servers": st.just([{"host": "a"}]),
        "zookeeper-plaintext": st.just(True),
    }
)


@pytest.fixture(scope="module")
def loads_or_complains(tmp_path_factory):
    path = tmp_path_factory.mktemp("any") / "nodepool.yaml"

    def check(text):
        path.write_text(text, encoding="utf-8", errors="replace")
        complaints: tuple[str, ...] = ("none",)
        try:
            load(str(path), secure=str(path), environ={"NODEPOOL_A": "x: ["}, clouds={"a": ("b",)})
        except ConfigError as error:
            complaints = error.problems
        assert complaints
        assert all(line.isprintable() for line in complaints)

    return check


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(
    text=st.one_of(
        st.text(alphabet=" \n\t-:?[]{}&*!|>'\"%@#,<ab01.~\\()$", max_size=60), st.text(max_size=30)
    )
)
def test_any_text_loads_or_raises_config_error(loads_or_complains, text):
    loads_or_complains(text)


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(tree=st.one_of(_TREES, _MAIN, _NEARLY_RIGHT))
def test_any_yaml_loads_or_raises_config_error(loads_or_complains, tree):
    loads_or_complains(yaml.safe_dump(tree))
