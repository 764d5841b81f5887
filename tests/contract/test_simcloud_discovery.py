"""Version documents, catalogs and pages of a pretend cloud over real HTTP: what is right, and every lie."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from poolmgr.simcloud import running
from tests.contract.sim_api import Api, Hand, api

MICRO = "X-OpenStack-Nova-API-Version"
SERVICES = ("identity", "compute", "network", "image", "volume", "object/info")


@pytest.fixture
def nat():
    with api("nat") as client:
        yield client


def document(client: Api, path: str, **more: Any) -> requests.Response:
    """A version document, asked for without a token."""
    base = client.auth["auth_url"].removesuffix("/identity/v3")
    return requests.get(f"{base}/{path}", timeout=10, allow_redirects=False, **more)


# -- version documents -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["identity", "compute", "compute/v2.1", "network", "image", "volume"])
def test_links_may_name_another_host(nat: Api, path: str):
    right = document(nat, path).text
    assert nat.sim.url in right
    for message, origin in (("", "https://internal.example:8443"), ("http://10.0.0.1", "http://10.0.0.1")):
        nat.plan("wrong-links", "*.GET.discovery", message=message)
        wrong = document(nat, path).text
        assert wrong == right.replace(nat.sim.url, origin)
        nat.state("/faults", "DELETE")


@pytest.mark.parametrize("path", SERVICES)
def test_documents_may_be_missing_or_pages_of_a_proxy(nat: Api, path: str):
    assert document(nat, path).status_code in (200, 300)
    nat.plan("missing", "*.GET.*", times=1)
    assert document(nat, path).status_code == 404
    nat.plan("garbage", "*.GET.*", times=1, status=502)
    page = document(nat, path)
    assert (page.status_code, page.headers["Content-Type"]) == (502, "text/html")


def test_a_document_may_want_a_token(nat: Api):
    nat.plan("guarded", "network.GET.discovery")
    assert document(nat, "network").status_code == 401
    token = {"X-Auth-Token": str(nat.http.headers["X-Auth-Token"])}
    assert document(nat, "network", headers=token).status_code == 200


def test_any_document_may_come_with_300_or_301(nat: Api):
    nat.plan("multiple-choices", "compute.GET.discovery")
    answer = document(nat, "compute")
    assert (answer.status_code, len(answer.json()["versions"])) == (300, 2)
    nat.plan("redirect", "network.GET.discovery", times=1, status=301)
    moved = document(nat, "network")
    assert (moved.status_code, moved.headers["Location"]) == (
        301,
        "http://elsewhere.example/cloud-one/network",
    )
    nat.plan("redirect", "network.GET.discovery", message="https://other.example/network/v2.0/")
    assert document(nat, "network").headers["Location"] == "https://other.example/network/v2.0/"


@pytest.mark.parametrize("path", ["identity", "image", "volume"])
def test_a_document_may_have_entries_that_mean_nothing(nat: Api, path: str):
    nat.plan("odd-versions", "*.GET.discovery")
    versions = document(nat, path).json()["versions"]
    rows = versions["values"] if isinstance(versions, dict) else versions
    assert (rows[0]["id"], rows[0]["status"], rows[1]) == ("v99.0", "EXPERIMENTAL", {})
    assert ["links" in row for row in rows[2:6]] == [True, True, False, True]


@pytest.mark.parametrize(
    ("microversions", "most", "flavor", "tagged"),
    [(["2.1", "2.1"], "2.1", "id", False), (["2.1", "2.46"], "2.46", "id", True), ([], "", "id", False)],
)
def test_old_clouds_have_few_microversions_or_none(
    microversions: list[str], most: str, flavor: str, tagged: bool
):
    with api(microversions=microversions) as client:
        by_id = {v["id"]: v for v in document(client, "compute").json()["versions"]}
        assert by_id["v2.1"]["version"] == most
        server_id = client.create()
        headers = {MICRO: most} if most else {}
        shown = client.get("compute", f"/servers/{server_id}", headers=headers)["server"]
        assert (flavor in shown["flavor"], "tags" in shown) == (True, tagged)


# -- the catalog -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "ends"),
    [
        ({"image": "image/v1"}, {"image": "/cloud-one/image/v1"}),
        ({"image": "image/v2/", "network": "network/v2.0"}, {"network": "/cloud-one/network/v2.0"}),
        ({"compute": "compute/v2/{project_id}"}, {"compute": "/compute/v2/{project}"}),
        ({"compute": "https://other.example/compute"}, {"compute": "https://other.example/compute"}),
    ],
)
def test_the_catalog_says_what_it_is_told_to(said: dict[str, str], ends: dict[str, str]):
    with api(catalog=said) as client:
        project = client.sim.world.clouds["one"].identity.credentials.project_id
        for kind, path in ends.items():
            (listed,) = {e["url"] for e in catalog(client)[kind]}
            assert listed.endswith(path.replace("{project}", project))


def catalog(client: Api) -> dict[str, list[dict[str, Any]]]:
    """Service type -> its endpoints."""
    rows = client.http.get(f"{client.auth['auth_url']}/auth/catalog", timeout=10).json()["catalog"]
    return {row["type"]: row["endpoints"] for row in rows}


def test_services_can_be_taken_out_and_endpoints_be_internal_only(nat: Api):
    nat.state("/settings", "POST", {"without": ["network", "volume"], "interfaces": ["internal"]})
    listed = catalog(nat)
    assert {"network", "volumev3", "block-storage"} & set(listed) == set()
    assert {e["interface"] for e in listed["compute"]} == {"internal"}
    assert document(nat, "network").status_code == 404
    nat.state("/settings", "POST", {"without": [], "catalog": {"object-store": None}})
    assert "object-store" not in catalog(nat)
    assert "network" in catalog(nat)


def test_a_service_may_be_listed_that_is_not_there():
    with api("novanet", catalog={"network": "network"}) as client:
        assert "network" in client.urls
        assert client.call("GET", "network", "/networks").status_code == 404


@pytest.mark.parametrize(("there", "said"), [("v2", "v1"), ("v1", "v2")])
def test_a_catalog_may_be_wrong_about_the_version_of_glance(there: str, said: str):
    with api(image_api={"versions": [there]}, catalog={"image": f"image/{said}"}) as client:
        (listed,) = {e["url"] for e in catalog(client)["image"]}
        assert listed.endswith(said)
        answer = requests.get(listed, timeout=10)
        assert (answer.status_code, answer.json()["versions"][0]["id"][:2]) == (300, there)
        token = {"X-Auth-Token": str(client.http.headers["X-Auth-Token"])}
        assert requests.post(f"{listed}/images", json={}, headers=token, timeout=10).status_code == 404


def test_the_shapes_that_lie_and_that_are_strict():
    with api("lying") as client:
        assert [e["url"].rsplit("/", 1)[1] for e in catalog(client)["image"]] == ["v1", "v1"]
        assert (
            document(client, "image").json()["versions"][0]["links"][0]["href"].startswith("https://internal")
        )
        client.state("/faults", "DELETE")
        assert client.sim.url in document(client, "image").text
    with api("strict") as client:
        for service, path, status in (
            ("compute", "/limits", 403),
            ("compute", "/os-quota-sets/x/detail", 403),
            ("network", "/quotas/x/details.json", 403),
            ("block-storage", "/limits", 403),
            ("compute", "/os-availability-zone", 404),
        ):
            assert client.call("GET", service, path).status_code == status, path
        assert document(client, "compute").status_code == 401
        client.boot(networks=[{"uuid": client.get("network", "/networks?name=private")["networks"][0]["id"]}])


def test_two_regions_share_one_keystone():
    config = {
        "clouds": {
            "south": {"region-of": "north", "region": "South", "shape": "nat"},
            "north": {"region": "North"},
        }
    }
    with running(config, Hand()) as sim:
        entries = sim.clouds_yaml()["clouds"]
        assert entries["north"]["regions"] == ["North", "South"]
        assert entries["south"]["region_name"] == "South"
        assert entries["south"]["auth"] == entries["north"]["auth"]
        client = Api(sim, "north", Hand())
        by_region = {e["region"]: e["url"] for e in catalog(client)["compute"]}
        assert by_region == {
            "North": f"{sim.url}/cloud-north/compute/v2.1",
            "South": f"{sim.url}/cloud-south/compute/v2.1",
        }
        assert len({e["url"] for e in catalog(client)["identity"]}) == 1
        flavors = {r: client.http.get(f"{u}/flavors", timeout=10).json() for r, u in by_region.items()}
        assert flavors["North"] != flavors["South"]
        client.http.close()


# -- pages -----------------------------------------------------------------------------------------------


def pages(client: Api) -> list[tuple[str, str, str]]:
    """(service, path, operation) of each list that can have pages, with at least three things in each."""
    for n in range(3):
        client.create(f"n{n}")
        client.call("POST", "block-storage", "/volumes", {"volume": {"size": 1}})
        client.call("POST", "image", "/images", {"name": f"i{n}"})
    client.clock.go(5)
    return [
        ("compute", "/servers/detail", "servers"),
        ("compute", "/flavors/detail", "flavors"),
        ("network", "/ports", "ports"),
        ("image", "/images", "images"),
        ("block-storage", "/volumes/detail", "volumes"),
    ]


def next_of(body: dict[str, Any]) -> str | None:
    links = [v for k, v in body.items() if k.endswith("_links")]
    return body.get("next") or (links[0][0]["href"] if links else None)


def test_the_next_page_may_be_said_to_be_elsewhere(nat: Api):
    lists = pages(nat)
    nat.plan("foreign-next", "*.GET.*", message="http://thief.example:81")
    for service, path, _ in lists:
        href = next_of(nat.get(service, f"{path}?limit=1"))
        assert href is not None
        assert href.startswith("http://thief.example:81/"), path
        assert "marker=" in href


def test_the_second_page_may_lead_to_itself(nat: Api):
    lists = pages(nat)
    nat.plan("repeated-page", "*.GET.*")
    for service, path, key in lists:
        first = nat.get(service, f"{path}?limit=1")
        second_query = str(next_of(first)).split("?")[1]
        second = nat.get(service, f"{path}?{second_query}")
        assert second[key][0]["id"] != first[key][0]["id"]
        assert str(next_of(second)).split("?")[1] == second_query, path
    nat.call("PUT", "object-store", "/c")
    nat.call("PUT", "object-store", "/c/a")
    assert nat.call("GET", "object-store", "/c?marker=a").text == "a\n"


def test_the_next_page_may_stand_in_a_header(nat: Api):
    for service, path, key in pages(nat):
        nat.plan("link-header", "*.GET.*", times=1)
        answer = nat.call("GET", service, f"{path}?limit=2")
        assert set(answer.json()) <= {key, "first", "schema"}
        query = answer.links["next"]["url"].split("?")[1]
        assert nat.get(service, f"{path}?{query}")[key][0] not in answer.json()[key]


def test_neutron_pages_by_itself_where_the_operator_caps_it():
    with api(network_page_size=2) as client:
        pages(client)
        first = client.get("network", "/ports?limit=100")
        assert len(first["ports"]) == 2
        assert "marker=" in str(next_of(first))


# -- the rest of the conversation ------------------------------------------------------------------------


def test_an_answer_may_be_cut_off(nat: Api):
    body = nat.server_body()
    nat.plan("cut", "compute.*", times=2)
    for method in ("GET", "POST"):
        with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
            nat.call(method, "compute", "/servers", body if method == "POST" else None)
    nat.state("/faults", "DELETE")
    assert nat.state()["servers"] == 1  # it was done


def test_the_date_may_be_wrong(nat: Api):
    nat.plan("wrong-date", "compute.GET.limits", seconds=-7200)
    answer = nat.call("GET", "compute", "/limits")
    assert answer.headers["Date"] == "Tue, 14 Nov 2023 20:13:20 GMT"


@pytest.mark.parametrize(
    ("envelope", "says"),
    [
        ("service", '"overLimit"'),
        ("gateway", '"status": "429"'),
        ("faultstring", '"faultstring"'),
        ("html", "<title>429"),
        ("text", "This request was rate-limited."),
    ],
)
def test_refusals_come_in_every_envelope(nat: Api, envelope: str, says: str):
    nat.plan("throttle", "compute.GET.limits", envelope=envelope)
    answer = nat.call("GET", "compute", "/limits")
    assert answer.status_code == 429
    assert says in answer.text
    assert answer.headers["Retry-After"] == "1"


@pytest.mark.parametrize(
    ("header", "shown"), [("seconds", "90"), ("date", "Tue, 14 Nov 2023 22:14:50 GMT"), ("none", None)]
)
@pytest.mark.parametrize("status", [429, 413])
def test_a_limit_says_when_to_come_again_or_not(nat: Api, header: str, shown: str | None, status: int):
    nat.plan("throttle", "compute.GET.limits", header=header, retry_after=90, status=status)
    answer = nat.call("GET", "compute", "/limits")
    assert (answer.status_code, answer.headers.get("Retry-After")) == (status, shown)
    assert list(answer.json()) == ["overLimit"]
