"""The system's clock."""

import time


class SystemClock:
    """Implements drivers.api.clock.Clock with the machine's clocks."""

    def time(self) -> float:
        """Return seconds since the Unix epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()
