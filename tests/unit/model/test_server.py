from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolmgr.errors import ConfigError
from poolmgr.model.server import LIBRARY, Owner, owner_of_metadata, owner_of_tag

MINE = {"nodepool_node_id": "0000000007", "nodepool_provider_name": "north"}


def test_the_metadata_of_our_servers_names_owner_and_attempt():
    metadata = {**MINE, "poolmgr_deployment": "d" * 32, "poolmgr_attempt": "2"}
    assert owner_of_metadata(metadata) == Owner(
        provider="north", node_id="0000000007", deployment="d" * 32, attempt=2
    )


def test_the_metadata_of_nodepools_servers_names_no_deployment():
    assert owner_of_metadata(MINE) == Owner(provider="north", node_id="0000000007")


@pytest.mark.parametrize("deployment", ["d" * 32, LIBRARY])
def test_an_owner_is_read_from_what_it_wrote(deployment):
    owner = Owner(provider="north", node_id="0000000007", deployment=deployment, attempt=1)
    assert owner_of_metadata(owner.metadata()) == owner
    assert owner.same(owner_of_tag(owner.tag()))
    assert not owner.same(None)


def test_what_the_library_makes_is_nobodys_node():
    """Nodepool deletes servers that name its provider and no node it knows, whoever made them."""
    owner = Owner(provider="north", node_id="7", deployment=LIBRARY)
    assert not [key for key in owner.metadata() if key.startswith("nodepool")]
    assert not owner.belongs_to("north", "d" * 32)


@pytest.mark.parametrize("missing", [*MINE])
def test_without_node_or_provider_a_server_is_foreign(missing):
    assert owner_of_metadata({k: v for k, v in MINE.items() if k != missing}) is None
    assert owner_of_metadata({**MINE, missing: ""}) is None


@pytest.mark.parametrize("attempt", ["", "two", "-1", "1.5", "²", " 1"])
def test_an_attempt_that_is_no_number_is_unknown(attempt):
    owner = owner_of_metadata({**MINE, "poolmgr_attempt": attempt})
    assert owner is not None
    assert owner.attempt is None


NAMES = st.text(alphabet="ab:%3A25 é", max_size=12)


@given(NAMES, NAMES, NAMES)
def test_a_tag_says_whose_a_thing_is_whatever_all_are_called(deployment, provider, node_id):
    owner = Owner(deployment=deployment or None, provider=provider, node_id=node_id)
    assert owner_of_tag(owner.tag()) == owner


def test_a_plain_tag_is_plain():
    assert Owner(provider="north", node_id="7", deployment="d").tag() == "poolmgr:d:north:7"


@given(st.tuples(NAMES, NAMES, NAMES), st.tuples(NAMES, NAMES, NAMES))
def test_the_same_owner_has_the_same_tag_and_nobody_else(one, other):
    first, second = (Owner(deployment=d or None, provider=p, node_id=n) for d, p, n in (one, other))
    assert first.same(second) is (first.tag() == second.tag())


def test_the_attempt_is_in_the_metadata_and_not_in_the_tag():
    one, two = (Owner(provider="north", node_id="7", deployment="d", attempt=n) for n in (1, 2))
    assert one.tag() == two.tag()
    assert one.same(two)
    assert owner_of_metadata(one.metadata()) == one


def test_a_tag_that_clouds_would_not_take_is_refused():
    Owner(provider="n" * 200, node_id="0" * 10, deployment="d" * 32).tag()
    with pytest.raises(ConfigError, match="give the provider a shorter name"):
        Owner(provider="n" * 205, node_id="0" * 10, deployment="d" * 32).tag()


@pytest.mark.parametrize(
    "text",
    ["", "poolmgr", "poolmgr:d:north", "web server", "Poolmgr:d:north:7", ":d:north:7", "poolmgr:d:a:b:7"],
)
def test_other_texts_are_no_tags(text):
    assert owner_of_tag(text) is None
