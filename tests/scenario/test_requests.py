"""How requests share what there is: tenants, pools, quotas; and what happens when one is cancelled."""

from __future__ import annotations

from collections import Counter

import pytest

from poolmgr.model.request import RequestState
from tests.scenario.harness import Site, provider

DIRECT = {"shape": "direct", "boot": 2.0}


def tenants_served(site: Site, waiting: dict[str, str], count: int) -> Counter[str]:
    """Use what is fulfilled until `count` of `waiting` (request -> tenant) were; how many of each tenant were."""
    served: Counter[str] = Counter()

    def done() -> bool:
        for request in [r for r in waiting if site.fulfilled(r)]:
            served[waiting.pop(request)] += 1
            site.use(request)
        return served.total() >= count

    assert site.run(done, seconds=2000)
    return served


@pytest.mark.parametrize("launchers", [1, 2])
def test_tenants_share_a_short_pool_however_much_one_asks_for(launchers: int) -> None:
    site = Site({"one": DIRECT}, [provider("one", pool={"limits": {"instances": 4}})], fair_tenants=True)
    waiting = {site.submit("small", tenant_name="many"): "many" for _ in range(100)}
    waiting |= {site.submit("small", tenant_name="some"): "some" for _ in range(10)}
    waiting |= {site.submit("small", tenant_name="one"): "one" for _ in range(1)}
    for _ in range(launchers):
        site.start()
    served = tenants_served(site, waiting, 24)
    assert served["one"] == 1
    assert served["some"] == 10
    assert sum(tenants_served(site, waiting, len(waiting)).values()) > 80


def test_without_fair_tenants_who_came_first_is_served_first() -> None:
    site = Site({"one": DIRECT}, [provider("one", pool={"limits": {"instances": 4}})])
    waiting = {site.submit("small", tenant_name="many"): "many" for _ in range(20)}
    waiting |= {site.submit("small", tenant_name="one"): "one"}
    site.start()
    assert tenants_served(site, waiting, 16)["one"] == 0


def test_a_tenant_that_has_much_already_lets_others_go_first() -> None:
    site = Site({"one": DIRECT}, [provider("one", pool={"limits": {"instances": 3}})], fair_tenants=True)
    site.start()
    has = [site.submit("small", tenant_name="rich") for _ in range(3)]
    assert site.run(lambda: site.fulfilled(*has))
    more = [site.submit("small", tenant_name="rich") for _ in range(2)]
    late = [site.submit("small", tenant_name="poor") for _ in range(2)]
    site.use(has[0])
    assert site.run(lambda: site.fulfilled(late[0]))
    assert site.state(more[0]) is RequestState.REQUESTED
