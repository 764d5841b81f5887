"""Every key of the configuration does something: with it in the file something else can be seen than without it."""

from collections import Counter

import pytest

from tests.scenario import keys_elsewhere, keys_openstack, keys_static
from tests.scenario.every_key import Acts, Elsewhere, differing, paths, source_of

ACTS = (*keys_openstack.KEYS, *keys_static.KEYS)


@pytest.mark.parametrize("key", ACTS, ids=str)
def test_it_is_seen_where_it_acts(tmp_path, key: Acts) -> None:
    assert key.seen != key.otherwise
    assert key.look(key.settings(tmp_path, given=True)) == key.seen
    assert key.look(key.settings(tmp_path, given=False)) == key.otherwise


@pytest.mark.parametrize("key", keys_elsewhere.KEYS, ids=str)
def test_it_arrives_where_another_test_shows_that_it_acts(tmp_path, key: Elsewhere) -> None:
    one, other = (key.settings(tmp_path, given=given) for given in (True, False))
    assert key.field in differing(one, other)
    text = source_of(key.test)
    assert text, f"there is no {key.test}"
    words = [key.word] if key.word else [key.field, key.path.rpartition(".")[2]]
    assert any(word in text for word in words), f"{key.test} says nothing of {words}"


def test_no_key_is_left_out() -> None:
    known = Counter(key.path for key in (*ACTS, *keys_elsewhere.KEYS))
    assert [path for path in paths() if path not in known] == []
    assert [path for path, times in known.items() if times > 1] == []
    assert set(known) <= set(paths())
