from gateway.health import HealthBoard


def test_ready_while_every_part_is_well() -> None:
    board = HealthBoard()
    word = ""
    board.watch("store", lambda: word)
    board.link("mqtt", "events", up=True)
    health = board.read()
    assert health.ready
    assert health.parts == {"store": "ok", "mqtt.events": "ok"}
    word = "database is locked"
    health = board.read()
    assert not health.ready
    assert health.parts["store"] == "database is locked"


def test_a_link_that_is_down_is_named_until_it_is_back() -> None:
    board = HealthBoard()
    board.link("mqtt", "events", up=True)
    board.link("mqtt", "state", up=False)
    assert board.read().parts == {"mqtt.events": "ok", "mqtt.state": "not connected"}
    assert not board.read().ready
    board.link("mqtt", "state", up=True)
    assert board.read().ready


def test_a_driver_that_has_not_said_a_word_is_not_ready() -> None:
    """The page is served before the drivers run: until then presses reach nobody."""
    board = HealthBoard()
    board.expect("mqtt")
    assert board.read().parts == {"mqtt": "not started"}
    assert not board.read().ready
    board.link("mqtt", "events", up=True)
    assert board.read().parts == {"mqtt.events": "ok"}


def test_draining_is_not_ready() -> None:
    board = HealthBoard()
    assert board.read().ready
    board.draining = True
    assert board.read().parts == {"daemon": "draining"}
    assert not board.read().ready
