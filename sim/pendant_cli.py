"""`python -m sim.pendant`: one terminal against any broker; Enter presses the key."""

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path

from protocols.mqtt_payload.v1 import Ack, Call, Display, Voice
from sim.child import ChildError
from sim.interrupt import run_interruptibly
from sim.keyboard import typed_lines
from sim.pendant import Account, Pendant, Received
from sim.phone import NEVER, Behaviour, Phone, PhoneEvent

PASSWORD_VARIABLE = "PENDANT_PASSWORD"  # noqa: S105 a variable's name, not a password


def parse(argv: list[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        prog="python -m sim.pendant",
        description="A simulated one-key terminal. Enter presses the key, Ctrl-C ends.",
        epilog=f"The password may also stand in the environment: {PASSWORD_VARIABLE}=…",
    )
    parser.add_argument("--id", default="P-0001", help="terminal id and MQTT user name")
    parser.add_argument("--password", default=os.environ.get(PASSWORD_VARIABLE, ""))
    parser.add_argument("--host", default="127.0.0.1", help="of the broker")
    parser.add_argument("--port", type=int, default=1883, help="of the broker")
    parser.add_argument("--key", default="sos", help="what Enter presses: sos, taxi, hospital, …")
    parser.add_argument("--press", type=int, default=0, metavar="N", help="press N times, 1/s")
    parser.add_argument("--heartbeat", type=float, default=60.0, metavar="SECONDS")
    parser.add_argument(
        "--wait", type=float, default=10.0, metavar="SECONDS", help="for the first connection"
    )
    parser.add_argument(
        "--sip-port", type=int, help="with a voice of its own: UDP port of its SIP phone"
    )
    parser.add_argument("--rtp-base", type=int, default=23_000, help="first of 32 RTP ports")
    parser.add_argument("--address", default="127.0.0.1", help="of its SIP phone")
    parser.add_argument("--tone", type=int, default=440, metavar="HZ", help="what it says")
    parser.add_argument("--record", type=Path, help="directory for what it hears and its log")
    return parser.parse_args(argv)


def tell(received: Received) -> None:
    """Print a message from the gateway."""
    match received.message:
        case Ack(id=event_id, state=state, incident=incident):
            text = f"ack {state} event={event_id} incident={incident or '-'}"
        case Display(text=words):
            text = f"display {words!r}"
        case Voice(prompt=prompt, text=words):
            text = f"voice {prompt or words!r}"
        case Call(auto_answer_until=until):
            text = f"call expected: answering by itself for {until / 1000 - time.time():.0f} s"
        case other:
            text = f"{received.channel.value} {other}"
    print(f"{_clock(received.at)} {text}", flush=True)


def tell_phone(event: PhoneEvent) -> None:
    """Print what the terminal's own phone does."""
    details = {name: value for name, value in event.data.items() if name != "headers"}
    print(f"{_clock(event.at)} phone {event.what} {details}", flush=True)


async def run(options: argparse.Namespace, directory: Path) -> int:
    """Serve until cancelled."""
    phone = _phone(options, directory)
    if phone is not None:
        phone.listen(tell_phone)
        await phone.start()
    account = Account(
        terminal=options.id, password=options.password, host=options.host, port=options.port
    )
    pendant = Pendant(
        account, phone=phone, heartbeat_s=options.heartbeat, connect_deadline=options.wait
    )
    pendant.listen(tell)
    try:
        async with pendant:
            print(f"{options.id} is connected to {options.host}:{options.port}.", flush=True)
            await _presses(pendant, options)
    finally:
        if phone is not None:
            await phone.stop()
    return 0


async def _presses(pendant: Pendant, options: argparse.Namespace) -> None:
    for _ in range(options.press):
        _press(pendant, options.key)
        await asyncio.sleep(1)
    print(f"Enter presses {options.key!r}; Ctrl-C ends.", flush=True)
    async with contextlib.aclosing(typed_lines()) as lines:
        async for _ in lines:
            _press(pendant, options.key)


def _press(pendant: Pendant, key: str) -> None:
    event_id = pendant.press(key)
    print(f"{_clock(time.time())} pressed {key} event={event_id}", flush=True)


def _phone(options: argparse.Namespace, directory: Path) -> Phone | None:
    if options.sip_port is None:
        return None
    return Phone(
        options.id,
        port=options.sip_port,
        rtp_base=options.rtp_base,
        directory=directory,
        behaviour=Behaviour(answer_after_s=NEVER.answer_after_s, tone_hz=options.tone),
        address=options.address,
    )


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at)) + f".{int(at * 1000) % 1000:03d}"


def main(argv: list[str] | None = None) -> int:
    """Run one pendant until Ctrl-C."""
    options = parse(sys.argv[1:] if argv is None else argv)
    with tempfile.TemporaryDirectory(prefix="pendant-") as scratch:
        directory = options.record or Path(scratch)
        directory.mkdir(parents=True, exist_ok=True)
        try:
            return run_interruptibly(run(options, directory))
        except (TimeoutError, ChildError) as error:
            print(f"pendant: {error}", file=sys.stderr)
            return 1
