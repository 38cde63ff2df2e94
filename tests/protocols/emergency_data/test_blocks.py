import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.emergency_data.blocks import (
    Block,
    Comment,
    Device,
    Mobility,
    Provider,
    Service,
    Subscriber,
    announce,
)
from protocols.emergency_data.location import convey
from protocols.emergency_data.parts import Origin
from protocols.markup import Element, parse

ORIGIN = Origin(stem="01JD0.target-1", domain="onekey.example")
ALL: list[Block] = [
    Provider(name="一键通", contact_uri="tel:+8621962222", provider_id="P1", id_series="local"),
    Service(mobility=Mobility.MOBILE),
    Device(classification="personal", device_id="860000000000001", id_kind="IMEI", model="X-1"),
    Subscriber(subscriber="S-17"),
    Comment(words="跌倒报警"),
]


def roots(blocks: list[Block]) -> list[Element]:
    return [parse(part.body, limit=10_000) for part in announce(blocks, ORIGIN).parts]


def words(root: Element, name: str) -> str:
    found = root.descend(name)
    assert found is not None, name
    return found.text


def test_each_block_is_announced() -> None:
    attached = announce(ALL, ORIGIN)
    assert attached.headers[2] == (
        "Call-Info",
        "<cid:deviceinfo-2.01JD0.target-1@onekey.example>;purpose=EmergencyCallData.DeviceInfo",
    )
    assert attached.parts[2].content_type == "application/EmergencyCallData.DeviceInfo+xml"
    for header, part in zip(attached.headers, attached.parts, strict=True):
        assert f"<cid:{part.content_id}>" in header[1]
    assert len({part.content_id for part in attached.parts}) == len(ALL)


def test_each_block_names_the_provider_and_its_namespace() -> None:
    for root in roots(ALL):
        assert words(root, "DataProviderReference") == "01JD0.target-1@onekey.example"
        name = root.name.removeprefix("EmergencyCallData.")
        assert root.namespace == f"urn:ietf:params:xml:ns:EmergencyCallData:{name}"


def test_what_they_say() -> None:
    provider, service, device, subscriber, comment = roots(ALL)
    assert words(provider, "DataProviderString") == "一键通"
    assert words(provider, "ContactURI") == "tel:+8621962222"
    assert [child.name for child in service.children[1:]] == [
        "ServiceEnvironment",
        "ServiceType",
        "ServiceMobility",
    ]
    assert words(service, "ServiceMobility") == "Mobile"
    identity = device.child("UniqueDeviceID")
    assert identity is not None
    assert (identity.text, identity.attributes) == ("860000000000001", {"TypeOfDeviceID": "IMEI"})
    assert device.child("DeviceMfgr") is None  # unknown is left out, not sent empty
    assert subscriber.attributes["privacyRequested"] == "true"
    said = comment.child("Comment")
    assert said is not None
    assert said.attributes == {"lang": "zh"}
    assert said.text == "跌倒报警"


def test_a_name_goes_out_only_when_it_is_given() -> None:
    silent, named = roots([Subscriber(subscriber="S-17"), Subscriber(subscriber="S-17", name="王")])
    for root, expected in ((silent, "S-17"), (named, "王")):
        card = root.descend("vcard")
        assert card is not None
        assert card.namespace == "urn:ietf:params:xml:ns:vcard-4.0"
        assert [child.name for child in card.children] == ["fn", "uid"]
        assert card.children[0].children[0].text == expected


def test_position_and_blocks_make_one() -> None:
    both = convey("pendant-1", None, ORIGIN) + announce(ALL[:1], ORIGIN)
    assert (len(both.headers), len(both.parts), both.notes) == (1, 1, ("position_unknown",))


@pytest.mark.parametrize(
    "nasty", ["]]><x>", 'a"b', "a\r\nX-Evil: 1", "<!DOCTYPE x>", "\x00\x1b[2J"]
)
def test_markup_of_peers_stays_text(nasty: str) -> None:
    (root,) = roots([Device(classification=nasty, device_id=nasty, id_kind=nasty, model=nasty)])
    assert {child.name for child in root.children} <= {
        "DataProviderReference",
        "DeviceClassification",
        "DeviceModelNr",
        "UniqueDeviceID",
    }


@given(st.text(max_size=3000), st.text(max_size=40))
def test_any_text_makes_a_bounded_document(said: str, language: str) -> None:
    attached = announce([Comment(words=said, language=language)], ORIGIN)
    assert len(attached.parts[0].body) < 5000
    parse(attached.parts[0].body, limit=10_000)
    assert all("\n" not in value and "\r" not in value for _, value in attached.headers)
