"""Where the caller is: PIDF-LO (RFC 4119, RFC 5139, RFC 5491) conveyed by RFC 6442.

Only WGS-84 leaves the house: every receiver reads PIDF-LO as EPSG:4326, and a GCJ-02 position sent
as that would point an ambulance up to 500 m beside the caller.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from protocols.emergency_data.parts import Attached, BodyPart, Origin
from protocols.errors import DecodeError, DecodeReason, LocalUseError
from protocols.markup import Element, document, element, parse, text

CONTENT_TYPE: Final = "application/pidf+xml"
WGS84: Final = "wgs84"

_CRS: Final = "urn:ogc:def:crs:EPSG::4326"  # RFC 5491 §5: WGS-84, latitude first
_METRE: Final = "urn:ogc:def:uom:EPSG::9001"
_NAMESPACES: Final = {
    "xmlns": "urn:ietf:params:xml:ns:pidf",
    "xmlns_dm": "urn:ietf:params:xml:ns:pidf:data-model",
    "xmlns_gp": "urn:ietf:params:xml:ns:pidf:geopriv10",
    "xmlns_gml": "http://www.opengis.net/gml",
    "xmlns_gs": "http://www.opengis.net/pidflo/1.0",
}
_MAX_DOCUMENT: Final = 64 * 1024  # ours has 900 bytes; others' carry civic addresses and rules
_YEAR_10000: Final = 253_402_300_800.0  # the end of datetime's range


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """Degrees, metres, Unix seconds of the fix; `datum` as in the MQTT contract."""

    lat: float
    lon: float
    accuracy_m: float | None = None
    at: float | None = None
    datum: str = WGS84


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A position read back from a PIDF-LO: who, degrees, metres, the time as it was written."""

    entity: str
    lat: float
    lon: float
    accuracy_m: float | None = None
    timestamp: str = ""


def convey(device: str, fix: Fix | None, origin: Origin) -> Attached:
    """Return the Geolocation header (RFC 6442 §4.1) and its part for the terminal `device`.

    Without a position, or with one of another datum, there is a note instead.
    """
    if fix is None:
        return Attached(notes=("position_unknown",))
    if fix.datum != WGS84:
        return Attached(notes=(f"position_left_out_{text(fix.datum, limit=16)}",))
    content_id = origin.content_id("location")
    headers = (
        ("Geolocation", f"<cid:{content_id}>"),
        ("Geolocation-Routing", "no"),  # the call is routed by us already (§4.2)
    )
    body = pidf_lo(device, fix, origin)
    return Attached(headers, (BodyPart(CONTENT_TYPE, content_id, body),))


def pidf_lo(device: str, fix: Fix, origin: Origin) -> bytes:
    """Return the document: a point, or a circle where the accuracy is known (RFC 5491 §5.2).

    Raises LocalUseError for a position that is none, or is not WGS-84.
    """
    _check(fix)
    info = element("gp:location-info", _shape(fix))
    method = element("gp:method", "GPS")  # RFC 4119 §2.2.3; ours come from GNSS receivers
    geopriv = element("gp:geopriv", info + element("gp:usage-rules") + method)
    device_id = element("dm:deviceID", f"urn:x-onekey:terminal:{text(device, limit=64)}")
    inner = geopriv + device_id + _timestamp(fix.at)
    # An XML id begins with a letter; a terminal's id may begin with a digit.
    described = element("dm:device", inner, id=f"t-{device}")
    entity = f"pres:{device}@{origin.domain}"
    return document(element("presence", described, **_NAMESPACES, entity=entity))


def _check(fix: Fix) -> None:
    numbers = (fix.lat, fix.lon, fix.accuracy_m or 0.0)
    if fix.datum != WGS84 or not all(map(math.isfinite, numbers)):
        raise LocalUseError("not a WGS-84 position")
    if abs(fix.lat) > 90 or abs(fix.lon) > 180 or (fix.accuracy_m or 0.0) < 0:
        raise LocalUseError("no such place on Earth")


def _shape(fix: Fix) -> str:
    # Six digits are 0.1 m; more would pretend.
    position = element("gml:pos", f"{fix.lat:.6f} {fix.lon:.6f}")
    if not fix.accuracy_m:
        return element("gml:Point", position, srsName=_CRS)
    radius = element("gs:radius", f"{fix.accuracy_m:.1f}", uom=_METRE)
    return element("gs:Circle", position + radius, srsName=_CRS)


def _timestamp(at: float | None) -> str:
    if at is None or not 0 <= at < _YEAR_10000:
        return ""
    written = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
    return element("dm:timestamp", written.replace("+00:00", "Z"))


def read_pidf_lo(body: bytes) -> Located:
    """Return the first position of a PIDF-LO; raises DecodeError and nothing else."""
    root = parse(body, limit=_MAX_DOCUMENT)
    if root.name != "presence":
        raise DecodeError(DecodeReason.UNKNOWN_TYPE, "not a presence document")
    info = root.descend("location-info")
    shape = info.children[0] if info is not None and info.children else None
    position = shape.descend("pos") if shape is not None else None
    if shape is None or position is None:
        raise DecodeError(DecodeReason.WRONG_SHAPE, "no position")
    if not shape.attributes.get("srsName", "").endswith("4326"):
        raise DecodeError(DecodeReason.WRONG_SHAPE, "not WGS-84")
    lat, lon = _pair(position.text)
    radius, stamp = shape.descend("radius"), root.descend("timestamp")
    return Located(
        entity=root.attributes.get("entity", ""),
        lat=lat,
        lon=lon,
        accuracy_m=_number(radius.text) if radius is not None else None,
        timestamp=_stripped(stamp),
    )


def _pair(written: str) -> tuple[float, float]:
    numbers = [_number(word) for word in written.split()]
    if len(numbers) != 2 or abs(numbers[0]) > 90 or abs(numbers[1]) > 180:
        raise DecodeError(DecodeReason.WRONG_SHAPE, "gml:pos is not latitude and longitude")
    return numbers[0], numbers[1]


def _number(written: str) -> float:
    try:
        number = float(written)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DecodeError(DecodeReason.WRONG_SHAPE, "not a number")
    return number


def _stripped(found: Element | None) -> str:
    return found.text.strip() if found is not None else ""
