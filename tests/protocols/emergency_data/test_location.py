import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.emergency_data.location import Fix, convey, pidf_lo, read_pidf_lo
from protocols.emergency_data.parts import DISPOSITION, Origin
from protocols.errors import DecodeError, LocalUseError
from protocols.markup import parse

ORIGIN = Origin(stem="01JD0.target-1", domain="onekey.example")
HERE = Fix(lat=31.230416, lon=121.473701, accuracy_m=25.0, at=1_790_000_000.0)
# RFC 5491 §5.2.3 (shortened): what others write.
THEIRS = b"""<?xml version="1.0" encoding="UTF-8"?>
<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:gp="urn:ietf:params:xml:ns:pidf:geopriv10"
  xmlns:gs="http://www.opengis.net/pidflo/1.0" xmlns:gml="http://www.opengis.net/gml"
  entity="pres:circle@example.com">
  <tuple id="circle"><status><gp:geopriv><gp:location-info>
    <gs:Circle srsName="urn:ogc:def:crs:EPSG::4326">
      <gml:pos>42.5463 -73.2512</gml:pos>
      <gs:radius uom="urn:ogc:def:uom:EPSG::9001">850.24</gs:radius>
    </gs:Circle>
  </gp:location-info><gp:usage-rules/><gp:method>OTDOA</gp:method></gp:geopriv></status>
  <timestamp>2007-06-22T20:57:29Z</timestamp></tuple>
</presence>"""


def test_the_header_points_at_the_part() -> None:
    attached = convey("pendant-1", HERE, ORIGIN)
    (part,) = attached.parts
    assert attached.headers == (
        ("Geolocation", "<cid:location.01JD0.target-1@onekey.example>"),
        ("Geolocation-Routing", "no"),
    )
    assert part.content_id == "location.01JD0.target-1@onekey.example"
    assert part.content_type == "application/pidf+xml"
    assert part.disposition == DISPOSITION
    assert not attached.notes


def test_what_is_written_is_read_back() -> None:
    found = read_pidf_lo(pidf_lo("pendant-1", HERE, ORIGIN))
    assert found.entity == "pres:pendant-1@onekey.example"
    assert (found.lat, found.lon, found.accuracy_m) == (31.230416, 121.473701, 25.0)
    assert found.timestamp == "2026-09-21T14:13:20Z"


def test_without_accuracy_it_is_a_point() -> None:
    body = pidf_lo("0755", replace(HERE, accuracy_m=None, at=None), ORIGIN)
    root = parse(body, limit=10_000)
    assert root.descend("Point") is not None
    assert root.descend("Circle") is None
    device = root.child("device")
    assert device is not None
    assert device.attributes["id"] == "t-0755"
    assert device.namespace == "urn:ietf:params:xml:ns:pidf:data-model"
    found = read_pidf_lo(body)
    assert found.accuracy_m is None
    assert not found.timestamp


def test_the_chinese_datum_does_not_leave_as_wgs84() -> None:
    attached = convey("pendant-1", replace(HERE, datum="gcj02"), ORIGIN)
    assert (attached.headers, attached.parts) == ((), ())
    assert attached.notes == ("position_left_out_gcj02",)
    with pytest.raises(LocalUseError):
        pidf_lo("pendant-1", replace(HERE, datum="gcj02"), ORIGIN)


def test_no_position_is_said() -> None:
    assert convey("pendant-1", None, ORIGIN).notes == ("position_unknown",)


@pytest.mark.parametrize(
    "fix",
    [
        Fix(lat=91, lon=0),
        Fix(lat=0, lon=181),
        Fix(lat=math.nan, lon=0),
        Fix(lat=0, lon=math.inf),
        Fix(lat=0, lon=0, accuracy_m=-1),
        Fix(lat=0, lon=0, accuracy_m=math.inf),
    ],
)
def test_no_place_is_a_defect(fix: Fix) -> None:
    with pytest.raises(LocalUseError):
        pidf_lo("pendant-1", fix, ORIGIN)


@pytest.mark.parametrize("stem", ["", "a b", "a\r\nX: y", "a>", "-a", "é"])
def test_an_id_that_would_break_a_header_is_refused(stem: str) -> None:
    with pytest.raises(LocalUseError):
        Origin(stem=stem)


def test_others_documents_are_read() -> None:
    found = read_pidf_lo(THEIRS)
    assert (found.lat, found.lon, found.accuracy_m) == (42.5463, -73.2512, 850.24)
    assert found.timestamp == "2007-06-22T20:57:29Z"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"<presence", b"<!DOCTYPE p><presence"),
        (b"presence", b"absence"),
        (b"gml:pos", b"gml:none"),
        (b"42.5463 -73.2512", b"42.5463"),
        (b"42.5463 -73.2512", b"142.5463 -73.2512"),
        (b"42.5463 -73.2512", b"nan nan"),
        (b"850.24", b"far"),
        (b"EPSG::4326", b"EPSG::4490"),
        (b"</presence>", b""),
    ],
)
def test_broken_documents_are_refused(old: bytes, new: bytes) -> None:
    with pytest.raises(DecodeError):
        read_pidf_lo(THEIRS.replace(old, new))


@given(
    st.floats(-90, 90),
    st.floats(-180, 180),
    st.none() | st.floats(0, 1e7),
    st.none() | st.floats(-1e15, 1e15),
    st.text(max_size=30),
)
def test_every_place_survives_the_way(
    lat: float, lon: float, accuracy_m: float | None, at: float | None, device: str
) -> None:
    fix = Fix(lat=lat, lon=lon, accuracy_m=accuracy_m, at=at)
    found = read_pidf_lo(pidf_lo(device, fix, ORIGIN))
    assert abs(found.lat - lat) <= 1e-6
    assert abs(found.lon - lon) <= 1e-6


@given(st.binary(max_size=300))
def test_random_bytes_are_a_position_or_refused(body: bytes) -> None:
    with pytest.raises(DecodeError):
        read_pidf_lo(body)
