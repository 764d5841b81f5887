from __future__ import annotations

import pytest

from poolmgr.cloud.library.records import Reach, reach_of
from poolmgr.cloud.library.wishes import checked_metadata, flavor_for, public_key_of
from poolmgr.errors import ConfigError, Rejected
from poolmgr.model.server import Flavor

FLAVORS = [
    Flavor(id=f"f-{name}", name=name, vcpus=1, ram_mib=ram)
    for name, ram in (("small", 2048), ("large", 8192), ("large-ssd", 8192), ("huge", 65536))
]


@pytest.mark.parametrize(
    ("name", "min_ram", "chosen"),
    [
        ("small", None, "small"),
        ("f-huge", None, "huge"),
        (None, 2049, "large"),
        ("ssd", 1, "large-ssd"),
        ("", 1, "small"),
    ],
)
def test_which_flavor(name, min_ram, chosen):
    assert flavor_for("north", FLAVORS, name, min_ram).name == chosen


@pytest.mark.parametrize(
    ("name", "min_ram", "words"),
    [
        (None, None, "name a flavor"),
        ("larg", None, "no flavor larg; did you mean 'large'"),
        ("larg", 100_000, "no flavor larg with 100000 MiB"),
        (None, 100_000, "no flavor with 100000 MiB; it has huge, large, large-ssd, small"),
    ],
)
def test_no_such_flavor(name, min_ram, words):
    with pytest.raises(Rejected, match=f"cloud north: {words}"):
        flavor_for("north", FLAVORS, name, min_ram)


@pytest.mark.parametrize("key", ["nodepool_node_id", "nodepool_provider_name", "poolmgr_library_ready"])
def test_metadata_may_not_claim_an_owner(key):
    assert checked_metadata({"groups": "web"}) == {"groups": "web"}
    with pytest.raises(Rejected, match=key):
        checked_metadata({key: "x"})


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJxE0n7v3o5pQh7y1x8rLZ0f7s6k8i3oJ8r8m1l2k3j4"


def test_a_public_key_is_named_for_itself(tmp_path):
    one, other = tmp_path / "a.pub", tmp_path / "b.pub"
    one.write_text(f"{KEY} me@here\n")
    other.write_text(f"{KEY}\n")
    assert public_key_of(str(one)).text == f"{KEY} me@here"
    assert public_key_of(str(one)).name == public_key_of(str(other)).name


@pytest.mark.parametrize(
    "content",
    ["", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n", "ssh-rsa", "ssh-rsa !!"],
)
def test_what_is_no_public_key(tmp_path, content):
    file = tmp_path / "id"
    file.write_text(content)
    with pytest.raises(ConfigError, match="not a public key") as caught:
        public_key_of(str(file))
    assert "b3Bl" not in str(caught.value)


def test_a_key_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        public_key_of(str(tmp_path / "none.pub"))
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not a text"):
        public_key_of(str(tmp_path / "bytes"))


@pytest.mark.parametrize(
    ("text", "reach"), [("ssh", Reach()), ("ssh:2222", Reach(2222)), ("tcp:443", Reach(443, ssh=False))]
)
def test_what_has_to_answer(text, reach):
    assert reach_of(text) == reach


@pytest.mark.parametrize("text", ["", "tcp", "tcp:", "ssh:x", "ssh:0", "tcp:65536", "udp:53", "ssh:²"])
def test_what_cannot_answer(text):
    with pytest.raises(ConfigError, match="ssh:PORT"):
        reach_of(text)
