from drivers.api.events import AlarmRaised, KeyPressed, PressCancelled
from drivers.api.ids import EventId, TerminalId
from drivers.scaip.config import ScaipConfig
from drivers.scaip.mapping import (
    REPEAT_S,
    ScaipEvent,
    event_id_of,
    response,
    taken,
    terminal_of,
    to_event,
)
from protocols.scaip.meaning import meaning_of
from protocols.scaip.messages import (
    Answer,
    CallTo,
    Media,
    Request,
    Root,
    Status,
    decode_answer,
)

DEFAULT = ScaipConfig()


def said(**changes: str) -> Request:
    return Request(**{"ref": "r1", "cid": "+123456", "dty": "0003", "stc": "0010", **changes})  # type: ignore[arg-type]  # a test's shorthand


def event(request: Request, *, calling: bool = False) -> ScaipEvent:
    return to_event(
        TerminalId("t-1"),
        request,
        meaning_of(request),
        event_id=EventId("e1"),
        received_at=5.0,
        cancels=EventId("e0"),
        calling=calling,
    )


def answered(request: Request, config: ScaipConfig = DEFAULT) -> Answer:
    return taken(request, meaning_of(request), config)


def test_events() -> None:
    pressed = event(said(geo="31.2,121.4"), calling=True)
    assert isinstance(pressed, KeyPressed)
    assert (pressed.key, pressed.calling, pressed.received_at) == ("sos", True, 5.0)
    assert pressed.position is not None
    assert (pressed.position.lat, pressed.position.lon) == (31.2, 121.4)
    raised = event(said(dty="0005", stc="0009"))
    assert isinstance(raised, AlarmRaised)
    assert (raised.alarm, raised.code) == ("fall", "dty=0005;stc=0009")
    cancelled = event(said(stc="0019"))
    assert isinstance(cancelled, PressCancelled)
    assert cancelled.cancels == "e0"


def test_a_terminal_is_its_user_but_a_relays_controller() -> None:
    relays = frozenset({"proxy"})
    assert terminal_of("t-1", said(), relays) == "t-1"
    assert terminal_of("proxy", said(), relays) == "123456"
    assert terminal_of("", said(), relays) is None
    assert terminal_of("a b", said(), relays) is None


def test_a_repeat_has_the_same_id_and_a_reused_reference_another() -> None:
    request = said()
    first = event_id_of(request, b"<mrq/>", received_at=10 * REPEAT_S)
    assert event_id_of(request, b"<mrq/>", received_at=10 * REPEAT_S + 600) == first
    assert event_id_of(request, b"<mrq/>", received_at=12 * REPEAT_S) != first
    assert event_id_of(request, b"<mrq> </mrq>", received_at=10 * REPEAT_S) != first
    assert len(event_id_of(said(ref="x" * 64), b"", received_at=1e12)) <= 64


def test_after_a_press_the_device_calls() -> None:
    assert answered(said()).media is Media.DUPLEX
    assert answered(said()).call_to is CallTo.PREDEFINED
    told = answered(said(), ScaipConfig(call_uri="sip:sos@gw.example"))
    assert (told.call_to, told.number) == (CallTo.TRANSFERRED, "sip:sos@gw.example")


def test_a_device_that_wants_to_be_called_is_called() -> None:
    assert answered(said(cha="1")).media is Media.NO_VOICE
    assert answered(said(), ScaipConfig(voice="gateway")).media is Media.NO_VOICE
    assert answered(said(dty="0005", stc="0009")).media is Media.NO_VOICE


def test_heartbeats_are_told_their_interval() -> None:
    config = ScaipConfig(heartbeat="2")
    assert answered(said(mty="PI"), config).heartbeat == "2"
    assert not answered(said(), config).heartbeat


def test_the_answer_goes_where_the_dialect_wants_it() -> None:
    answer = Answer(ref="r1", status=Status.OK)
    first = response(answer, Root.MRQ, "t-1", DEFAULT)
    assert (first.code, first.body) == (202, "")
    assert first.follow_up is not None
    assert (first.follow_up.user, first.follow_up.content_type) == ("t-1", "application/scaip+xml")
    assert decode_answer(first.follow_up.body.encode()) == answer
    second = response(answer, Root.SCAIP, "t-1", DEFAULT)
    assert (second.code, second.content_type, second.follow_up) == (200, "application/xml", None)
    assert decode_answer(second.body.encode()) == answer
    forced = response(answer, Root.MRQ, "t-1", ScaipConfig(answer_in="response"))
    assert (forced.code, forced.content_type) == (200, "application/scaip+xml")
    assert response(answer, Root.SCAIP, "t-1", ScaipConfig(answer_in="message")).code == 202
