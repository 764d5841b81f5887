"""A launcher whose files change under it: what counts at once, what does not, and what a bad file does."""

from __future__ import annotations

import signal

import pytest
import yaml

from poolmgr.model.fleet import ProviderMode
from poolmgr.model.node import NodeState
from poolmgr.model.request import RequestState
from tests.integration.launcher_place import launcher_place, pool, provider
from tests.sites import eventually

pytestmark = pytest.mark.integration

LOGIN = "identity.POST"


@pytest.fixture
def place(tmp_path, zookeeper_hosts):
    with launcher_place(tmp_path, zookeeper_hosts, north={"boot": 0.3}, south={"boot": 0.3}) as made:
        made.config["providers"] = [provider("north")]
        made.write()
        yield made


def use_up(place, *ids):
    """Make the requests go; their nodes are free then."""
    for one in ids:
        place.store.delete_request(one)


def nodes(place, *states):
    with place.store.reading() as snapshot:
        return [n for n in snapshot.nodes() if not states or n.state in states]


def pools(place):
    with place.store.reading() as snapshot:
        return {(p.provider_name, p.name): p for p in snapshot.pools()}


def change(place, **keys):
    """Change keys of provider north and of its pool (`pool_` before the key)."""
    one = place.provider("north")
    for key, value in keys.items():
        if key.startswith("pool_"):
            one["pools"][0][key.removeprefix("pool_").replace("_", "-")] = value
        else:
            one[key.replace("_", "-")] = value
    place.config["providers"] = [one, *place.config["providers"][1:]]
    place.reloads(place.write)


def test_limits_count_at_once_and_no_session_is_made_anew(place):
    place.start()
    place.says("cloud north answers")
    logins = place.calls("north", LOGIN)
    assert logins == 1
    change(place, pool_max_servers=1)
    asked = [place.submit("small") for _ in range(2)]
    eventually(lambda: sum(place.fulfilled(one) for one in asked) == 1)
    assert place.servers("north") == 1
    change(place, pool_max_servers=5, pool_priority=7)
    eventually(lambda: place.fulfilled(*asked))
    eventually(lambda: pools(place)["north", "main"].priority == 7)
    change(place, max_concurrency=0)
    waiting = place.submit("small")
    place.says("max-concurrency")
    change(place, max_concurrency=-1, launch_timeout=60, boot_timeout=30, launch_retries=1)
    eventually(lambda: place.fulfilled(waiting))
    place.config["tenant-resource-limits"] = [{"tenant-name": "t", "max-servers": 1}]
    place.config["max-hold-age"] = 1000
    place.config["labels"] = [{"name": "small", "min-ready": 1, "max-ready-age": 1000}]
    place.reloads(place.write)
    eventually(lambda: [n for n in nodes(place, NodeState.READY) if not n.allocated_to])
    assert place.calls("north", LOGIN) == logins
    assert "starting it anew" not in place.log


def test_min_ready_and_ages_count_at_once(place):
    place.start()
    place.config["labels"] = [{"name": "small", "min-ready": 2}]
    place.reloads(place.write)
    eventually(lambda: len([n for n in nodes(place, NodeState.READY) if not n.allocated_to]) == 2)
    place.config["labels"] = [{"name": "small", "max-ready-age": 1}]
    place.reloads(place.write)
    eventually(lambda: not nodes(place), within=120.0)


def test_labels_and_pools_are_published_anew(place):
    place.start()
    eventually(lambda: ("north", "main") in pools(place))
    place.config["labels"].append({"name": "large"})
    one = place.provider("north")
    one["pools"] = [pool("small", "large"), pool("large", name="second")]
    place.config["providers"] = [one]
    place.reloads(place.write)
    eventually(lambda: pools(place).keys() == {("north", "main"), ("north", "second")})
    eventually(lambda: pools(place)["north", "main"].supported_labels == ("large", "small"))
    one["pools"] = [pool("large", name="second")]
    place.reloads(place.write)
    eventually(lambda: pools(place).keys() == {("north", "second")})


def test_providers_come_and_go_at_run_time(place):
    place.start()
    place.config["providers"].append(provider("south", "south"))
    place.config["labels"].append({"name": "south"})
    place.reloads(place.write)
    asked = place.submit("south")
    eventually(lambda: place.fulfilled(asked))
    place.config["providers"].pop()
    place.reloads(place.write)
    eventually(lambda: pools(place).keys() == {("north", "main")})
    assert place.servers("south") == 1  # as the reference: nodes stay


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("labels: [", "nodepool.yaml:1:"),  # half a file
        ("labels: 3\n", "nodepool.yaml:1:9: error: labels"),
        ("", "nodepool.yaml"),
        (
            "providers: [{name: north, cloud: north, pools: [{name: a, labels: [{name: x}]}]}]\n",
            "nodepool.yaml:1:",
        ),
        ("\x00", "nodepool.yaml"),
    ],
)
def test_a_bad_file_changes_nothing_and_is_told_once(place, text, told):
    process = place.start()
    place.says("cloud north answers")
    logins = place.calls("north", LOGIN)
    place.write(text)
    place.says("the configuration is unusable")
    assert told in place.log
    asked = place.submit("small")
    eventually(lambda: place.fulfilled(asked))
    process.send_signal(signal.SIGUSR1)
    place.says("the last reload failed (")
    assert place.log.count("the configuration is unusable") == 1
    place.reloads(place.write)
    assert place.calls("north", LOGIN) == logins


def test_a_file_that_vanishes_changes_nothing(place):
    place.start()
    place.config_path.unlink()
    place.says("cannot read the file")
    asked = place.submit("small")
    eventually(lambda: place.fulfilled(asked))
    place.reloads(place.write)


def test_a_bad_secure_file_changes_nothing(place):
    secure = place.directory / "secure.yaml"
    secure.write_text("{}\n")
    place.start("-s", str(secure))
    place.put(secure, "diskimages: 3\n")
    place.says("the configuration is unusable")
    assert "secure.yaml:1:" in place.log
    asked = place.submit("small")
    eventually(lambda: place.fulfilled(asked))
    place.reloads(lambda: place.put(secure, "{}\n"))


def test_clouds_yaml_is_noticed_and_a_bad_one_changes_nothing(place):
    place.start()
    place.says("cloud north answers")
    good = place.clouds_path.read_text()
    place.put(place.clouds_path, "clouds: [")
    place.says("the configuration is unusable")
    assert "clouds.yaml:1:" in place.log
    asked = place.submit("small")
    eventually(lambda: place.fulfilled(asked))
    changed = yaml.safe_load(good)
    changed["clouds"]["north"]["api_timeout"] = 33
    changed["clouds"]["south"]["api_timeout"] = 33
    place.reloads(lambda: place.put(place.clouds_path, yaml.safe_dump(changed)))
    place.says("provider north: its connection settings changed, starting it anew")
    again = place.submit("small")
    eventually(lambda: place.fulfilled(again))


def test_a_provider_whose_cloud_is_not_there_yet_is_served_when_it_is(place):
    good = yaml.safe_load(place.clouds_path.read_text())
    without = {"clouds": {"north": good["clouds"]["north"]}}
    place.put(place.clouds_path, yaml.safe_dump(without))
    place.config["labels"].append({"name": "south"})
    place.config["providers"].append(provider("south", "south"))
    place.write()
    place.start()
    place.says("provider south cannot be served")
    asked, there = place.submit("south"), place.submit("small")
    eventually(lambda: place.fulfilled(there))
    assert place.state(asked) is RequestState.REQUESTED
    place.put(place.clouds_path, yaml.safe_dump(good))
    eventually(lambda: place.fulfilled(asked))


def test_sighup_reads_at_once(place):
    process = place.start()
    place.reloads(lambda: process.send_signal(signal.SIGHUP))


def test_other_zookeeper_servers_are_used_and_what_needs_a_restart_is_told(place):
    place.start()
    place.says("cloud north answers")
    direct = yaml.safe_load((place.directory / "direct.yaml").read_text())["zookeeper-servers"]
    place.config["zookeeper-servers"] = direct
    place.config["zookeeper-timeout"] = 9.0
    place.config["webapp"] = {"port": 8111}
    place.reloads(place.write)
    assert "these changes count from the next start on: zookeeper-timeout, webapp" in place.log
    place.proxy.cut()  # the way that was configured first
    asked = place.submit("small")
    eventually(lambda: place.fulfilled(asked), within=60.0)


# What is removed, with `on-remove: drain`


def draining(place):
    """A launcher with `on-remove: drain`, a free node in south, one that is in use there, and its lock."""
    place.config["on-remove"] = "drain"
    place.config["labels"].append({"name": "south"})
    place.config["providers"].append(provider("south", "south"))
    place.write()
    process = place.start()
    free, used = place.submit("south"), place.submit("south")
    eventually(lambda: place.fulfilled(free, used))
    with place.store.reading() as snapshot:
        (node_id,) = snapshot.request(used).nodes
    lock, node = place.store.lock_node(node_id)
    node = place.store.save_node(node.moved(NodeState.IN_USE, at=node.state_time), lock)
    place.store.delete_request(used)
    place.store.delete_request(free)
    eventually(lambda: [n.allocated_to for n in nodes(place, NodeState.READY)] == [None])
    return process, node, lock


def without_south(place):
    place.config["providers"] = [one for one in place.config["providers"] if one["name"] != "south"]
    place.write()


def test_a_removed_provider_is_drained_even_without_its_cloud_and_then_left_alone(place):
    _, node, lock = draining(place)
    clouds = yaml.safe_load(place.clouds_path.read_text())
    del clouds["clouds"]["south"]
    place.put(place.clouds_path, yaml.safe_dump(clouds))
    without_south(place)
    eventually(lambda: place.servers("south") == 1)  # the free one went
    eventually(lambda: [n.id for n in nodes(place)] == [node.id])
    eventually(lambda: ("south", "main") not in pools(place))
    with place.store.reading() as snapshot:
        assert snapshot.provider_status("south").mode is ProviderMode.DRAINING
        assert snapshot.provider_owned("south")
    place.store.save_node(node.moved(NodeState.USED, at=node.state_time), lock)
    place.store.unlock(lock)
    eventually(lambda: place.servers("south") == 0)
    place.says("provider south: drained, no node of it is left")
    eventually(lambda: "south" not in place.locked())
    assert nodes(place) == []


def test_a_provider_that_is_put_back_before_it_is_empty_runs_again(place):
    draining(place)
    removed = place.config["providers"][-1]
    without_south(place)
    eventually(lambda: place.servers("south") == 1)
    place.config["providers"].append(removed)
    place.reloads(place.write)
    asked = place.submit("south")
    eventually(lambda: place.fulfilled(asked))
    eventually(lambda: ("south", "main") in pools(place))
    assert place.servers("south") == 2


def test_who_starts_later_tells_of_the_nodes_that_nobody_can_drain(place):
    process, node, _ = draining(place)
    without_south(place)
    eventually(lambda: [n.id for n in nodes(place)] == [node.id])
    process.kill()
    process.wait()
    place.start()
    place.says(f"no launcher has provider south, of which 1 nodes are left: {node.id};")
    assert place.servers("south") == 1


def test_of_two_launchers_the_last_to_read_its_file_drains(place):
    draining(place)
    second = place.directory / "second.yaml"
    place.put(second, place.config_path.read_text())
    first_path, place.config_path = place.config_path, second
    place.start()
    eventually(lambda: place.log.count("is running") == 2)
    eventually(lambda: len(peers(place)) == 2)
    place.config_path = first_path
    without_south(place)
    place.says("provider south: removed from the configuration, it is drained")
    eventually(lambda: [p for p in peers(place) if "south" in p.providers] and owner_is(place, "south"))
    assert place.servers("south") == 2  # the other has it still
    place.put(second, first_path.read_text())
    eventually(lambda: place.servers("south") == 1)


def peers(place):
    with place.store.reading() as snapshot:
        return list(snapshot.peers())


def owner_is(place, name):
    """Whether the one that owns it is the one that has it in its configuration."""
    with place.store.reading() as snapshot:
        status = snapshot.provider_status(name)
        return status and any(p.id == status.owner and name in p.offers for p in snapshot.peers())
