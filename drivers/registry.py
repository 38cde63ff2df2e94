"""Drivers by name: "module:factory", imported on use, so a site without pjsua2 serves watches.

A driver in another package registers an entry point in the group `onekey.drivers`.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from drivers.api.driver import Driver

ENTRY_POINT_GROUP = "onekey.drivers"

BUILT_IN: dict[str, str] = {
    "mqtt": "drivers.mqtt.driver:create",
    "scaip": "drivers.scaip.driver:create",
    "template": "drivers._template.driver:create",
}

Factory = Callable[[dict[str, Any]], Driver]


class UnknownDriver(LookupError):
    """No driver of that name is built in or installed."""


def names() -> list[str]:
    """Return the names of all drivers, built in and installed, sorted."""
    return sorted({*BUILT_IN, *(point.name for point in entry_points(group=ENTRY_POINT_GROUP))})


def load(name: str) -> Factory:
    """Import the factory of driver `name`: a function from its config section to a Driver."""
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        factory: Factory = getattr(import_module(module), attribute)
        return factory
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name == name:
            loaded: Factory = point.load()
            return loaded
    raise UnknownDriver(f"no driver {name!r}; there are: {', '.join(names())}")
