from __future__ import annotations

from poolmgr.builder.upload_slots import UploadSlots


class Turns:
    """Slots whose limit can be changed, and who was called."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.called: list[str] = []
        self.slots = UploadSlots(lambda: self.limit, self.called.append)


def test_no_limit():
    slots = Turns(0).slots
    assert all(slots.take(name) for name in "abcdefgh")


def test_who_waited_longest_is_next():
    turns = Turns(1)
    slots = turns.slots
    assert slots.take("a")
    assert not slots.take("b")
    assert not slots.take("c")
    assert not slots.take("a")
    slots.give()
    assert turns.called == ["b"]
    assert not slots.take("c")  # however quick it is
    assert not slots.take("a")
    assert slots.take("b")
    slots.give()
    assert slots.take("c")
    slots.give()
    assert slots.take("a")


def test_a_provider_that_wants_nothing_any_more_holds_up_nobody():
    turns = Turns(1)
    slots = turns.slots
    assert slots.take("a")
    assert not slots.take("b")
    assert not slots.take("c")
    slots.give()
    slots.forgo("b")
    assert turns.called == ["b", "c"]
    assert slots.take("c")
    slots.forgo("nobody")


def test_a_new_limit_holds_at_once():
    turns = Turns(1)
    slots = turns.slots
    assert slots.take("a")
    assert not slots.take("b")
    turns.limit = 2
    assert slots.take("b")
    turns.limit = 1
    slots.give()
    assert not slots.take("c")
    slots.give()
    assert slots.take("c")
