from drivers.api.ids import CallId
from drivers.sip.call_book import CallBook


def test_calls_are_counted_not_legs() -> None:
    book = CallBook()
    for call in ("a", "a", "b", "a"):
        book.enter(CallId(call))
    assert book.carried == 2


def test_callers_have_numbers_of_their_own() -> None:
    book = CallBook()
    names = [book.caller(CallId(call)) for call in ("a", "b", "a")]
    assert names == ["a.caller-1", "b.caller-1", "a.caller-2"]
    assert book.carried == 2


def test_memory_is_bounded_and_keeps_the_latest() -> None:
    book = CallBook(memory=2)
    book.caller(CallId("a"))
    book.enter(CallId("b"))
    book.enter(CallId("a"))  # now b is the oldest
    book.enter(CallId("c"))
    assert book.caller(CallId("a")) == "a.caller-2"
    assert book.carried == 3
    book.enter(CallId("b"))
    assert book.carried == 4
