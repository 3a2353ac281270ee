"""How long a request is waited for and how often it is tried again.

Three limits hold at once: the time of one attempt, measured to the last byte, so that a server that sends a byte now
and then does not hold a place for ever; the number of attempts; and the time of all of them with the waits between.
A wait doubles from attempt to attempt and is shortened by chance by up to a half, so that requests that failed
together do not come back together. What a server asks for in Retry-After is waited for at least, up to the longest
wait.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_DOUBLINGS = 30
"""More of them are years, and in the end more than a float holds."""


@dataclass(frozen=True)
class Patience:
    """Limits on one request, in seconds and attempts."""

    timeout: float = 120.0
    attempts: int = 6
    deadline: float = 900.0
    first_wait: float = 1.0
    longest_wait: float = 60.0
    silences: int = 20
    """Requests in a row that may end unanswered before the server is taken to be gone."""

    def wait(self, attempts: int, asked: float | None, chance: float) -> float:
        """Return the seconds to wait after this many attempts; ``chance`` is drawn from [0, 1)."""
        backoff = self.first_wait * 2.0 ** min(attempts - 1, _DOUBLINGS) * (1 - chance / 2)
        return min(self.longest_wait, max(backoff, asked or 0.0))


def retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds that a Retry-After header asks for: a number of them or an HTTP date (RFC 9110, 10.2.3).

    None where there is no header, or one that cannot be read.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        return _until(value, now or datetime.now(UTC))
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _until(date: str, now: datetime) -> float | None:
    try:
        then = parsedate_to_datetime(date)
    except ValueError:
        return None
    return max(0.0, (then.replace(tzinfo=then.tzinfo or UTC) - now).total_seconds())
