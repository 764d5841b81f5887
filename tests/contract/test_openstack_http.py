"""How the OpenStack layer talks: how often, with what patience, and what it never lets out.

Against simcloud over HTTP, and where it takes a misbehaving server that simcloud is not, against a stub.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from poolmgr.config.settings import CloudNetwork, CloudService
from poolmgr.errors import AuthFailed, CloudUnavailable, ConfigError, Rejected, Throttled
from poolmgr.model.server import ServerStatus
from poolmgr.observe.api_name import ApiCall
from poolmgr.simcloud.server import running
from tests.contract.clouds import (
    IMAGE,
    OWNER,
    TIMEOUTS,
    CallsOf,
    Stage,
    clouds,
    openstack,
    openstack_cloud,
    sim_config,
)
from tests.fakes import FakeClock

LIST = "compute.GET.servers_detail"


@pytest.fixture
def staged() -> Iterator[Callable[..., Stage]]:
    with ExitStack() as stack:
        yield lambda shape, **more: stack.enter_context(openstack(shape, **more))


@pytest.fixture
def stage(staged) -> Stage:
    return staged("nat")


# -- how many calls --------------------------------------------------------------------------------------


def test_a_servers_life_costs_five_calls_and_its_share_of_the_lists(stage):
    stage.remove(stage.boot())  # warms the caches
    spec = stage.spec("np2")
    with CallsOf(stage) as create:
        server_id = stage.cloud.create_server(spec)
    assert create.made == {"compute.POST.servers": 1}
    stage.clock.advance(5.0)
    with CallsOf(stage) as poll:
        server = stage.cloud.list_servers().items[server_id]
    assert poll.made == {LIST: 1}
    with CallsOf(stage) as expose:
        stage.cloud.expose(server, owner=OWNER, auto_floating_ip=True)
    assert expose.made == {"network.GET.ports": 1, "network.POST.floatingips": 1}
    with CallsOf(stage) as again:
        stage.cloud.expose(server, owner=OWNER, auto_floating_ip=True)
    assert again.made == {}
    with CallsOf(stage) as delete:
        stage.cloud.delete_server(server_id)
    assert delete.made == {"compute.DELETE.server": 1}


def test_where_none_is_needed_exposing_costs_nothing(staged):
    stage = staged("direct")
    server = stage.boot()
    with CallsOf(stage) as expose:
        stage.cloud.expose(server, owner=OWNER, auto_floating_ip=True)
    assert expose.made == {}


def test_tokens_and_version_documents_are_counted_too(stage):
    stage.cloud.connect()
    calls = stage.cloud.calls
    assert calls["identity.POST.tokens"] == 1
    assert calls["identity.GET.discovery"] >= 1
    assert stage.far.calls["identity.POST.tokens"] == 1


def test_every_call_is_reported_with_its_status_and_time():
    reported: list[ApiCall] = []
    with clouds() as (_, login):
        stage = login(on_call=reported.append)
        stage.cloud.list_servers()
        stage.strike("http-503", operations=[LIST], times=1)
        stage.cloud.list_servers()
        stage.strike("drop", operations=[LIST], times=1)
        stage.cloud.list_servers()
    lists = [call.status for call in reported if call.name == "servers_detail"]
    assert lists == [200, 503, 200, None, 200]
    assert any((call.service, call.method, call.name) == ("identity", "POST", "tokens") for call in reported)
    assert all(call.seconds >= 0 for call in reported)


# -- patience --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["http-500", "http-503", "drop", "hang", "garbage"])
def test_a_read_that_fails_twice_is_repeated(stage, kind):
    server = stage.boot()
    before = stage.far.calls[LIST]
    stage.strike(kind, operations=[LIST], times=2)
    assert server.id in stage.cloud.list_servers().items
    assert stage.far.calls[LIST] == before + 3


@pytest.mark.parametrize("kind", ["http-500", "drop"])
def test_a_delete_that_fails_is_repeated(stage, kind):
    server = stage.boot()
    stage.strike(kind, operations=["compute.DELETE.server"], times=1)
    stage.cloud.delete_server(server.id)
    stage.clock.advance(5.0)
    assert stage.counts()["servers"] == 0


def test_a_delete_that_was_done_and_not_answered_succeeds(stage):
    server = stage.boot()
    stage.strike("lost-answer", operations=["compute.DELETE.server"], times=1)
    stage.cloud.delete_server(server.id)
    stage.clock.advance(5.0)
    assert stage.counts()["servers"] == 0


@pytest.mark.parametrize("as_date", [False, True])
def test_a_read_waits_as_long_as_the_cloud_says(as_date):
    limit = {"rate": 0.25, "burst": 4, "retry_after": 5, "as_date": as_date}
    with clouds("novanet", rate_limit=limit) as (_, login):
        stage = login()
        stage.cloud.connect()
        for _ in range(4):
            stage.cloud.list_servers()
        assert stage.clock.monotonic() >= 4.0  # a date has whole seconds


def test_too_many_calls_hold_up_one_service_only(stage):
    stage.cloud.connect()
    stage.strike("throttle", operations=[LIST], times=1, retry_after=3600.0)
    with pytest.raises(Throttled):
        stage.cloud.list_servers()
    with pytest.raises(Throttled) as caught:
        stage.cloud.list_servers()
    assert caught.value.retry_after == 3600.0
    assert stage.clock.monotonic() < 60.0
    stage.cloud.list_floating_ips()


def test_the_rate_holds_for_every_call_tokens_included():
    with clouds() as (_, login):
        stage = login(rate=1.0)
        stage.cloud.connect()
        sent = sum(stage.cloud.calls.values())
        assert stage.clock.monotonic() == sent - 2  # a burst of two is free


def test_closing_ends_a_wait_for_the_rate():
    with clouds() as (_, login):
        stage = login(rate=30.0)
        stage.clock.at(1.0, stage.cloud.close)
        with pytest.raises(CloudUnavailable, match="stopped"):
            stage.cloud.connect()


# -- logging in ------------------------------------------------------------------------------------------


def test_a_wrong_password_is_told_and_not_tried_again_at_once():
    with clouds() as (sim, login):
        auth = {**sim.clouds_yaml()["clouds"]["north"]["auth"], "password": "wrong"}
        stage = login(settings={"auth": auth})
        assert stage.cloud.login_rest() == 0.0
        with pytest.raises(AuthFailed, match=r"cloud north: identity: POST .*: 401"):
            stage.cloud.connect()
        assert stage.cloud.login_rest() == 60.0
        for _ in range(3):
            with pytest.raises(AuthFailed, match="next login in 60 s"):
                stage.cloud.list_servers()
        assert stage.far.calls["identity.POST.tokens"] == 1
        stage.clock.advance(61.0)
        assert stage.cloud.login_rest() == 0.0
        with pytest.raises(AuthFailed):
            stage.cloud.list_servers()
        assert stage.far.calls["identity.POST.tokens"] == 2
        with pytest.raises(AuthFailed, match="next login in 120 s"):
            stage.cloud.list_servers()


def test_many_threads_with_a_wrong_password_log_in_once():
    with clouds() as (sim, login):
        auth = {**sim.clouds_yaml()["clouds"]["north"]["auth"], "password": "wrong"}
        stage = login(settings={"auth": auth})

        def refused(_):
            with pytest.raises(AuthFailed):
                stage.cloud.list_servers()

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(refused, range(16)))
        assert stage.far.calls["identity.POST.tokens"] == 1


def test_an_application_credential_logs_in():
    with clouds() as (sim, login):
        auth = sim.server.application_credential("north")
        stage = login(settings={"auth_type": "v3applicationcredential", "auth": auth})
        assert stage.cloud.connect().has_network


def test_many_threads_replace_a_forgotten_token_once(stage):
    stage.boot()
    with stage.far.lock:
        stage.far.identity.revoke_all()
    before = stage.far.calls["identity.POST.tokens"]
    with ThreadPoolExecutor(8) as pool:
        lists = list(pool.map(lambda _: stage.cloud.list_servers(), range(24)))
    assert all(listing.items for listing in lists)
    assert stage.far.calls["identity.POST.tokens"] == before + 1


def test_a_token_that_ended_earlier_than_it_said_is_replaced(stage):
    stage.cloud.list_servers()
    stage.clock.advance(3601.0)  # as keystone's clock sees it; ours is the machine's
    stage.cloud.list_servers()
    assert stage.far.calls["identity.POST.tokens"] == 2


def test_a_login_that_is_refused_for_good_after_a_401_is_an_error(stage):
    stage.cloud.connect()
    stage.strike("refuse", operations=[LIST], status=401, message="no")
    with pytest.raises(AuthFailed):
        stage.cloud.list_servers()
    assert stage.far.calls[LIST] == 2


def test_neither_logs_nor_errors_hold_secrets(stage, caplog):
    caplog.set_level(logging.DEBUG)
    auth = stage.far.identity.credentials
    server_id = stage.cloud.create_server(stage.spec(userdata="secret-user-data"))
    stage.strike("http-500", operations=["compute.DELETE.server"])
    with pytest.raises(CloudUnavailable) as caught:
        stage.cloud.delete_server(server_id)
    text = caplog.text + str(caught.value)
    assert "/servers" in text
    assert auth.password == "secret"
    body = "c2VjcmV0LXVzZXItZGF0YQ"  # the user data in base64
    assert not any(word in text for word in ('"secret"', "'secret'", "secret-user-data", body, "adminPass"))
    tokens = [line for line in text.splitlines() if "X-Auth-Token" in line or "X-Subject-Token" in line]
    assert tokens == []


# -- names and caches ------------------------------------------------------------------------------------


def test_a_create_with_a_name_from_an_old_list_is_tried_again_with_fresh_lists(stage):
    stage.boot(security_groups=("default",))
    with stage.far.lock:
        stage.far.networking.create_group("fresh", "")
    server_id = stage.cloud.create_server(stage.spec("np2", security_groups=("fresh",)))
    assert server_id in stage.cloud.list_servers().items


def test_lists_that_hardly_change_are_asked_for_once_in_their_time(stage):
    stage.cloud.connect()
    for _ in range(3):
        stage.cloud.flavors()
        stage.cloud.zones()
        stage.cloud.find_image(IMAGE)
        stage.cloud.connect()
    stage.clock.advance(61.0)
    stage.cloud.find_image(IMAGE)
    stage.clock.advance(240.0)
    stage.cloud.flavors()
    stage.cloud.zones()
    calls = stage.far.calls
    assert calls["image.GET.images"] == 2
    assert calls["compute.GET.flavors_detail"] == calls["compute.GET.os-availability-zone"] == 2
    assert calls["network.GET.networks"] == 1


def test_servers_are_listed_while_the_network_service_is_away(stage):
    stage.strike("http-503", operations=["network.*"])
    spec_free = stage.cloud.list_servers()
    assert spec_free.complete
    asked = stage.far.calls["network.GET.networks"]
    stage.cloud.list_servers()
    assert stage.far.calls["network.GET.networks"] == asked  # not again for a minute
    stage.calm()
    stage.clock.advance(61.0)
    stage.cloud.list_servers()
    assert stage.far.calls["network.GET.networks"] == asked + 1


def test_an_active_server_without_addresses_is_looked_at_by_its_ports(stage):
    stage.strike("no-address", times=1)
    server = stage.boot()
    assert server.addresses.fixed_v4 == ""
    looked = stage.cloud.get_server(server.id)
    with stage.far.lock:
        ports = [p for p in stage.far.networking.ports.values() if p.device_id == server.id]
    assert bool(looked.addresses.fixed_v4) == bool(ports)


def test_key_pairs_are_imported_and_another_key_of_the_name_is_an_error(stage):
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGc1 one@example"
    stage.cloud.import_key("infra", key)
    stage.cloud.import_key("infra", key.replace("one@", "two@"))
    with pytest.raises(ConfigError, match="infra"):
        stage.cloud.import_key("infra", key.replace("AAAAIGc1", "AAAAIGc2"))
    assert stage.boot(key_name="infra").id


def test_a_key_that_the_cloud_refuses_is_told_with_its_own_words(stage):
    stage.strike(
        "refuse", operations=["compute.POST.os-keypairs"], status=400, message="Keypair data is invalid"
    )
    with pytest.raises(Rejected, match="Keypair data is invalid"):
        stage.cloud.import_key("infra", "nonsense")


# -- clouds that cannot be used --------------------------------------------------------------------------


def test_a_cloud_that_is_down_says_so_and_creates_are_not_in_doubt():
    clock = FakeClock(time.time())
    with running(sim_config("nat"), clock.time) as sim:
        cloud = openstack_cloud(sim, clock)
        stage = Stage(cloud=cloud, far=sim.world.clouds["north"], world=sim.world, clock=clock)
        spec = stage.spec()
        cloud.find_image(IMAGE)
        cloud.connect()
    with pytest.raises(CloudUnavailable, match="cloud north: compute: POST"):
        cloud.create_server(spec)
    with pytest.raises(CloudUnavailable, match="cloud north: compute: GET"):
        cloud.list_servers()
    cloud.close()


def test_a_region_that_the_catalog_does_not_have():
    with clouds() as (_, login):
        stage = login(settings={"region_name": "regionone"})
        with pytest.raises(ConfigError, match=r"in region regionone .*regions of the catalog: RegionOne"):
            stage.cloud.connect()


def test_a_network_of_clouds_yaml_that_is_not_there():
    with clouds() as (_, login):
        stage = login(settings={"networks": (CloudNetwork(name="nope", nat_source=True),)})
        with pytest.raises(ConfigError, match="network nope: not found"):
            stage.cloud.connect()


def test_an_endpoint_override_is_used_as_it_is():
    with clouds() as (sim, login):
        base = sim.clouds_yaml()["clouds"]["north"]["auth"]["auth_url"].removesuffix("/identity/v3")
        override = CloudService(endpoint_override=f"{base}/compute/v2.1/%(project_id)s")
        stage = login(settings={"services": {"compute": override}})
        stage.cloud.connect()
        assert stage.cloud.list_servers().complete
        assert "compute.GET.servers_detail" in stage.cloud.calls


def test_a_service_that_clouds_yaml_denies_is_not_used():
    with clouds("direct") as (_, login):
        stage = login(settings={"services": {"network": CloudService(present=False)}})
        assert not stage.cloud.connect().has_network
        assert not any(call.startswith("network.") for call in stage.cloud.calls)


def test_what_a_policy_does_not_show_is_taken_as_unlimited_and_unknown(stage):
    policy = {"status": 403, "message": "Policy doesn't allow it to be performed."}
    operations = ["compute.GET.limits", "compute.GET.os-availability-zone", "network.GET.routers"]
    stage.strike("refuse", operations=operations, **policy)
    assert not stage.cloud.connect().may_need_floating_ips
    assert (stage.cloud.limits(), stage.cloud.zones()) == ({}, ())
    server = stage.boot()
    assert stage.cloud.expose(server, owner=OWNER, auto_floating_ip=True) == server.addresses


def test_security_groups_are_left_out_where_the_cloud_has_none(staged):
    stage = staged("tasks")
    assert stage.boot(security_groups=("anything",)).id


def test_an_image_id_that_is_not_active_is_no_image(stage):
    assert stage.cloud.find_image("7f3f6c7e-0000-4000-8000-000000000000") is None


# -- a server that misbehaves ----------------------------------------------------------------------------


class Crowd:
    """How many were inside at once, at most."""

    def __init__(self) -> None:
        self.most = self._now = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._now -= 1


class Stub(BaseHTTPRequestHandler):
    """A keystone without manners: `answers` by path."""

    protocol_version = "HTTP/1.1"
    answers: dict[str, tuple[int, dict[str, str], bytes]]
    seen: list[tuple[str, str | None]]
    crowd: Crowd

    def do_GET(self) -> None:
        with self.crowd:
            time.sleep(0.005)
            self.reply()

    def reply(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        self.rfile.read(length)
        self.seen.append((self.path, self.headers.get("X-Auth-Token")))
        status, headers, body = self.answers.get(self.path, (404, {}, b"{}"))
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - named by http.server

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def stub(**answers) -> Iterator[tuple[str, type[Stub]]]:
    handler = type("OneStub", (Stub,), {"answers": {}, "seen": [], "crowd": Crowd()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", handler
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def rude(stage) -> Iterator[tuple[Stage, str, type[Stub]]]:
    """The layer on simcloud for everything but compute, which is the stub."""
    with stub() as (url, handler), clouds() as (_, login):
        service = CloudService(endpoint_override=f"{url}/v2.1")
        yield login(settings={"services": {"compute": service}}), url, handler


def redirect(target: str) -> tuple[int, dict[str, str], bytes]:
    return 302, {"Location": target}, b""


def test_a_redirect_to_the_same_host_is_followed(rude):
    stage, _, handler = rude
    handler.answers["/v2.1/limits"] = redirect("/elsewhere/limits")
    handler.answers["/elsewhere/limits"] = (200, {}, b'{"limits": {"absolute": {"maxTotalInstances": 3}}}')
    assert stage.cloud.limits() == {"instances": 3}


def test_a_redirect_to_another_host_does_not_get_the_token(rude):
    stage, url, handler = rude
    other = url.replace("127.0.0.1", "localhost")
    handler.answers["/v2.1/limits"] = redirect(f"{other}/v2.1/limits")
    with pytest.raises(Rejected, match="which was not followed"):
        stage.cloud.limits()
    assert [path for path, _ in handler.seen].count("/v2.1/limits") == 1


def test_a_redirect_without_end_is_given_up(rude):
    stage, _, handler = rude
    handler.answers["/v2.1/limits"] = redirect("/v2.1/limits")
    with pytest.raises(Rejected, match="redirected more than"):
        stage.cloud.limits()


def test_version_documents_are_asked_for_without_the_token_first(rude):
    stage, _, handler = rude
    handler.answers["/v2.1/"] = (401, {}, b"{}")
    handler.answers["/v2.1/limits"] = (200, {}, b'{"limits": {}}')
    assert stage.cloud.limits() == {}
    first, *later = [token for path, token in handler.seen if path == "/v2.1/"]
    assert first is None
    assert later
    assert all(later)


def test_an_answer_that_breaks_off_is_no_answer(rude):
    stage, _, handler = rude
    handler.answers["/v2.1/servers/detail"] = (200, {"Content-Type": "text/html"}, b"<html>welcome</html>")
    with pytest.raises(CloudUnavailable, match=r"with a web page .*proxy or login page is in the way"):
        stage.cloud.list_servers()


def test_one_unreadable_server_does_not_hide_the_others(rude):
    stage, _, handler = rude
    handler.answers["/v2.1/flavors/detail"] = (200, {}, b'{"flavors": []}')
    listed = [{"id": "s-1", "status": "ACTIVE"}, {"id": "s-2", "addresses": "nonsense"}]
    handler.answers["/v2.1/servers/detail"] = (200, {}, json.dumps({"servers": listed}).encode())
    listing = stage.cloud.list_servers()
    assert listing.complete
    statuses = {server.id: server.status for server in listing.items.values()}
    assert statuses == {"s-1": ServerStatus.ACTIVE, "s-2": ServerStatus.UNKNOWN}
    listed.append({"name": "no id"})
    handler.answers["/v2.1/servers/detail"] = (200, {}, json.dumps({"servers": listed}).encode())
    assert not stage.cloud.list_servers().complete


def test_no_more_calls_at_once_than_clouds_yaml_allows():
    with stub() as (url, handler), clouds() as (_, login):
        handler.answers["/v2.1/limits"] = (200, {}, b'{"limits": {}}')
        service = CloudService(endpoint_override=f"{url}/v2.1", concurrency=2)
        stage = login(settings={"services": {"compute": service}})
        stage.cloud.limits()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: stage.cloud.limits(), range(24)))
        assert 1 <= handler.crowd.most <= 2


def test_one_call_does_not_wait_longer_than_its_timeout():
    assert TIMEOUTS[1] < 1.0
    clock = FakeClock(time.time())
    with running(sim_config("nat"), clock.time) as sim:
        cloud = openstack_cloud(sim, clock)
        stage = Stage(cloud=cloud, far=sim.world.clouds["north"], world=sim.world, clock=clock)
        stage.strike("hang", operations=["identity.POST.tokens"])
        with pytest.raises(CloudUnavailable, match="no answer in time; the service hangs"):
            cloud.connect()
        cloud.close()
