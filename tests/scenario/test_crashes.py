"""kill -9 before and after every act on the outside world: nothing is lost, nothing leaks."""

from __future__ import annotations

import pytest

from tests.scenario.harness import Fuse, Site, provider


def crash_run(shape: str, at: int, *, after: bool) -> int:
    """One run with a crash at act number `at`, then a new process; returns how many acts the first one made."""
    cloud = {"shape": shape, "boot": 1.0}
    site = Site({"one": cloud}, [provider("one")])
    fuse = Fuse(at, after=after)
    site.start(fuse)
    requests = [site.submit("small"), site.submit("small", "small")]
    open_requests = set(requests)

    def done() -> bool:
        for request in list(open_requests):
            if site.fulfilled(request):
                site.use(request)
                open_requests.discard(request)
        if not any(process.alive for process in site.processes):
            site.start()
        return not open_requests

    assert site.run(done), (at, after, site.left())
    assert site.run(lambda: done() and site.is_clean(), seconds=200), (at, after, site.left())
    assert len(site.processes) == (2 if at < 10_000 else 1)
    return fuse.count


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("shape", ["direct", "nat"])
def test_a_crash_at_any_act_loses_and_leaks_nothing(shape: str, after: bool) -> None:
    total = crash_run(shape, 10_000, after=after)
    assert 20 < total < 200
    for at in range(1, total + 1):
        crash_run(shape, at, after=after)
