import random

from drivers.mqtt.acks import AckPump


def test_acknowledges_in_the_order_of_arrival() -> None:
    sent: list[int] = []
    pump = AckPump()
    pump.connected(sent.append)
    tokens = [pump.arrived(mid) for mid in range(1, 51)]
    shuffled = tokens.copy()
    random.Random(1).shuffle(shuffled)
    for token in shuffled:
        before = list(sent)
        pump.settle(token)
        settled = {t.mid for t in tokens if t.settled}
        assert sent[: len(before)] == before
        assert set(sent) <= settled
    assert sent == list(range(1, 51))
    assert pump.waiting == 0


def test_nothing_overtakes_the_first() -> None:
    sent: list[int] = []
    pump = AckPump()
    pump.connected(sent.append)
    first, second = pump.arrived(7), pump.arrived(8)
    pump.settle(second)
    assert sent == []
    assert pump.waiting == 2
    pump.settle(first)
    assert sent == [7, 8]


def test_tokens_of_an_earlier_connection_are_void() -> None:
    old: list[int] = []
    new: list[int] = []
    pump = AckPump()
    pump.connected(old.append)
    stale = pump.arrived(1)
    pump.disconnected()
    assert not pump.is_current(stale)
    pump.settle(stale)
    pump.connected(new.append)
    fresh = pump.arrived(1)  # brokers use packet ids again
    pump.settle(stale)
    assert (old, new) == ([], [])
    pump.settle(fresh)
    assert (old, new) == ([], [1])


def test_settling_twice_acknowledges_once() -> None:
    sent: list[int] = []
    pump = AckPump()
    pump.connected(sent.append)
    token = pump.arrived(1)
    pump.settle(token)
    pump.settle(token)
    assert sent == [1]


def test_qos_0_counts_but_is_not_acknowledged() -> None:
    sent: list[int] = []
    pump = AckPump()
    pump.connected(sent.append)
    token = pump.arrived(None)
    assert pump.waiting == 1
    pump.settle(token)
    assert (pump.waiting, sent) == (0, [])
    stale = pump.arrived(None)
    pump.disconnected()
    pump.settle(stale)
    assert pump.waiting == 0
