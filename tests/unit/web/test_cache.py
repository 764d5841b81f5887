"""Answers are kept for a second, and never many."""

import contextlib

from poolmgr.web.cache import AnswerCache


def test_an_answer_is_made_once_in_its_lifetime():
    cache, made = AnswerCache(lifetime=1.0), []

    def render():
        made.append(1)
        return b"%d" % len(made)

    assert [cache.get("a", render, now=now).body for now in (10.0, 10.9, 11.0)] == [b"1", b"1", b"2"]
    assert cache.get("b", render, now=11.0).body == b"3"


def test_a_clock_set_back_does_not_keep_it():
    cache = AnswerCache()
    cache.get("a", lambda: b"old", now=1000.0)
    assert cache.get("a", lambda: b"new", now=500.0).body == b"new"


def test_what_stays_the_same_is_not_modified():
    cache = AnswerCache()
    bodies = [(b"x", 10.2), (b"x", 11.5), (b"y", 12.9), (b"y", 14.0)]
    seen = [cache.get("a", lambda body=body: body, now=now).modified for body, now in bodies]
    assert seen == [10, 10, 12, 12]


def test_it_never_has_more_than_its_size():
    cache = AnswerCache(size=3)
    for number in range(100):
        cache.get(number, lambda: b"", now=float(number))
    assert len(cache) == 3
    cache.get(99, lambda: b"made again", now=99.5)
    assert cache.get(99, lambda: b"made again", now=99.9).body == b""


def test_a_failure_is_not_kept():
    cache = AnswerCache()
    with contextlib.suppress(ZeroDivisionError):
        cache.get("a", lambda: 1 / 0, now=0.0)
    assert cache.get("a", lambda: b"fine", now=0.0).body == b"fine"
