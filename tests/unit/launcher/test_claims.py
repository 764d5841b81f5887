from __future__ import annotations

from poolmgr.launcher.claims import Claims


def test_a_request_is_claimed_by_one_worker_until_it_lets_go():
    claims = Claims()
    assert claims.claim("200-1")
    assert not claims.claim("200-1")
    assert "200-1" in claims
    claims.release("200-1")
    assert "200-1" not in claims
    assert claims.claim("200-1")


def test_claims_do_not_touch_each_other_and_may_be_released_twice():
    claims = Claims()
    assert claims.claim("200-1")
    assert claims.claim("200-2")
    claims.release("200-2")
    claims.release("200-2")
    assert "200-1" in claims
