"""Messages after RFC 4475 (names as there, where one exists) and a few of our own."""

from typing import Final

_VIA = "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKt{0}\r\n"
_ENDS = (
    "From: <sip:caller@example.net>;tag=1\r\nTo: <sip:sos@onekey.test>\r\n"
    "Call-ID: t-{0}\r\nMax-Forwards: 70\r\nContact: <sip:caller@192.0.2.1>\r\n"
)


def _make(
    name: str,
    *,
    start: str = "INVITE sip:sos@onekey.test SIP/2.0",
    via: str = _VIA,
    ends: str = _ENDS,
    cseq: str = "CSeq: 1 INVITE\r\n",
    extra: str = "",
    length: str = "Content-Length: 0\r\n",
    body: str = "",
) -> bytes:
    head = via.format(name) + ends.format(name) + cseq + extra + length
    return f"{start}\r\n{head}\r\n{body}".encode("utf-8", "surrogateescape")


TORTURE: Final = {
    # 3.1.1 valid, but
    "wsinv": _make(
        "wsinv",
        ends='TO :\r\n sip:sos@onekey.test ;   tag    = 1918181833n\r\nfrom : "J Rosenberg \\\\\\""'
        "  <sip:j@example.com>\r\n ;\r\n tag = 98asjd8\r\nMaX-fOrWaRdS: 0068\r\nCall-ID: ws\r\n",
        cseq="cseq: 0009\r\n  INVITE\r\n",
        length="Content-Length   : 0\r\n",
    ),
    "intmeth": _make(
        "intmeth",
        start="!interesting-Method0123456789_*+`.%indeed'~ sip:1_unusual.URI~@onekey.test SIP/2.0",
        cseq="CSeq: 1 !interesting-Method0123456789_*+`.%indeed'~\r\n",
    ),
    "esc01": _make("esc01", start="INVITE sip:sips%3Auser%40example.com@onekey.test SIP/2.0"),
    "escnull": _make(
        "escnull",
        start="REGISTER sip:onekey.test SIP/2.0",
        ends="From: sip:null-%00-null@example.com;tag=1\r\nTo: sip:null-%00-null@example.com\r\n"
        "Call-ID: escnull\r\nMax-Forwards: 70\r\nContact: <sip:%00@192.0.2.1>\r\n",
        cseq="CSeq: 1 REGISTER\r\n",
    ),
    "lwsdisp": _make(
        "lwsdisp", ends=_ENDS.replace("From: <", "From: caller<"), cseq="CSeq: 60 OPTIONS\r\n"
    ),
    "longreq": _make(
        "longreq",
        via="".join(f"Via: SIP/2.0/UDP 192.0.2.{n % 250};branch=z9hG4bK{n}\r\n" for n in range(70)),
        extra="Unknown-" + "x" * 2000 + ": " + "y" * 3000 + "\r\n",
    ),
    "dblreq": _make("dblreq", start="REGISTER sip:onekey.test SIP/2.0", cseq="CSeq: 8 REGISTER\r\n")
    + _make("dblreq2"),
    "semiuri": _make("semiuri", start="OPTIONS sip:user;par=u%40example.net@onekey.test SIP/2.0"),
    "transports": _make(
        "transports", extra="Via: SIP/2.0/UNKNOWN t5.example.com;branch=z9hG4bKx\r\n"
    ),
    "mpart01": _make(
        "mpart01",
        extra="Content-Type: multipart/mixed;boundary=x\r\n",
        body="--x\r\nContent-Type: text/plain\r\n\r\nno end",
        length="Content-Length: 40\r\n",
    ),
    # 3.1.2 invalid
    "badinv01": _make(
        "badinv01", extra='Contact: "Joe" <sip:joe@example.org>;;;;\r\nVia: ,;,;,,\r\n'
    ),
    "clerr": _make("clerr", length="Content-Length: 9999\r\n", body="short"),
    "ncl": _make("ncl", length="Content-Length: -999\r\n"),
    "clhuge": _make("clhuge", length="Content-Length: 99999999999999999999\r\n"),
    "noclen": _make("noclen", length=""),
    "scalar02": _make(
        "scalar02",
        ends=_ENDS.replace("70", "300"),
        cseq="CSeq: 36893488147419103232 REGISTER\r\n",
        extra="Expires: 1" + "0" * 100 + "\r\n",
    ),
    "quotbal": _make("quotbal", ends=_ENDS.replace("To: <", 'To: "Mr J. User <')),
    "ltgtruri": _make("ltgtruri", start="INVITE <sip:sos@onekey.test> SIP/2.0"),
    "lwsruri": _make("lwsruri", start="INVITE sip:sos@onekey.test; lr SIP/2.0"),
    "lwsstart": _make("lwsstart", start="INVITE  sip:sos@onekey.test  SIP/2.0"),
    "trws": _make("trws", start="OPTIONS sip:sos@onekey.test SIP/2.0  "),
    "escruri": _make(
        "escruri", start="INVITE sip:sos@onekey.test?Route=%3Csip:example.com%3E SIP/2.0"
    ),
    "baddate": _make("baddate", extra="Date: Fri, 01 Jan 2010 16:00:00 EST\r\n"),
    "regbadct": _make(
        "regbadct",
        start="REGISTER sip:onekey.test SIP/2.0",
        extra="Contact: sip:user@example.com?Route=%3Csip:sip.example.com%3E\r\n",
        cseq="CSeq: 1 REGISTER\r\n",
    ),
    "badaspec": _make("badaspec", ends=_ENDS.replace("<sip:sos@", "<sip:@@sos@")),
    "baddn": _make("baddn", ends=_ENDS.replace("From: <", "From: Bell, Alexander <")),
    "badvers": _make("badvers", start="OPTIONS sip:sos@onekey.test SIP/7.0"),
    "mismatch01": _make("mismatch01", start="OPTIONS sip:sos@onekey.test SIP/2.0"),
    "mismatch02": _make("mismatch02", start="NEWMETHOD sip:sos@onekey.test SIP/2.0"),
    "bigcode": b"SIP/2.0 4294967301 better not break the receiver\r\n"
    + _make("bigcode").split(b"\r\n", 1)[1],
    # 3.2, 3.3
    "badbranch": _make("badbranch", via="Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK\r\n"),
    "insuf": b"INVITE sip:sos@onekey.test SIP/2.0\r\nCSeq: 193942 INVITE\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.95;branch=z9hG4bKkdj.insuf\r\nContent-Length: 0\r\n\r\n",
    "unkscm": _make("unkscm", start="OPTIONS nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0"),
    "novelsc": _make("novelsc", start="INVITE soap.beep://192.0.2.103:3002 SIP/2.0"),
    "unksm2": _make("unksm2", ends=_ENDS.replace("<sip:", "<name:")),
    "bext01": _make("bext01", extra="Require: nothingSupportsThis\r\nProxy-Require: norThis\r\n"),
    "invut": _make(
        "invut",
        extra="Content-Type: application/unknown\r\n",
        body="x",
        length="Content-Length: 1\r\n",
    ),
    "regaut01": _make(
        "regaut01",
        start="REGISTER sip:onekey.test SIP/2.0",
        extra="Authorization: NoOneKnowsThisScheme opaque-data=here\r\n",
        cseq="CSeq: 1 REGISTER\r\n",
    ),
    "multi01": _make("multi01", ends=_ENDS * 3, cseq="CSeq: 5 INVITE\r\nCSeq: 59 INVITE\r\n"),
    "mcl01": _make("mcl01", length="Content-Length: 0\r\nContent-Length: 244\r\n"),
    "zeromf": _make("zeromf", ends=_ENDS.replace("70", "0")),
    "cparam01": _make(
        "cparam01", extra="Contact: sip:+19725552222@gw1.example.net;unknownparam\r\n"
    ),
    "sdp01": _make("sdp01", extra="Accept: text/nobodyKnowsThis\r\n"),
    "inv2543": b"INVITE sip:sos@onekey.test SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP iftgw.example.com\r\n"
    b"From: <sip:1@g>\r\nTo: <sip:2@g>\r\nCall-ID: old@g\r\nCSeq: 56 INVITE\r\n"
    b"Content-Length: 0\r\n\r\n",
    # ours
    "digest_garbage": _make(
        "digest_garbage",
        extra='Proxy-Authorization: Digest username="' + "a" * 4000 + '",realm=,nonce=,,,=\r\n',
    ),
    "many_routes": _make(
        "many_routes", extra="".join(f"Route: <sip:192.0.2.{n};lr>\r\n" for n in range(200))
    ),
    "deep_fold": _make("deep_fold", extra="Subject: a\r\n" + " b\r\n" * 1500),
    "nul_bytes": _make("nul_bytes", extra="Subject: a\0b\0\r\nX\0Y: 1\r\n"),
    "not_utf8": _make("not_utf8", extra="Subject: \udcff\udcfe\udc80\r\n"),
    "colons": b":" * 4000 + b"\r\n\r\n",
    "only_start": b"INVITE sip:sos@onekey.test SIP/2.0\r\n\r\n",
    "tagged_invite": _make("tagged_invite", ends=_ENDS.replace("test>", "test>;tag=guess")),
    "tagged_route": _make(
        "tagged_route",
        ends=_ENDS.replace("test>", "test>;tag=guess"),
        extra="Route: <sip:127.0.0.1;lr>\r\nRoute: <sip:192.0.2.7;lr;r2=on;did=1.2>\r\n",
    ),
}
