"""SCAIP (SS 91100:2014, CLC/TS 50134-9) requests and answers: XML in the body of a SIP MESSAGE.

Two dialects are in the field: root `mrq` answered by `mrs`, and root `scaip` for both. Of a request
only `ref`, `cid` and `dty` are mandatory, as in the standard. An optional field that breaks its
pattern is left out instead of costing the alarm; texts are cleaned and cut.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import IntEnum, StrEnum
from typing import Final

from protocols.errors import DecodeError, DecodeReason
from protocols.markup import Element, document, element, optional, parse
from protocols.text import clean_text

# A request with every field filled is 1.5 KB; SIP over UDP carries 64 KB.
MAX_BODY: Final = 8192


class Root(StrEnum):
    """The root of a request, which tells the dialect."""

    MRQ = "mrq"
    SCAIP = "scaip"


class Status(IntEnum):
    """`snu` of an answer."""

    OK = 0
    TOO_LONG = 1
    BAD_FORMAT = 2
    WRONG_DATA = 3
    HOLD = 4
    NOT_TREATED = 5
    BUSY = 6
    TAG_MISSING = 7


class Media(IntEnum):
    """`mre`: which way the voice goes."""

    NO_VOICE = 0
    DUPLEX = 1
    MICROPHONE_ONLY = 2
    SPEAKER_ONLY = 3


class CallTo(IntEnum):
    """`cre`: whom the device calls."""

    PREDEFINED = 61
    TRANSFERRED = 62  # the number in `tnu`


class ScaipRefused(DecodeError):
    """A request that cannot be taken: `status` and `ref` are for the answer."""

    def __init__(
        self,
        reason: DecodeReason,
        detail: str,
        *,
        status: Status,
        ref: str = "",
        root: Root = Root.MRQ,
    ) -> None:
        super().__init__(reason, detail)
        self.status = status
        self.ref = ref
        self.root = root


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a device says, by the names of the standard; "" for what it left out.

    Codes are as sent; `code()` makes them comparable. `geo` is "latitude,longitude" in degrees.
    """

    ref: str
    cid: str  # controller
    dty: str  # device type
    root: Root = Root.MRQ
    ver: str = ""
    sco: str = ""  # system configuration
    cha: str = ""  # "0" the device will call, "1" it wants to be called
    mty: str = ""  # ME message, RE reset, IN information, PI heartbeat
    hbo: str = ""
    did: str = ""  # device
    dco: str = ""  # component
    dte: str = ""
    crd: str = ""  # caller id or SIP URI for the way back
    stc: str = ""  # status code
    stt: str = ""
    pri: str = ""
    lco: str = ""  # location code
    lva: str = ""
    lte: str = ""
    ico: str = ""
    ite: str = ""
    ame: str = ""  # more messages follow
    geo: str = ""
    tim: str = ""
    gga: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is said to a device; `call_to` and `number` mean something only with voice."""

    ref: str
    status: Status
    text: str = ""
    media: Media | None = None
    call_to: CallTo | None = None
    number: str = ""
    heartbeat: str = ""  # `hbi`


# Wider than the standard where devices in the field are: controllers such as "+123456", device ids
# of 12 characters, references with a hyphen.
_REF: Final = re.compile(r"[0-9A-Za-z_.-]{1,64}", re.ASCII)
_CID: Final = re.compile(r"\+?[0-9A-Za-z_.-]{1,32}", re.ASCII)
_CODE: Final = re.compile(r"[0-9]{1,4}", re.ASCII)
_OPTIONAL: Final[Mapping[str, re.Pattern[str]]] = {
    "ver": re.compile(r"[0-9]{1,2}\.[0-9]{1,2}", re.ASCII),
    "sco": re.compile(r"[0-9]", re.ASCII),
    "cha": re.compile(r"[0-9]", re.ASCII),
    "mty": re.compile(r"ME|RE|IN|PI"),
    "hbo": re.compile(r"[0-9]{1,3}", re.ASCII),
    "did": re.compile(r"[0-9A-Za-z_.:+-]{1,32}", re.ASCII),
    "dco": _CODE,
    "stc": _CODE,
    "pri": re.compile(r"[0-9]", re.ASCII),
    "lco": _CODE,
    "ico": _CODE,
    "ame": re.compile(r"[01]"),
    "geo": re.compile(r"[-+]?[0-9.]{1,12},[-+]?[0-9.]{1,12}", re.ASCII),
    "tim": re.compile(r"[0-9T:.+Z-]{10,32}", re.ASCII),
    "gga": re.compile(r"[0-9A-Za-z$,.*-]{1,82}", re.ASCII),
}
_TEXTS: Final[Mapping[str, int]] = {
    "dte": 32,
    "crd": 256,
    "stt": 32,
    "lva": 8,
    "lte": 32,
    "ite": 128,
}
_IN_LGE: Final = frozenset({"geo", "tim", "gga"})


def code(written: str, digits: int = 4) -> str:
    """Return a code with its leading zeros; "" for none."""
    return written.zfill(digits) if written else ""


def decode_request(body: bytes) -> Request:
    """Decode a request; raises ScaipRefused and nothing else."""
    try:
        root = parse(body, limit=MAX_BODY)
    except DecodeError as error:
        too_long = error.reason is DecodeReason.TOO_LARGE
        status = Status.TOO_LONG if too_long else Status.BAD_FORMAT
        raise ScaipRefused(error.reason, error.detail, status=status) from error
    try:
        dialect = Root(root.name)
    except ValueError as error:
        raise ScaipRefused(
            DecodeReason.UNKNOWN_TYPE, "root is neither mrq nor scaip", status=Status.WRONG_DATA
        ) from error
    return _request(root, dialect)


def _request(root: Element, dialect: Root) -> Request:
    ref = _text(root, "ref")
    echo = ref if _REF.fullmatch(ref) else ""
    for name, pattern in (("ref", _REF), ("cid", _CID), ("dty", _CODE)):
        written = _text(root, name)
        if not pattern.fullmatch(written):
            status = Status.BAD_FORMAT if written else Status.TAG_MISSING
            detail = f"{name} is {'malformed' if written else 'missing'}"
            raise ScaipRefused(
                DecodeReason.WRONG_SHAPE, detail, status=status, ref=echo, root=dialect
            )
    place = root.child("lge")
    chosen = {name: _matching(place if name in _IN_LGE else root, name) for name in _OPTIONAL}
    texts = {name: _words(root, name, limit) for name, limit in _TEXTS.items()}
    return Request(
        ref=ref, cid=_text(root, "cid"), dty=_text(root, "dty"), root=dialect, **chosen, **texts
    )


def _text(parent: Element | None, name: str) -> str:
    found = parent.child(name) if parent is not None else None
    return found.text.strip() if found is not None else ""


def _matching(parent: Element | None, name: str) -> str:
    written = _text(parent, name)
    return written if _OPTIONAL[name].fullmatch(written) else ""


def _words(root: Element, name: str, limit: int) -> str:
    return clean_text(_text(root, name), limit=limit)


def encode_request(request: Request) -> bytes:
    """Return a request as a device sends it (for simulated devices)."""
    written = {one.name: str(getattr(request, one.name)) for one in fields(request)}
    inner = "".join(
        optional(name, value, limit=256)
        for name, value in written.items()
        if name not in _IN_LGE and name != "root"
    )
    place = "".join(optional(name, written[name]) for name in sorted(_IN_LGE))
    return document(element(request.root.value, inner + (element("lge", place) if place else "")))


def encode_answer(answer: Answer, root: Root = Root.MRQ) -> bytes:
    """Return the answer in the dialect of a request with `root`."""
    inner = optional("ref", answer.ref) + element("snu", str(answer.status.value))
    inner += optional("ste", answer.text, limit=128)
    if answer.media is not None:
        inner += element("mre", str(answer.media.value))
    if answer.call_to is not None:
        inner += element("cre", str(answer.call_to.value))
    inner += optional("tnu", answer.number, limit=256) + optional("hbi", answer.heartbeat)
    return document(element("mrs" if root is Root.MRQ else "scaip", inner))


def decode_answer(body: bytes) -> Answer:
    """Decode an answer, as a device does; raises DecodeError and nothing else."""
    root = parse(body, limit=MAX_BODY)
    if root.name not in {"mrs", "scaip"}:
        raise DecodeError(DecodeReason.UNKNOWN_TYPE, "root is neither mrs nor scaip")
    try:
        return Answer(
            ref=clean_text(_text(root, "ref"), limit=64),
            status=Status(int(_text(root, "snu"))),
            text=_words(root, "ste", 128),
            media=Media(int(_text(root, "mre"))) if _text(root, "mre") else None,
            call_to=CallTo(int(_text(root, "cre"))) if _text(root, "cre") else None,
            number=_words(root, "tnu", 256),
            heartbeat=_words(root, "hbi", 8),
        )
    except ValueError as error:
        raise DecodeError(DecodeReason.WRONG_SHAPE, "a number means nothing") from error
