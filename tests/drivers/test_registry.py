import pytest

from drivers import registry


def test_built_in_drivers_are_listed() -> None:
    assert {"mqtt", "template"} <= set(registry.names())


def test_unknown_driver_names_the_known_ones() -> None:
    with pytest.raises(registry.UnknownDriver, match="mqtt"):
        registry.load("pigeon")
