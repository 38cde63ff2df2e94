"""A SIP phone without a person: answers, plays a tone, records what it hears, tells what happens.

    python -m sim.sip_ua --port 5070 --rtp-base 42000 --tone 440 --answer-after 0.2 --json

Commands on stdin, one per line: `answer`, `hangup`, `dtmf 123`, `hold`, `unhold`, `refer URI`; a
call's number may follow, else the youngest is meant; and `call URI`, `header NAME: VALUE` (for the
calls that follow), `quit`. Events on stdout: with --json one object per line, `event` is one of
ready, registered, invite, calling, response, ringing, answered, media, dtmf, refer, ending, gone,
recorded, refused. `response` has the code of each answer to a call of ours, 100 and 180 included.

With `--edge HOST:PORT --domain DOMAIN --password …` the phone registers and calls through the edge.
"""

import argparse
import json
import os
import select
import stat
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pjsua2 as pj

POLL_MS = 10
MAX_CALLS = 4  # PJSUA_MAX_CALLS of the registry's wheel; the fifth gets 486 from PJSIP itself
QUIT_PUMP_S = 0.3
CODES: Final = {"busy": 486, "decline": 603}

Say = Callable[..., None]


def headers_of(message: str) -> dict[str, list[str]]:
    """Return the header fields of a SIP message by lower-case name, values in order."""
    found: dict[str, list[str]] = {}
    for line in message.split("\r\n\r\n", 1)[0].split("\r\n")[1:]:
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip().lower(), []).append(value.strip())
    return found


class UaCall(pj.Call):  # type: ignore[misc] # pjsua2 has no stubs
    """One call of the phone. All callbacks run on the one thread, inside libHandleEvents."""

    def __init__(self, phone: "Phone", number: int, call_id: int) -> None:
        pj.Call.__init__(self, phone.account, call_id)
        self.phone = phone
        self.number = number
        self.accepted = False  # we said 200; `answered` is the caller's ACK
        self.answered = False
        self.gone = False
        self.recorder: pj.AudioMediaRecorder | None = None
        self.tone: pj.ToneGenerator | None = None
        self.file: Path | None = None

    def reply(self, code: int) -> None:
        """Answer with `code`."""
        prm = pj.CallOpParam()
        prm.statusCode = code
        self.answer(prm)

    def onCallState(self, prm: pj.OnCallStateParam) -> None:  # noqa: ARG002, N802 pjsua2's name
        """Tell about the answer and the end."""
        info = self.getInfo()
        if info.state == pj.PJSIP_INV_STATE_CONFIRMED and not self.answered:
            self.answered = True
            self.phone.on_answered(self)
        elif info.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            self.gone = True
            self.phone.say(
                "gone",
                call=self.number,
                code=info.lastStatusCode,
                reason=info.lastReason,
                talk_s=info.connectDuration.sec + info.connectDuration.msec / 1000,
            )

    def onCallTsxState(self, prm: pj.OnCallTsxStateParam) -> None:  # noqa: N802 same
        """Tell the answers to our INVITE, and the Reason of the peer's CANCEL or BYE."""
        if prm.e.type != pj.PJSIP_EVENT_TSX_STATE:
            return
        change = prm.e.body.tsxState
        if change.type != pj.PJSIP_EVENT_RX_MSG:
            return
        if change.tsx.method == "INVITE" and change.tsx.role == pj.PJSIP_ROLE_UAC:
            self.phone.say("response", call=self.number, code=change.tsx.statusCode)
        if change.tsx.method not in {"BYE", "CANCEL"} or change.tsx.role == pj.PJSIP_ROLE_UAC:
            return
        reason = headers_of(change.src.rdata.wholeMsg).get("reason", [])
        self.phone.say("ending", call=self.number, method=change.tsx.method, reason=reason)

    def onCallMediaState(self, prm: pj.OnCallMediaStateParam) -> None:  # noqa: ARG002, N802 same
        """Connect tone and recorder to the stream, which is new at every re-INVITE."""
        info = self.getInfo()  # a name, because its parts die with it
        media = [m for m in info.media if m.type == pj.PJMEDIA_TYPE_AUDIO]
        active = bool(media) and media[0].status == pj.PJSUA_CALL_MEDIA_ACTIVE
        self.phone.say("media", call=self.number, active=active)
        if active or (media and media[0].status == pj.PJSUA_CALL_MEDIA_REMOTE_HOLD):
            self.phone.connect(self)

    def onCallTransferStatus(  # noqa: N802 same
        self, prm: pj.OnCallTransferStatusParam
    ) -> None:
        """Tell what became of our REFER."""
        self.phone.say("refer", call=self.number, code=prm.statusCode)

    def onDtmfDigit(self, prm: pj.OnDtmfDigitParam) -> None:  # noqa: N802 same
        """Tell the digit."""
        by = "info" if prm.method == pj.PJSUA_DTMF_METHOD_SIP_INFO else "rtp"
        self.phone.say("dtmf", call=self.number, digit=prm.digit, by=by)


class UaAccount(pj.Account):  # type: ignore[misc] # pjsua2 has no stubs
    """The phone's identity."""

    def __init__(self, on_incoming: Callable[[pj.OnIncomingCallParam], None], say: Say) -> None:
        pj.Account.__init__(self)
        self._on_incoming = on_incoming
        self._say = say

    def onRegState(self, prm: pj.OnRegStateParam) -> None:  # noqa: N802 pjsua2's name
        """Tell what the registrar said."""
        self._say("registered", code=prm.code, reason=prm.reason, expires=prm.expiration)

    def onIncomingCall(self, prm: pj.OnIncomingCallParam) -> None:  # noqa: N802 pjsua2's name
        """Hand over."""
        self._on_incoming(prm)


class Phone:
    """The phone: one thread, one loop, up to four calls."""

    def __init__(self, options: argparse.Namespace, say: Say) -> None:
        self.options = options
        self.say = say
        self.calls: dict[int, UaCall] = {}
        self.account = UaAccount(self._on_incoming, say)
        self._endpoint = pj.Endpoint()
        self._timers: list[tuple[float, Callable[[], None]]] = []
        self._count = 0
        self._closing: list[Path] = []
        self._input = b""
        self._running = True
        self._headers = dict(split_header(text) for text in options.header)

    def run(self) -> None:
        """Serve until `quit`, or until whoever holds our stdin is gone."""
        self._start()
        self.say("ready", port=self.options.port, pid=os.getpid())
        if self.options.call:
            self._call(self.options.call)
        watch = stat.S_ISFIFO(os.fstat(0).st_mode)
        while self._running:
            self._endpoint.libHandleEvents(POLL_MS)
            self._run_timers()
            if watch:
                self._read_commands()
            self._tidy()
        self._stop()

    def connect(self, call: UaCall) -> None:
        """Send the tone into `call` and record what comes out of it."""
        audio = call.getAudioMedia(-1)
        if self.options.tone:
            if call.tone is None:
                call.tone = tone_generator(self.options.tone)
            call.tone.startTransmit(audio)
        if self.options.record:
            if call.recorder is None:
                call.file = self._file_for(call.number)
                call.recorder = pj.AudioMediaRecorder()
                call.recorder.createRecorder(str(call.file))
            audio.startTransmit(call.recorder)

    def on_answered(self, call: UaCall) -> None:
        """Tell it, and hang up when the time has come."""
        self.say("answered", call=call.number)
        if self.options.hangup_after is not None:
            self._later(self.options.hangup_after, lambda: self._hang_up(call))

    def _start(self) -> None:
        self._endpoint.libCreate()
        config = pj.EpConfig()
        config.logConfig.level = config.logConfig.consoleLevel = 1
        config.uaConfig.threadCnt = 0
        config.uaConfig.maxCalls = MAX_CALLS
        config.uaConfig.userAgent = "sim-sip-ua"
        config.medConfig.clockRate = config.medConfig.sndClockRate = 8000
        config.medConfig.noVad = True
        config.medConfig.ecTailLen = 0
        config.medConfig.threadCnt = 0
        config.medConfig.hasIoqueue = False
        self._endpoint.libInit(config)
        transport = pj.TransportConfig()
        transport.port = self.options.port
        transport.boundAddress = self.options.address
        self._endpoint.transportCreate(pj.PJSIP_TRANSPORT_UDP, transport)
        if self.options.edge and self.options.transport == "tcp":
            self._endpoint.transportCreate(pj.PJSIP_TRANSPORT_TCP, transport)
        self._endpoint.libStart()
        self._endpoint.audDevManager().setNullDev()
        for codec in self._endpoint.codecEnum2():
            rank = {"PCMA": 255, "PCMU": 254}.get(codec.codecId.split("/")[0], 0)
            self._endpoint.codecSetPriority(codec.codecId, rank)
        account = pj.AccountConfig()
        account.idUri = f"sip:{self.options.user}@{self.options.address}:{self.options.port}"
        if self.options.edge:
            self._use_edge(account)
        account.mediaConfig.lockCodecEnabled = False
        account.mediaConfig.transportConfig.port = self.options.rtp_base
        account.mediaConfig.transportConfig.portRange = 31
        account.mediaConfig.transportConfig.boundAddress = self.options.address
        self.account.create(account)

    def _use_edge(self, account: pj.AccountConfig) -> None:
        options = self.options
        account.idUri = f"sip:{options.user}@{options.domain}"
        tail = ";transport=tcp" if options.transport == "tcp" else ""
        account.sipConfig.proxies.append(f"sip:{options.edge}{tail};lr")
        if options.password:
            account.regConfig.registrarUri = f"sip:{options.domain}"
            account.regConfig.timeoutSec = options.expires
            login = pj.AuthCredInfo("digest", "*", options.user, 0, options.password)
            account.sipConfig.authCreds.append(login)

    def _on_incoming(self, prm: pj.OnIncomingCallParam) -> None:
        self._count += 1
        call = UaCall(self, self._count, prm.callId)
        self.calls[call.number] = call
        message = prm.rdata.wholeMsg
        body = message.partition("\r\n\r\n")[2]
        self.say("invite", call=call.number, headers=headers_of(message), body=body)
        if self.options.reject:
            call.reply(self.options.reject)
            return
        call.reply(180)
        self.say("ringing", call=call.number)
        if self.options.answer_after is not None:
            self._later(self.options.answer_after, lambda: self._answer(call))

    def _answer(self, call: UaCall) -> None:
        if not call.gone and not call.accepted:
            call.accepted = True  # a second 200 for one INVITE is an error of PJSIP's
            call.reply(200)

    def _hang_up(self, call: UaCall) -> None:
        if not call.gone:
            call.hangup(pj.CallOpParam())

    def _file_for(self, number: int) -> Path:
        first = Path(self.options.record)
        return first if number == 1 else first.with_stem(f"{first.stem}-{number}")

    def _later(self, after_s: float, work: Callable[[], None]) -> None:
        self._timers.append((time.monotonic() + after_s, work))

    def _run_timers(self) -> None:
        now = time.monotonic()
        due = [timer for timer in self._timers if timer[0] <= now]
        self._timers = [timer for timer in self._timers if timer[0] > now]
        for _, work in due:
            work()

    def _read_commands(self) -> None:
        if not select.select([0], [], [], 0)[0]:
            return
        chunk = os.read(0, 4096)
        *lines, self._input = (self._input + chunk).split(b"\n")
        for line in lines:
            try:
                self._command(line.decode("utf-8", "replace").split())
            except pj.Error as exc:  # not possible at this moment: the peer was quicker
                self.say("refused", command=line.decode("utf-8", "replace"), reason=exc.reason)
        self._running = self._running and bool(chunk)

    def _command(self, words: list[str]) -> None:
        if not words:
            return
        verb, *rest = words
        if verb == "quit":
            self._running = False
            return
        if verb == "call" and rest:
            self._call(rest[0])
            return
        if verb == "header" and rest:
            self._headers.update([split_header(" ".join(rest))])
            return
        takes = 1 if verb in {"dtmf", "refer"} else 0
        number = int(rest[takes]) if len(rest) > takes else max(self.calls, default=0)
        call = self.calls.get(number)
        work = self._verbs(rest).get(verb)
        if call is None or work is None:
            self.say("refused", command=" ".join(words))
            return
        work(call)

    def _call(self, uri: str) -> None:
        self._count += 1
        call = UaCall(self, self._count, pj.PJSUA_INVALID_ID)
        self.calls[call.number] = call
        self.say("calling", call=call.number, uri=uri)
        try:
            call.makeCall(uri, self._invitation())
        except pj.Error as exc:
            del self.calls[call.number]
            self.say("refused", command=f"call {uri}", reason=exc.reason)

    def _invitation(self) -> pj.CallOpParam:
        prm = pj.CallOpParam(True)  # noqa: FBT003 pjsua2 takes no keywords
        headers = pj.SipHeaderVector()
        for name, value in self._headers.items():
            header = pj.SipHeader()
            header.hName, header.hValue = name, value
            headers.append(header)
        prm.txOption.headers = headers
        return prm

    def _verbs(self, rest: list[str]) -> Mapping[str, Callable[[UaCall], None]]:
        def unhold(call: UaCall) -> None:
            prm = pj.CallOpParam(True)  # noqa: FBT003 pjsua2 takes no keywords
            prm.opt.flag = pj.PJSUA_CALL_UNHOLD
            call.reinvite(prm)

        return {
            "answer": self._answer,
            "hangup": self._hang_up,
            "dtmf": lambda call: call.dialDtmf(rest[0]),
            "hold": lambda call: call.setHold(pj.CallOpParam()),
            "unhold": unhold,
            "refer": lambda call: call.xfer(rest[0], pj.CallOpParam()),
        }

    def _tidy(self) -> None:
        """Drop calls that are gone, outside their callbacks, and tell of finished files."""
        for number in [number for number, call in self.calls.items() if call.gone]:
            call = self.calls.pop(number)
            call.recorder = call.tone = None
            if call.file is not None:
                self._closing.append(call.file)
        for path in [path for path in self._closing if closed(path)]:
            self._closing.remove(path)
            self.say("recorded", file=str(path))

    def _stop(self) -> None:
        self._endpoint.hangupAllCalls()
        end = time.monotonic() + QUIT_PUMP_S
        while time.monotonic() < end and (self.calls or self._closing):
            self._endpoint.libHandleEvents(POLL_MS)
            self._tidy()


def closed(path: Path) -> bool:
    """Tell whether PJSIP has written the sizes into the header of `path`."""
    with path.open("rb") as file:
        return any(file.read(8)[4:])


def split_header(text: str) -> tuple[str, str]:
    """Return name and value of "Name: value"."""
    name, _, value = text.partition(":")
    return name.strip(), value.strip()


def tone_generator(hz: int) -> pj.ToneGenerator:
    """Return an endless tone of `hz`."""
    generator = pj.ToneGenerator()
    generator.createToneGenerator(8000, 1)
    tone = pj.ToneDesc()
    tone.freq1, tone.freq2, tone.on_msec, tone.off_msec, tone.volume = hz, 0, 1000, 0, 0
    tones = pj.ToneDescVector()
    tones.append(tone)
    generator.play(tones, True)  # noqa: FBT003 pjsua2 takes no keywords
    return generator


def speaker(*, as_json: bool) -> Say:
    """Return the function that tells an event on stdout."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # PJSIP prints to stdout before any log setting takes effect

    def say(event: str, **fields: Any) -> None:
        story = {"event": event, "at": time.time(), **fields}
        if as_json:
            out.write(json.dumps(story, ensure_ascii=False) + "\n")
        else:
            told = " ".join(f"{key}={value}" for key, value in fields.items() if key != "headers")
            out.write(f"{story['at']:.3f} {event} {told}\n")

    return say


def parse(argv: list[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="sim.sip_ua", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--address", default="127.0.0.1", help="to bind and to be called at")
    parser.add_argument("--port", type=int, default=5070, help="SIP over UDP")
    parser.add_argument("--rtp-base", type=int, default=42_000, help="first of 32 RTP ports")
    parser.add_argument("--user", default="phone", help="user part of our SIP URI")
    parser.add_argument("--edge", help="HOST:PORT of the SIP server that all goes through")
    parser.add_argument("--domain", default="onekey.local", help="SIP domain at the edge")
    parser.add_argument("--password", help="registers at the edge with it")
    parser.add_argument("--expires", type=int, default=300, help="seconds of a registration")
    parser.add_argument("--transport", choices=("udp", "tcp"), default="udp", help="to the edge")
    parser.add_argument("--tone", type=int, default=0, help="Hz to play; 0 sends silence")
    parser.add_argument(
        "--answer-after",
        type=lambda text: None if text == "never" else float(text),
        default=0.2,
        help="seconds of ringing, or never",
    )
    parser.add_argument("--busy", dest="reject", action="store_const", const=CODES["busy"])
    parser.add_argument("--decline", dest="reject", action="store_const", const=CODES["decline"])
    parser.add_argument("--reject", type=int, help="SIP code to refuse every call with")
    parser.add_argument("--hangup-after", type=float, help="seconds after the answer")
    parser.add_argument("--record", help="WAV of what is heard; later calls get -2, -3 …")
    parser.add_argument("--call", metavar="URI", help="calls at once, with every --header")
    parser.add_argument("--header", action="append", default=[], help='"Name: value" of our calls')
    parser.add_argument("--json", action="store_true", help="events as JSON lines")
    return parser.parse_args(argv)


def main() -> None:
    """Run the phone."""
    options = parse(sys.argv[1:])
    Phone(options, speaker(as_json=options.json)).run()
    sys.stdout.flush()
    os._exit(0)  # PJSIP's static destructors and Python's would race


if __name__ == "__main__":
    main()
