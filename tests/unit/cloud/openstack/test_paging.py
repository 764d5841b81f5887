from __future__ import annotations

import json

import pytest

from poolmgr.cloud.openstack.errors import Call
from poolmgr.cloud.openstack.paging import next_query, read_pages
from poolmgr.cloud.openstack.session import Answer
from poolmgr.errors import AuthFailed, CloudUnavailable

CALL = Call("north", "compute", "GET", "http://nova.example/v2.1/servers")


class Book:
    """Pages by marker; an exception instead of a page is raised."""

    def __init__(self, **pages):
        self.asked = []
        self._pages = pages

    def __call__(self, query):
        self.asked.append(query)
        marker = (query.get("marker") or ["first"])[0]
        page = self._pages[marker]
        if isinstance(page, Exception):
            raise page
        return Answer(status=200, headers={}, content=json.dumps(page).encode(), call=CALL)


def page(*names, then=None, host="http://elsewhere.example"):
    links = [{"rel": "next", "href": f"{host}/servers?marker={then}&limit=2"}] if then else []
    return {"servers": [{"id": name} for name in names], "servers_links": links}


def ids(pages):
    return [item["id"] for item in pages.items]


def test_links_are_followed_to_the_end_by_their_query_alone():
    book = Book(first=page("a", "b", then="b"), b=page("c", "d", then="d"), d=page("e"))
    pages = read_pages(book, "servers", {"x": "1"})
    assert (ids(pages), pages.complete) == (["a", "b", "c", "d", "e"], True)
    assert book.asked == [{"x": "1"}, {"marker": ["b"], "limit": ["2"]}, {"marker": ["d"], "limit": ["2"]}]


def test_a_failed_page_makes_the_list_incomplete():
    pages = read_pages(Book(first=page("a", then="a"), a=CloudUnavailable("500")), "servers", {})
    assert (ids(pages), pages.complete) == (["a"], False)


def test_a_failed_first_page_is_an_error():
    with pytest.raises(CloudUnavailable):
        read_pages(Book(first=CloudUnavailable("500")), "servers", {})


def test_a_refused_login_is_an_error_on_any_page():
    with pytest.raises(AuthFailed):
        read_pages(Book(first=page("a", then="a"), a=AuthFailed("401")), "servers", {})


def test_pages_that_go_in_circles_end_incomplete():
    book = Book(first=page("a", then="a"), a=page("b", then="b"), b=page("c", then="a"))
    pages = read_pages(book, "servers", {})
    assert (ids(pages), pages.complete) == (["a", "b", "c"], False)
    assert len(book.asked) == 3


@pytest.mark.parametrize(
    ("document", "headers", "query"),
    [
        ({"servers_links": [{"rel": "previous", "href": "/x?marker=0"}]}, {}, None),
        ({"next": "/v2/images?marker=m&limit=25"}, {}, {"marker": ["m"], "limit": ["25"]}),
        ({}, {"link": '<http://h/x?marker=m>; rel="next", <http://h/y>; rel="first"'}, {"marker": ["m"]}),
        ({}, {}, None),
    ],
)
def test_where_the_next_page_is_told(document, headers, query):
    assert next_query(document, "servers", headers) == query
