"""Readiness: which part keeps the gateway from serving presses, in words for a probe."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Whether all is well, and what each part says."""

    ready: bool
    parts: dict[str, str]  # part → "ok" or what is wrong


class HealthBoard:
    """Collects the checks of the parts; each check returns "" when all is well."""

    def __init__(self) -> None:
        self._checks: dict[str, Callable[[], str]] = {}
        self._links: dict[str, bool] = {}
        self._expected: set[str] = set()
        self.draining = False

    def watch(self, part: str, check: Callable[[], str]) -> None:
        """Ask `check` for `part` whenever readiness is asked for."""
        self._checks[part] = check

    def expect(self, driver: str) -> None:
        """Be unready until `driver` has said how its connections stand."""
        self._expected.add(driver)

    def link(self, driver: str, name: str, up: bool) -> None:  # noqa: FBT001 (a plain callback)
        """Note the state of a driver's connection."""
        self._expected.discard(driver)
        self._links[f"{driver}.{name}"] = up

    def read(self) -> Health:
        """Return the health of this moment."""
        parts = {part: check() or "ok" for part, check in self._checks.items()}
        parts |= {name: "ok" if up else "not connected" for name, up in self._links.items()}
        parts |= dict.fromkeys(self._expected, "not started")
        if self.draining:
            parts["daemon"] = "draining"
        return Health(ready=all(word == "ok" for word in parts.values()), parts=parts)
