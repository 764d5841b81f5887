"""The commands against a real ZooKeeper; those that take signals in processes of their own."""

import io
import json
import signal
import subprocess
import sys
import time

import pytest

from poolmgr.cli import main
from poolmgr.config.load import load
from poolmgr.errors import RecordGone
from poolmgr.model.cloud_image import ImageOwner
from poolmgr.model.fleet import ProviderMode, ProviderStatus
from poolmgr.model.image import Build, BuildState, Upload, UploadState
from poolmgr.model.node import Node, NodeState
from poolmgr.model.request import NodeRequest
from poolmgr.observe.ledger import Deletion, Ledger
from poolmgr.runtime.clock import SystemClock
from poolmgr.simcloud.faults import Fault, FaultKind
from poolmgr.simcloud.images import NewImage
from poolmgr.simcloud.server import running
from poolmgr.wiring import open_store
from tests.scripted_launcher import ScriptedLauncher
from tests.sites import eventually
from tests.zookeeper import free_port

CONFIG = """\
zookeeper-servers: [{{host: 127.0.0.1, port: {port}, chroot: {chroot}}}]
zookeeper-plaintext: true
"""


class Place:
    """A configuration, a store on it, and the program."""

    def __init__(self, directory, hosts, capture):
        self.capture = capture
        self.processes = []
        address, _, chroot = hosts.partition("/")
        self.config = directory / "nodepool.yaml"
        self.config.write_text(CONFIG.format(port=address.partition(":")[2], chroot=f"/{chroot}"))
        self.store = open_store(load(str(self.config), environ={}).settings)
        self.store.start()

    def start(self, *arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "poolmgr.cli.main", "-c", str(self.config), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def close(self):
        for process in self.processes:
            process.kill()
            process.communicate()
        self.store.close()

    def run(self, *arguments, code=0):
        """In this process; what it printed to stdout and stderr."""
        assert main.main(["-c", str(self.config), *arguments]) == code
        return self.capture.readouterr()

    def add_node(self, **changes):
        lock, node = self.store.create_node(
            Node(
                state=NodeState.READY,
                state_time=time.time() - 65,
                labels=("debian",),
                provider="north",
                **changes,
            )
        )
        self.store.unlock(lock)
        return node

    def add_build(self, build_id):
        """A ready build of debian with a ready upload to north."""
        lock = self.store.lock_builds("debian")
        build = Build(image="debian", id=build_id, state=BuildState.READY, state_time=time.time())
        self.store.create_build(build, lock)
        self.store.unlock(lock)
        return self.store.create_upload(
            Upload(
                image="debian",
                build=build_id,
                provider="north",
                state=UploadState.READY,
                state_time=time.time(),
                external_id=f"img-{build_id}",
            )
        )

    def waiting(self):
        with self.store.reading() as snapshot:
            return list(snapshot.requests())


@pytest.fixture
def place(tmp_path, zookeeper_hosts, capsys, monkeypatch):
    monkeypatch.setattr(main.logs, "for_command", lambda **_: None)  # pytest's own logging stays as it is
    made = Place(tmp_path, zookeeper_hosts, capsys)
    yield made
    made.close()


def test_list_shows_nodes_with_their_locks(place):
    node = place.add_node(external_id="srv-7", public_ipv4="192.0.2.7")
    place.store.lock_node(place.add_node().id)
    output, _ = place.run("list")
    titles = [title.strip() for title in output.splitlines()[1].strip("|").split("|")]
    assert titles == ["ID", "Provider", "Label", "Server ID", "Public IPv4", "IPv6", "State", "Age", "Locked"]
    row = [cell.strip() for cell in output.splitlines()[3].strip("|").split("|")]
    assert row[:7] == [node.id, "north", "debian", "srv-7", "192.0.2.7", "", "ready"]
    assert row[7].startswith("00:00:01:")
    assert [r["locked"] for r in json.loads(place.run("list", "--json")[0])] == ["unlocked", "locked"]


def test_list_detail_has_the_other_columns(place):
    place.add_node(pool="main", comment="look")
    header = place.run("list", "--detail")[0].splitlines()[1]
    assert [title.strip() for title in header.strip("|").split("|")][9:12] == [
        "Pool",
        "Hostname",
        "Private IPv4",
    ]
    assert "Driver Data" in header


def test_an_empty_list_is_a_header(place):
    assert len(place.run("list")[0].splitlines()) == 4
    assert json.loads(place.run("request-list", "--json")[0]) == []


def test_request_list_shows_open_requests(place):
    place.store.create_request(
        NodeRequest(labels=("a", "b"), requestor="zuul", relative_priority=2), priority=100
    )
    (row,) = json.loads(place.run("request-list", "--json")[0])
    assert (row["node_types"], row["requestor"], row["relative_priority"]) == (["a", "b"], "zuul", 2)
    assert "| a,b " in place.run("request-list")[0]


def test_hold_keeps_a_node_and_says_why(place):
    node = place.add_node()
    output, _ = place.run("hold", node.id, "--reason", "broken disk", "--expires", "600")
    assert "| hold " in output
    held = place.store.read_node(node.id)
    assert (held.state, held.comment, held.hold_expiration) == (NodeState.HOLD, "broken disk", 600)


def test_delete_marks_a_node(place):
    node = place.add_node()
    assert "| deleting " in place.run("delete", node.id)[0]
    assert place.store.read_node(node.id).state is NodeState.DELETING
    assert place.store.lock_node(node.id)


@pytest.mark.parametrize("verb", ["hold", "delete"])
def test_an_unknown_node_is_told_and_exits_with_0(place, verb):
    assert place.run(verb, "0000009999")[0] == "Node id 0000009999 not found\n"
    with place.store.reading() as snapshot:
        assert not snapshot.nodes()


def test_a_locked_node_is_refused_in_one_line_and_left_alone(place):
    node = place.add_node(allocated_to="200-0000000001")
    lock, _ = place.store.lock_node(node.id)
    output, errors = place.run("delete", node.id, code=1)
    assert output == ""
    assert f"node {node.id} (ready) is locked" in errors
    assert "Traceback" not in errors
    assert place.store.read_node(node.id).state is NodeState.READY
    assert lock.valid


def test_info_tells_what_a_provider_has(place):
    node = place.add_node(external_id="srv-1")
    output, _ = place.run("info", "north")
    assert output.startswith("ZooKeeper data for provider north\n")
    assert f"| {node.id} | srv-1 " in output
    facts = json.loads(place.run("info", "south", "--json")[0])
    assert facts == {"provider": "south", "images": [], "nodes": [], "facts": []}


CLOUD = """\
labels: [{name: debian}]
providers:
- name: north
  cloud: north
  rate: 0.001
  cloud-images: [{name: debian-12}]
  pools: [{name: main, labels: [{name: debian, cloud-image: debian-12, flavor-name: small}]}]
- {name: static, driver: static, pools: []}
"""


@pytest.fixture
def cloud_place(place, tmp_path, monkeypatch):
    """With a pretend cloud `north`, that has one server; `make` gives a node of it."""
    with place.config.open("a") as config:
        config.write(CLOUD)
    with running({"ssh": {"enabled": False}, "clouds": {"north": {"boot": 0.0}}}) as sim:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(sim.write_clouds_yaml(tmp_path / "clouds.yaml")))
        place.sim = sim
        yield place


def make_server(place):
    """A server of the cloud as an operator would make one, by its id."""
    created = json.loads(
        place.run(
            "cloud",
            "create-server",
            "north",
            "left",
            "--image",
            "debian-12",
            "--flavor",
            "small",
            "--no-wait",
            "--json",
        )[0]
    )
    return created["id"]


def test_delete_now_ends_when_nothing_of_the_node_is_left(cloud_place):
    place = cloud_place
    node = place.add_node(external_id=make_server(place), pool="main")
    other = make_server(place)
    output, errors = place.run("delete", node.id, "--now")
    assert "| deleting " in output
    assert errors.endswith(f"node {node.id} is gone\n")
    servers = json.loads(place.run("cloud", "list-servers", "north", "--json")[0])
    assert [server["id"] for server in servers] == [other]
    with pytest.raises(RecordGone):
        place.store.read_node(node.id)
    with place.store.reading() as snapshot:
        assert not snapshot.nodes()


def test_delete_now_leaves_a_marked_node_when_the_cloud_does_not_let_it_go(cloud_place):
    place = cloud_place
    node = place.add_node(external_id=make_server(place), pool="main")
    with place.sim.world.clouds["north"].lock:
        place.sim.world.clouds["north"].faults.add(Fault(kind=FaultKind.IGNORED_DELETE))
    errors = place.run("delete", node.id, "--now", "--timeout", "1", code=1)[1]
    assert "it stays marked, and a launcher goes on" in errors
    assert place.store.read_node(node.id).state is NodeState.DELETING
    lock, _ = place.store.lock_node(node.id)  # nobody has it any more
    place.store.unlock(lock)


@pytest.mark.parametrize(
    ("provider", "told"),
    [("elsewhere", "is not in this configuration"), ("static", "has no cloud")],
)
def test_delete_now_is_refused_before_anything_is_changed(cloud_place, provider, told):
    place = cloud_place
    lock, node = place.store.create_node(Node(state=NodeState.READY, labels=("debian",), provider=provider))
    place.store.unlock(lock)
    assert told in place.run("delete", node.id, "--now", code=1)[1]
    assert place.store.read_node(node.id).state is NodeState.READY


def test_delete_now_of_an_unknown_or_a_locked_node(cloud_place):
    place = cloud_place
    assert place.run("delete", "0000009999", "--now")[0] == "Node id 0000009999 not found\n"
    node = place.add_node()
    lock, _ = place.store.lock_node(node.id)
    assert "is locked" in place.run("delete", node.id, "--now", code=1)[1]
    assert lock.valid


PROVIDERS = """\
labels: [{name: debian}]
providers:
- {name: north, cloud: north, pools: [{name: a, max-servers: 5}, {name: b, max-servers: 3}]}
- {name: south, cloud: south}
"""


@pytest.fixture
def providers(place):
    with place.config.open("a") as config:
        config.write(PROVIDERS)
    return place


def ordered(place, provider="north"):
    return eventually(lambda: order_of(place, provider))


def order_of(place, provider):
    with place.store.reading() as snapshot:
        return snapshot.provider_order(provider)


def test_a_provider_is_paused_for_a_while_and_resumed(providers):
    output, errors = providers.run("provider", "pause", "north", "--for", "2h", "--reason", "maintenance")
    order = ordered(providers)
    assert (order.mode, order.reason) == (ProviderMode.PAUSED, "maintenance")
    assert order.until - order.since == 7200
    assert "@" in order.by
    assert output == f"provider north is paused, for 00:02:00:00 more, by {order.by}: maintenance\n"
    assert errors == ""
    (row,) = [
        r for r in json.loads(providers.run("provider", "list", "--json")[0]) if r["provider"] == "north"
    ]
    assert (row["mode"], row["until"], row["reason"]) == ("paused", order.until, "maintenance")
    assert "provider north is paused" in providers.run("list")[1]  # its table is for scripts
    assert json.loads(providers.run("list", "--json")[0]) == []
    assert "provider north is paused" in providers.run("info", "north")[0]
    assert providers.run("provider", "resume", "north") == ("provider north runs as configured\n", "")
    eventually(lambda: order_of(providers, "north") is None)
    assert providers.run("provider", "resume", "north") == ("", "nothing was ordered for provider north\n")
    assert providers.run("list")[1] == ""


def test_an_order_takes_the_place_of_another_and_says_so(providers):
    providers.run("provider", "pause", "north")
    ordered(providers)
    errors = providers.run("provider", "drain", "north")[1]
    assert errors.startswith("it was paused before by ")
    eventually(lambda: order_of(providers, "north").mode is ProviderMode.DRAINING)


def test_a_limit_is_told_where_it_changes_nothing(providers):
    output, errors = providers.run("provider", "limit", "north", "--max-servers", "3")
    assert output.startswith("provider north is running, with at most 3 servers, by ")
    assert errors == ""
    errors = providers.run("provider", "resume", "north", "--max-servers", "9")[1]
    assert "max-servers of north is 8 in this configuration: the smaller number counts" in errors
    eventually(lambda: order_of(providers, "north").max_servers == 9)
    errors = providers.run("provider", "pause", "north", "--max-servers", "3")[1]
    assert "while it is paused it launches nothing" in errors


def test_a_limit_does_not_end_a_pause_unawares(providers):
    providers.run("provider", "pause", "north")
    ordered(providers)
    errors = providers.run("provider", "limit", "north", "--max-servers", "3", code=1)[1]
    assert "provider north is paused, and a limit would end that; `poolmgr provider resume north" in errors
    assert order_of(providers, "north").mode is ProviderMode.PAUSED


@pytest.mark.parametrize("action", ["pause", "drain", "resume"])
def test_an_unknown_provider_is_refused_with_the_nearest(providers, action):
    errors = providers.run("provider", action, "nroth", code=1)[1]
    assert "there is no provider nroth" in errors
    assert "there are north, south; did you mean north?" in errors
    assert "--force" in errors
    assert order_of(providers, "nroth") is None


def test_a_provider_of_another_file_can_be_ordered_by_force(providers):
    providers.run("provider", "pause", "elsewhere", "--force")
    assert ordered(providers, "elsewhere").mode is ProviderMode.PAUSED
    providers.run("provider", "resume", "elsewhere")
    eventually(lambda: order_of(providers, "elsewhere") is None)


@pytest.mark.parametrize(
    "arguments",
    [
        ["provider"],
        ["provider", "pause"],
        ["provider", "pause", "north", "--for", "soon"],
        ["provider", "pause", "north", "--max-servers", "-1"],
        ["provider", "limit", "north"],
    ],
)
def test_a_wrong_order_is_refused(arguments, capsys):
    with pytest.raises(SystemExit) as error:
        main.main(arguments)
    assert error.value.code == 2


def test_resuming_for_a_while_makes_no_sense(providers):
    assert (
        "--for goes with --max-servers"
        in providers.run("provider", "resume", "north", "--for", "2h", code=1)[1]
    )


def test_a_zookeeper_that_is_away_is_one_line_soon(place):
    place.config.write_text(CONFIG.format(port=free_port(), chroot="/x"))
    _, errors = place.run("--connect-timeout", "1", "list", code=1)
    assert "no answer from ZooKeeper at 127.0.0.1:" in errors
    assert errors.count("\n") == 1


def test_request_gets_nodes_and_gives_them_back(place):
    process = place.start("request", "debian", "--hold", "0", "--json")
    eventually(place.waiting)
    (request,) = place.waiting()
    (node_id,) = ScriptedLauncher(place.store).fulfil(request.id)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    result = json.loads(output)
    assert (result["request"], result["nodes"][0]["id"]) == (request.id, node_id)
    assert result["nodes"][0]["interface_ip"] == "127.0.0.1"
    assert place.store.read_node(node_id).state is NodeState.USED
    assert place.waiting() == []
    assert "no launcher is running" in errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_request_that_is_interrupted_is_cancelled(place, number):
    process = place.start("request", "debian")
    eventually(place.waiting)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "cancelled" in errors
    assert place.waiting() == []


def test_a_request_dies_with_its_process(place):
    with place.config.open("a") as config:
        config.write("zookeeper-timeout: 3\n")  # the request goes when the session does
    process = place.start("request", "debian")
    eventually(place.waiting)
    process.kill()
    process.communicate(timeout=60)
    eventually(lambda: not place.waiting(), within=60.0)


def test_a_failed_request_exits_with_1(place):
    process = place.start("request", "debian")
    eventually(place.waiting)
    ScriptedLauncher(place.store).fail(place.waiting()[0].id, "pool-a")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "declined by pool-a" in errors
    assert place.waiting() == []


IMAGES = """\
diskimages: [{name: debian, formats: [raw]}]
providers: [{name: north, driver: openstack, cloud: north, rate: 0, diskimages: [{name: debian}]}]
"""


@pytest.fixture
def image_place(place):
    with place.config.open("a") as config:
        config.write(IMAGES)
    return place


def test_orders_about_an_image_are_given_shown_and_taken_back(image_place):
    place = image_place
    place.run("image-pause", "debian", "--reason", "mirror")
    _, errors = place.run("image-build", "debian", "--reason", "CVE")
    assert "(mirror)" in errors
    (status,) = json.loads(place.run("image-status", "--json")[0])
    assert (status["paused"], status["build_request"], status["request_reason"]) == (True, "pending", "CVE")
    assert abs(status["build_request_age"] - time.time()) < 3600
    assert "| debian | pending | 00:00:" in place.run("dib-request-list")[0]
    place.run("image-build", "--cancel", "debian")
    place.run("image-unpause", "debian")
    (status,) = json.loads(place.run("image-status", "--json")[0])
    assert (status["paused"], status["build_request"]) == (False, None)


def test_builds_and_uploads_are_shown_and_marked(image_place):
    place = image_place
    place.add_build("0f")
    place.add_build("10")
    assert "| debian-10 | debian |" in place.run("dib-image-list")[0]
    (row,) = json.loads(place.run("image-delete", "--image", "debian", "--newest", "--yes", "--json")[0])
    assert (row["id"], row["state"]) == ("10", "deleting")
    place.run("dib-image-delete", "debian-0f")
    states = {r["id"]: r["state"] for r in json.loads(place.run("dib-image-list", "--json")[0])}
    assert states == {"debian-0f": "deleting", "debian-10": "ready"}
    assert [r["state"] for r in json.loads(place.run("image-list", "--json")[0])] == ["ready", "deleting"]


def test_image_records_survive_the_loss_of_zookeeper(image_place, tmp_path, zookeeper_server):
    place = image_place
    upload = place.add_build("0f")
    place.run("image-pause", "debian")
    place.run("export-image-data", str(tmp_path / "backup"))
    emptied = tmp_path / "emptied.yaml"
    chroot = f"{place.config.read_text().split('chroot: ')[1].split('}')[0]}-emptied"
    emptied.write_text(CONFIG.format(port=zookeeper_server.partition(":")[2], chroot=chroot) + IMAGES)
    place.config = emptied
    place.run("import-image-data", str(tmp_path / "backup"))
    (row,) = json.loads(place.run("image-list", "--json")[0])
    assert (row["upload_id"], row["external_id"], row["state"]) == (upload.id, "img-0f", "ready")
    assert json.loads(place.run("image-status", "--json")[0])[0]["paused"] is True
    rows = json.loads(place.run("import-image-data", "--dry-run", "--json", str(tmp_path / "backup"))[0])
    assert {row["action"] for row in rows} == {"same"}


def test_alien_images_of_a_cloud_are_found_and_deleted(image_place, tmp_path, monkeypatch):
    place = image_place
    ours = ImageOwner(
        provider="north", image="debian", build="0e", upload="0000000001", deployment=place.store.deployment()
    )
    theirs = ImageOwner(provider="north", image="debian", build="0e", upload="1", deployment="e" * 32)
    with running({"ssh": {"enabled": False}, "clouds": {"north": {}}}) as sim:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(sim.write_clouds_yaml(tmp_path / "clouds.yaml")))
        far = sim.world.clouds["north"]
        with far.lock:
            for name, owner in (("left", ours), ("other's", theirs)):
                far.images.create(NewImage(name=name, properties=owner.properties()))
        found = json.loads(place.run("alien-image-list", "--json")[0])
        assert [(row["name"], row["stays"]) for row in found] == [
            ("left", None),
            ("other's", "of another deployment"),
        ]
        place.run("alien-image-list", "north", "--delete", "--yes")
        left = json.loads(place.run("alien-image-list", "--json")[0])
        assert [row["name"] for row in left] == ["other's"]


def hold_back(place, held):
    lock = place.store.lock_provider("north")
    status = ProviderStatus(provider="north", held_back=held, held_since=time.time() - 65 if held else None)
    place.store.save_provider_status(status, lock)
    place.store.unlock(lock)


def approval_of(place):
    with place.store.reading() as snapshot:
        return snapshot.approval("north")


def test_what_is_held_back_is_shown_and_approved(place):
    assert place.run("reclaim") == ("nothing is held back\n", "")
    hold_back(place, {"instances": 9, "ports": 4})
    output = place.run("reclaim")[0]
    assert output == "provider north: 13 held back, since 00:00:01:05: 9 instances, 4 ports\n"
    (row,) = json.loads(place.run("reclaim", "--json")[0])
    assert row["held_back"] == {"instances": 9, "ports": 4}
    output, errors = place.run("reclaim", "--approve", "north", "--yes")
    assert output == "approved: up to 13 deletions for provider north\n"
    assert "9 instances, 4 ports" in errors
    eventually(lambda: approval_of(place) is not None)
    assert approval_of(place).up_to == 13
    assert "@" in approval_of(place).by


def test_an_approval_has_to_be_confirmed_and_to_mean_something(place, monkeypatch):
    errors = place.run("reclaim", "--approve", "north", "--yes", code=1)[1]
    assert "nothing is held back for provider north" in errors
    hold_back(place, {"nodes": 3})
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    errors = place.run("reclaim", "--approve", "north", code=1)[1]
    assert "3 things of north will be deleted. Type 3 or yes" in errors
    assert "nobody answered" in errors
    errors = place.run("reclaim", "--approve", "nroth", "--yes", code=1)[1]
    assert "did you mean north?" in errors
    assert approval_of(place) is None


def test_the_ledger_is_read_from_its_file(place, tmp_path):
    errors = place.run("ledger", code=1)[1]
    assert "names no ledger file" in errors
    path = tmp_path / "ledger.jsonl"
    with place.config.open("a") as config:
        config.write(f"ledger: {path}\n")
    assert place.run("ledger") == ("", "")
    ledger = Ledger(SystemClock(), str(path))
    for kind, node in (("server", "7"), ("port", "8")):
        thing = Deletion(kind=kind, id=f"{kind}-1", why="node was used", provider="north", node=node)
        ledger.delete(thing, lambda: None)
    assert len(place.run("ledger", "--json")[0].splitlines()) == 4
    first, second = place.run("ledger", "--node", "7", "--kind", "server", "--since", "1h")[0].splitlines()
    assert first.endswith("north  server server-1  node 7  node was used")
    assert second.endswith("-> accepted")
    assert place.run("ledger", "--provider", "south")[0] == ""
