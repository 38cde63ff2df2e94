import io
from typing import Any

from protocols.mqtt_payload.topics import Down
from protocols.mqtt_payload.v1 import Ack, Call, Display
from sim.pendant import Received
from sim.phone import PhoneEvent
from sim.story import PHONE_LINES, Story


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def fed(incident: str, what: str, at: str, **data: Any) -> dict[str, Any]:
    entry = {"at": at, "source": "gateway", "what": what, "data": data}
    shown = {"id": incident, "terminal": "P-0002", "kind": "sos"}
    return {"type": "incident", "incident": shown, "entries": [entry]}


def told(story: Story, stream: io.StringIO) -> list[str]:
    story.flush()
    return [line for line in stream.getvalue().splitlines() if line]


def test_steps_are_told_in_order_with_seconds_since_the_press() -> None:
    stream = io.StringIO()
    story = Story(stream)
    story.pressed("e", 1000.0, "P-0001", "sos")
    story.from_phone("agent-1", PhoneEvent(1000.012, "invite", {"headers": {}}))
    story.from_terminal("P-0001", Received(1000.004, Down.ACK, Ack(id="e", state="committed")))
    story.from_phone("agent-1", PhoneEvent(1000.013, "media", {}))  # not a step of the story
    first, second, third = told(story, stream)
    assert "P-0001  按下 sos 键 pressed sos" in first
    assert second == "  +0.004 s  P-0001  平台已受理 committed"
    assert third == "  +0.012 s  ☎ agent-1  来电 INVITE INVITE arrived"


def test_a_press_by_somebody_else_begins_a_story_of_its_own() -> None:
    stream = io.StringIO()
    story = Story(stream, language="zh")
    story.from_feed(fed("I", "press_received", "1970-01-01T00:16:40.000Z", event="hand-1"))
    story.from_feed(fed("I", "bridged", "1970-01-01T00:16:41.500Z"))
    press, received, bridged = told(story, stream)
    assert "P-0002  按下 sos 键" in press
    assert "+0.000 s" in received
    assert bridged == "  +1.500 s  网关 gateway  双方通话"


def test_two_presses_keep_their_own_clocks() -> None:
    stream = io.StringIO()
    story = Story(stream)
    story.pressed("one", 1000.0, "P-0001", "sos")
    story.pressed("two", 1001.0, "P-0002", "sos")
    ack = Ack(id="one", state="committed")
    story.from_terminal("P-0001", Received(1001.5, Down.ACK, ack))
    assert "+1.500 s  P-0001" in told(story, stream)[-1]


def test_the_end_of_a_call_is_known_by_its_press() -> None:
    story = Story(io.StringIO())
    story.pressed("e", 1000.0, "P-0001", "sos")
    story.from_feed(fed("I", "press_received", "1970-01-01T00:16:40.001Z", event="e"))
    assert not story.ended("e")
    story.from_feed(fed("I", "call_ended", "1970-01-01T00:16:50.000Z", outcome="completed"))
    assert story.ended("e")
    story.pressed("f", 1020.0, "P-0001", "sos")
    story.from_feed(fed("I", "press_again", "1970-01-01T00:17:00.001Z", event="f"))
    assert not story.ended("f"), "the same incident is being rung for again"


def test_what_phones_tell_themselves_is_not_told_twice() -> None:
    stream = io.StringIO()
    story = Story(stream, skip=PHONE_LINES)
    story.from_feed(fed("I", "target_ringing", "1970-01-01T00:16:40.000Z"))
    assert told(story, stream) == []


def test_unknown_words_and_hostile_text_are_shown_cleaned() -> None:
    stream = io.StringIO()
    story = Story(stream)
    story.from_feed(fed("I", "new_step", "1970-01-01T00:16:40.000Z", target="\x1b[2Jx"))
    (line,) = told(story, stream)
    assert "new_step" in line
    assert "\x1b" not in line


def test_displays_and_announced_calls_are_told() -> None:
    stream = io.StringIO()
    story = Story(stream)
    story.pressed("e", 1000.0, "P-0001", "sos")
    display, call = (
        Display(id="d", text="来了"),
        Call(id="c", incident="I", auto_answer_until=1045_000),
    )
    story.from_terminal("P-0001", Received(1000.1, Down.DISPLAY, display))
    story.from_terminal("P-0001", Received(1000.2, Down.CALL, call))
    assert "“来了”" in told(story, stream)[1]
    assert "45 s" in told(story, stream)[2]


def test_colours_only_on_a_terminal() -> None:
    plain, coloured = io.StringIO(), Terminal()
    for stream in (plain, coloured):
        story = Story(stream)
        story.pressed("e", 1000.0, "P-0001", "sos")
        story.flush()
    assert "\x1b[" not in plain.getvalue()
    assert "\x1b[1m" in coloured.getvalue()


def test_unsettled_lines_wait() -> None:
    stream = io.StringIO()
    story = Story(stream)
    story.pressed("e", 1000.0, "P-0001", "sos")
    story.flush(before=1000.0)
    assert not stream.getvalue()
    story.flush(before=1000.1)
    assert stream.getvalue()
