"""Additional data of an emergency call (RFC 7852): who vouches, which service, device, person.

Each block is a part of its own, announced by `Call-Info: <cid:…>;purpose=EmergencyCallData.X`
(§6.1). Elements stand in the order of the schemas of §8. Texts are cleaned and cut.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from protocols.emergency_data.parts import Attached, BodyPart, Origin
from protocols.markup import document, element, optional, text

_URN: Final = "urn:ietf:params:xml:ns:EmergencyCallData:"
_VCARD: Final = "urn:ietf:params:xml:ns:vcard-4.0"  # xCard, RFC 6351
_COMMENT_MAX: Final = 500


class Environment(StrEnum):
    """Where a service is used (§4.2.1)."""

    BUSINESS = "Business"
    RESIDENCE = "Residence"
    UNKNOWN = "unknown"


class Mobility(StrEnum):
    """Whether the place may change (§4.2.3)."""

    MOBILE = "Mobile"
    FIXED = "Fixed"
    NOMADIC = "Nomadic"
    UNKNOWN = "unknown"


class ServiceType(StrEnum):
    """Two of the registry of §4.2.2: with and without a person who monitors or speaks."""

    SENSOR_ATTENDED = "sensor-attended"
    SENSOR_UNATTENDED = "sensor-unattended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """Who sends the data (§4.1); `contact_uri` reaches a person there by SIP or telephone."""

    name: str
    contact_uri: str
    provider_id: str = ""
    id_series: str = ""
    kind: str = "Telematics Provider"  # registry of §4.1.4
    language: str = "zh"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What kind of service calls (§4.2)."""

    environment: Environment = Environment.RESIDENCE
    kind: ServiceType = ServiceType.SENSOR_ATTENDED
    mobility: Mobility = Mobility.UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """The terminal (§4.3). `id_kind` is IMEI, MAC, SN, … of the registry of §4.3.4."""

    classification: str  # registry of §4.3.1: fixed, personal, sensor-mobile, …
    device_id: str
    id_kind: str = "SN"
    manufacturer: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriber:
    """The person (§4.4): an id; a name only where the operator chose to hand names on."""

    subscriber: str
    name: str = ""
    privacy_requested: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment:
    """A sentence for the call taker (§4.5)."""

    words: str
    language: str = "zh"


Block = Provider | Service | Device | Subscriber | Comment


def announce(blocks: Sequence[Block], origin: Origin) -> Attached:
    """Return one part and one Call-Info header per block."""
    headers, parts = [], []
    for number, block in enumerate(blocks):
        name, body = _written(block, origin)
        content_id = origin.content_id(f"{name.lower()}-{number}")
        headers.append(("Call-Info", f"<cid:{content_id}>;purpose=EmergencyCallData.{name}"))
        parts.append(BodyPart(f"application/EmergencyCallData.{name}+xml", content_id, body))
    return Attached(tuple(headers), tuple(parts))


def _written(block: Block, origin: Origin) -> tuple[str, bytes]:
    match block:
        case Provider():
            return "ProviderInfo", _block("ProviderInfo", origin, _provider(block))
        case Service():
            return "ServiceInfo", _block("ServiceInfo", origin, _service(block))
        case Device():
            return "DeviceInfo", _block("DeviceInfo", origin, _device(block))
        case Subscriber():
            private = "true" if block.privacy_requested else "false"
            inner = _subscriber(block)
            return "SubscriberInfo", _block(
                "SubscriberInfo", origin, inner, privacyRequested=private
            )
        case Comment():
            words = element(
                "Comment", text(block.words, limit=_COMMENT_MAX), xml_lang=block.language
            )
            return "Comment", _block("Comment", origin, words)


def _block(name: str, origin: Origin, inner: str, **attributes: str) -> bytes:
    reference = element("DataProviderReference", text(origin.reference, limit=400))
    return document(
        element(f"EmergencyCallData.{name}", reference + inner, xmlns=_URN + name, **attributes)
    )


def _provider(block: Provider) -> str:
    return (
        optional("DataProviderString", block.name)
        + optional("ProviderID", block.provider_id)
        + optional("ProviderIDSeries", block.id_series)
        + optional("TypeOfProvider", block.kind)
        + optional("ContactURI", block.contact_uri)
        + optional("Language", block.language, limit=35)  # BCP 47 §4.4.1
    )


def _service(block: Service) -> str:
    return (
        element("ServiceEnvironment", block.environment.value)
        + element("ServiceType", block.kind.value)
        + element("ServiceMobility", block.mobility.value)
    )


def _device(block: Device) -> str:
    identity = element("UniqueDeviceID", text(block.device_id), TypeOfDeviceID=block.id_kind)
    return (
        optional("DeviceClassification", block.classification)
        + optional("DeviceMfgr", block.manufacturer)
        + optional("DeviceModelNr", block.model)
        + identity
    )


def _subscriber(block: Subscriber) -> str:
    # A vCard must have a full name (RFC 6350 §6.2.1); without a name it is the id.
    name = element("fn", element("text", text(block.name or block.subscriber)))
    uid = element("uid", element("text", text(block.subscriber)))
    card = element("vcard", name + uid, xmlns=_VCARD)
    return element("SubscriberData", card)
