"""Times of `rebuild-cron`.

An image is built again by `rebuild-age` alone once its newest ready build is so old, by a cron expression alone at its
first time after that build began, and by both at the first of its times at which the build is so old. A time that
passed while no builder ran is made up for.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from functools import lru_cache

from cronsim import CronSim


@lru_cache(maxsize=1024)
def cron_time(expression: str, after: float) -> float:
    """The first time of `expression` (five fields, UTC) later than `after`; both in seconds since the epoch."""
    return next(CronSim(expression, _whole(math.floor(after)))).timestamp()


def cron_time_from(expression: str, at: float) -> float:
    """As `cron_time`, but `at` itself may be the answer."""
    return cron_time(expression, math.ceil(at) - 1)


def _whole(second: int) -> datetime:
    return datetime.fromtimestamp(max(second, 0), UTC)
