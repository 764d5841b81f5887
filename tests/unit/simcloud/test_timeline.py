from __future__ import annotations

from poolmgr.simcloud.timeline import Timeline


class Hand:
    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def test_events_happen_in_order_of_time_at_their_planned_time():
    now, seen = Hand(), []
    timeline = Timeline(now)
    timeline.after(2.0, lambda: seen.append(("second", timeline.time)))
    timeline.after(1.0, lambda: seen.append(("first", timeline.time)))
    timeline.after(9.0, lambda: seen.append(("later", timeline.time)))
    now.at = 105.0
    assert timeline.settle() == 105.0
    assert seen == [("first", 101.0), ("second", 102.0)]
    assert timeline.next_at == 109.0


def test_an_event_plans_from_its_own_time_not_from_the_look_at_it():
    now, seen = Hand(), []
    timeline = Timeline(now)
    timeline.after(1.0, lambda: timeline.after(1.0, lambda: seen.append(timeline.time)))
    now.at = 200.0
    timeline.settle()
    assert seen == [102.0]


def test_a_clock_set_back_stops_the_world_and_does_not_rewind_it():
    now = Hand()
    timeline = Timeline(now)
    now.at = 110.0
    timeline.settle()
    now.at = 50.0
    assert timeline.settle() == 110.0
