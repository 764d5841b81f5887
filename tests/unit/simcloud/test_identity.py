from __future__ import annotations

from typing import Any

import pytest

from poolmgr.simcloud.identity import Identity
from poolmgr.simcloud.refusal import Refusal
from tests.unit.simcloud.worlds import Scene

DOMAIN = {"name": "Default"}
SCOPE = {"project": {"name": "ci", "domain": DOMAIN}}


def password(**user: Any) -> dict[str, Any]:
    who = {"name": "ci", "domain": DOMAIN, "password": "secret", **user}
    return {"identity": {"methods": ["password"], "password": {"user": who}}, "scope": SCOPE}


def application_credential(identity: Identity, **more: Any) -> dict[str, Any]:
    mine = identity.credentials
    given = {"id": mine.app_id, "secret": mine.app_secret, **more}
    return {"identity": {"methods": ["application_credential"], "application_credential": given}}


def test_a_token_lasts_as_long_as_configured():
    scene = Scene(token_seconds=60)
    identity = scene.cloud.identity
    token = identity.log_in(password())
    assert identity.valid(token.id)
    scene.go(59)
    assert identity.valid(token.id)
    scene.go(1)
    assert not identity.valid(token.id)


def test_an_application_credential_works_and_takes_no_scope():
    identity = Scene().cloud.identity
    auth = application_credential(identity)
    assert identity.valid(identity.log_in(auth).id)
    with pytest.raises(Refusal, match="cannot request a scope"):
        identity.log_in({**auth, "scope": SCOPE})


@pytest.mark.parametrize(
    "auth",
    [
        password(password="wrong"),
        password(name="other"),
        password(domain={"name": "Elsewhere"}),
        {**password(), "scope": {"project": {"name": "other", "domain": DOMAIN}}},
        {"identity": {"methods": ["oracle"]}},
        {"identity": {"methods": ["token"], "token": {"id": "made-up"}}},
        application_credential(Scene().cloud.identity, secret="wrong"),
        {},
    ],
)
def test_wrong_credentials_are_refused(auth: dict[str, Any]):
    with pytest.raises(Refusal) as caught:
        Scene().cloud.identity.log_in(auth)
    assert caught.value.status == 401


def test_without_a_scope_a_token_is_good_for_no_project():
    identity = Scene().cloud.identity
    assert not identity.log_in({**password(), "scope": None}).scoped
    assert identity.log_in(password()).scoped


def test_tokens_can_be_revoked():
    identity = Scene().cloud.identity
    one, two = identity.log_in(password()), identity.log_in(password())
    identity.revoke(one.id)
    assert [identity.valid(one.id), identity.valid(two.id)] == [False, True]
    identity.revoke_all()
    assert not identity.valid(two.id)


def test_the_rate_limit_lets_a_burst_through_and_then_so_many_a_second():
    scene = Scene(rate_limit={"rate": 2, "burst": 3})
    assert [scene.cloud.throttled() for _ in range(3)] == [0, 0, 0]
    assert scene.cloud.throttled() == pytest.approx(0.5)
    scene.go(100)
    assert [scene.cloud.throttled() > 0 for _ in range(4)] == [False, False, False, True]
