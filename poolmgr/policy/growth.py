"""Pauses that double with every failure in a row."""

from __future__ import annotations


def doubling(first: float, times: float, most: float) -> float:
    """`first` seconds doubled so many times, at most `most`. Any number of failures has an answer.

    A cloud that is away for a night fails more than 1,024 times, and 2.0 ** 1024 raises OverflowError.
    """
    return float(min(most, first * 2.0 ** max(0.0, min(times, 60.0))))
