"""How fast one worker may dial. Pure: whoever asks brings the time."""

# PJSIP 2.15 aborts when calls follow each other faster than about 15 in a second in one process
# for some time. A full bucket of 4 and a rate of 10/s make at most 14 in any second, and the two
# first legs of two calls need not wait for each other.
BURST = 4


class Pacer:
    """A token bucket that may run into debt: each turn is told how long to wait for it."""

    def __init__(self, rate: float, *, burst: int, now: float) -> None:
        """Start full. `rate` in dials per second, `burst` in dials, `now` in monotonic seconds."""
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._at = now

    def take(self, now: float) -> float:
        """Take a turn; return the seconds to wait before it (0 = at once)."""
        self._fill(now)
        self._tokens -= 1
        return max(0.0, -self._tokens / self._rate)

    def wait_for(self, dials: int, now: float) -> float:
        """Return the seconds until `dials` turns are free (no more than the burst); takes none."""
        self._fill(now)
        return max(0.0, (min(dials, self._burst) - self._tokens) / self._rate)

    def _fill(self, now: float) -> None:
        gained = max(0.0, now - self._at) * self._rate
        self._tokens = min(float(self._burst), self._tokens + gained)
        self._at = max(self._at, now)
