"""What a SCAIP request means in the gateway's words: a key, an alarm, a cancel, a sign of life.

Codes are those of SS 91100, as two public implementations list them. What is in no table becomes
the alarm `unmapped` with its codes: shown to a person, never dropped.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from protocols.scaip.messages import Request, code

SOS: Final = "sos"
UNMAPPED: Final = "unmapped"


class Kind(StrEnum):
    """What to make of a request."""

    PRESS = "press"
    ALARM = "alarm"
    CANCEL = "cancel"
    ALIVE = "alive"


@dataclass(frozen=True, slots=True)
class Meaning:
    """`name` is the key of a press or the name of an alarm; `codes` are the device's own."""

    kind: Kind
    name: str = ""
    codes: str = ""


# 0009 "automatic alarm": the device type tells of what.
AUTOMATIC: Final[Mapping[str, str]] = {
    "0002": "alert",  # local unit and controller
    "0003": "alert",  # personal trigger
    "0004": "alert",  # fixed trigger
    "0005": "fall",
    "0006": "attack",  # personal attack trigger
    "0007": "attack",  # panic button
    "0010": "no_motion",  # activity detector
    "0011": "pill_missed",
    "0012": "left_bed",
    "0013": "left_bed",  # mat
    "0014": "door",
    "0015": "fence_leave",  # wandering
    "0016": "enuresis",
    "0017": "seizure",  # epilepsy
    "0018": "no_motion",  # occupancy
    "0019": "heart_rate",
    "0021": "gas",
    "0023": "smoke",
    "0025": "heat",
    "0026": "carbon_monoxide",
    "0028": "intruder",
    "0029": "fence_leave",  # boundary
    "0030": "fall",  # man down
    "0032": "link_lost",  # communication link monitor
    "0033": "water",
    "0034": "water",  # bath
    "0036": "fence_leave",  # perimeter
    "0038": "tamper",
    "0041": "power_cut",  # power supply
    "0044": "left_bed",  # chair
    "0045": "alert",  # controller
    "0047": "smoke",  # fire alarm system
    "0048": "alert",  # local unit
    "0051": "fence_leave",  # tracking device
}
# Pressed by hand: a message without a status code from one of these is a press.
TRIGGERS: Final = frozenset({"0002", "0003", "0004", "0006", "0007", "0045", "0048"})

MANUAL: Final = frozenset(
    {
        "0010",  # manual alarm
        "0011",  # alert
        "0110",  # assistance
    }
)
CANCELS: Final = frozenset({"0002", "0019"})  # abort, cancel
ALARMS: Final[Mapping[str, str]] = {
    "0014": "low_battery",  # failure
    "0016": "low_battery",
    "0023": "link_lost",  # IP
    "0024": "link_lost",  # mobile
    "0025": "link_lost",  # telephone line
    "0026": "link_lost",  # primary
    "0027": "link_lost",  # redundant
    "0063": "link_lost",  # loss
    "0065": "fault",  # maintenance needed
    "0066": "fault",
    "0067": "fault",  # malfunction
    "0042": "fault",  # failure
    "0073": "link_lost",  # offline
    "0081": "pill_missed",
    "0085": "power_cut",
    "0105": "fault",  # trouble
    "0106": "intruder",  # trespass
    "0107": "intruder",  # unauthorised access
    "0123": "link_lost",  # radio test missing
    "0125": "tamper",
}
# Signs of life: all is well, is well again, or is being tested.
ALIVE: Final = frozenset(
    {
        "0015",  # battery ok
        "0020",  # charged
        "0070",  # normal
        "0075",  # online
        "0083",  # pill taken
        "0086",  # power restored
        "0088",  # presence after alarm
        "0089",  # privacy switch
        "0090",  # pulse
        "0091",  # re-established
        "0092",  # automatic reset
        "0093",  # manual reset
        "0094",  # restoral
        "0102",  # test over the primary path
        "0103",  # test over the redundant path
        "0111",  # intervention complete
        "0112",
        "0113",
        "0114",
        "0115",
        "0116",  # links back
        "0121",  # present
        "0124",  # radio test back
    }
)


def meaning_of(request: Request) -> Meaning:
    """Return what a request means; every request means something."""
    status, device = code(request.stc), code(request.dty)
    codes = f"dty={device};stc={status}" if status else f"dty={device}"
    if request.mty in {"PI", "RE"}:  # a heartbeat; an alarm that is over
        return Meaning(Kind.ALIVE, codes=codes)
    if status in CANCELS:
        return Meaning(Kind.CANCEL, codes=codes)
    if status in MANUAL:
        return Meaning(Kind.PRESS, SOS, codes)
    if status in ALIVE or (not status and request.mty == "IN"):
        return Meaning(Kind.ALIVE, codes=codes)
    if not status and device in TRIGGERS:
        return Meaning(Kind.PRESS, SOS, codes)
    by_device = AUTOMATIC.get(device, UNMAPPED) if status in {"", "0009"} else UNMAPPED
    return Meaning(Kind.ALARM, ALARMS.get(status, by_device), codes)


def position_of(request: Request) -> tuple[float, float] | None:
    """Return latitude and longitude (WGS-84, as the standard says), or None."""
    try:
        lat, lon = (float(part) for part in request.geo.split(","))
    except ValueError:
        return None
    return (lat, lon) if abs(lat) <= 90 and abs(lon) <= 180 else None
