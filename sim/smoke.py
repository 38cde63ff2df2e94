"""`make smoke`: one press through real parts, heard by both sides. One JSON line on stdout.

The press comes from the real `mosquitto_pub`; the pendant is its subscriber and its SIP phone.
The gateway is warm: an event that opens no case went through it just before (see `publisher`).

    ack_ms      publish → `committed` at the terminal
    invite_ms   publish → INVITE at the agent's phone (the phone's clock)
    bridged_ms  publish → both legs connected to each other (the incident's timeline)
    audio_a_to_b_db   level of the terminal's tone in what the agent's phone heard, dBFS
    audio_b_to_a_db   level of the agent's tone in what the terminal's phone heard, dBFS
"""

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
from ulid import ULID

from protocols.mqtt_payload.topics import Up, up_topic
from protocols.mqtt_payload.v1 import Alarm, Press, encode
from sim.child import ChildError
from sim.interrupt import run_interruptibly
from sim.options import AGENT_TONE_HZ, TERMINAL_TONE_HZ, WorldOptions, terminal_id
from sim.pendant import Pendant
from sim.phone import Phone
from sim.polling import poll
from sim.progress import Progress
from sim.tones import PRESENT_DBFS, level_dbfs
from sim.world import World, WorldError

TERMINAL = terminal_id(1)
QUIET_ALARM = "low_battery"  # kept, acknowledged, and nobody is rung (incidents.quiet_alarms)
STEP_DEADLINE_S = 10.0
TALK_S = 2.0
# The last part of each recording, without the moment of hanging up: only there both talk.
MEASURED_S, TRAILING_S = 1.5, 0.2
# What the terminal must hear of its press, in this order.
STATES = ("committed", "ringing", "answered", "closed")


class SmokeError(Exception):
    """A step did not come out as it must; the text says which."""


@dataclass(slots=True)
class Result:
    """The JSON line. Milliseconds since the publish, levels in dBFS."""

    ok: bool = False
    ack_ms: float | None = None
    invite_ms: float | None = None
    bridged_ms: float | None = None
    audio_a_to_b_db: float | None = None
    audio_b_to_a_db: float | None = None
    incident: str | None = None
    heard: list[str] = field(default_factory=list)
    recorded_s: float | None = None
    seconds: float = 0.0
    errors: list[str] = field(default_factory=list)


@asynccontextmanager
async def publisher(pendant: Pendant) -> AsyncIterator[asyncio.StreamWriter]:
    """Run `mosquitto_pub -l`: each line written to it is published as one event.

    It sleeps up to 100 ms between connecting and reading its first line (client/pub_client.c), so
    a line that opens no case goes first: once that is acknowledged, it reads without a pause.
    """
    account = pendant.account
    process = await asyncio.create_subprocess_exec(
        *("mosquitto_pub", "-l", "-V", "5", "-q", "1"),
        *("-h", account.host, "-p", str(account.port)),
        *("-u", account.terminal, "-P", account.password),
        *("-t", up_topic(account.terminal, Up.EVENT)),
        stdin=asyncio.subprocess.PIPE,
        stdout=sys.stderr,
        stderr=sys.stderr,
    )
    assert process.stdin is not None

    try:
        first = Alarm(id=str(ULID()), alarm=QUIET_ALARM)
        process.stdin.write(encode(first) + b"\n")
        await pendant.heard(first.id, "committed", deadline=STEP_DEADLINE_S)
        yield process.stdin
    finally:
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 2)
        except TimeoutError:
            process.kill()
            await process.wait()


async def press_and_talk(world: World, result: Result) -> None:
    """Press, and fill in what each side noticed; ends when the conversation has ended."""
    pendant, agent = world.pendants[TERMINAL], world.agents["agent-1"]
    phone = pendant.phone
    assert phone is not None
    event = Press(id=str(ULID()), key="sos")
    async with publisher(pendant) as pipe:
        begun = time.time()
        pipe.write(encode(event) + b"\n")
        heard_at, ack = await pendant.heard(event.id, "committed", deadline=STEP_DEADLINE_S)
        result.ack_ms, result.incident = _ms(heard_at - begun), ack.incident
        invite = await agent.wait("invite", deadline=STEP_DEADLINE_S)
        result.invite_ms = _ms(invite.at - begun)
        result.bridged_ms = _ms(await _bridged_at(world, str(ack.incident)) - begun)
    await asyncio.sleep(TALK_S)  # the conversation itself: there is something to measure after it
    agent.hang_up()
    for side in (agent, phone):
        await side.wait("recorded", deadline=STEP_DEADLINE_S)
    result.audio_a_to_b_db = heard_level(agent, TERMINAL_TONE_HZ)
    result.audio_b_to_a_db = heard_level(phone, AGENT_TONE_HZ)
    await close(world, pendant, event.id, result)


async def close(world: World, pendant: Pendant, event_id: str, result: Result) -> None:
    """Close the incident by the API and see what is left of it."""
    incident = str(result.incident)
    await _state(world, incident, "wrap_up")
    body = {"outcome": "test", "note": "make smoke"}
    answer = await world.http("POST", f"/api/v1/incidents/{incident}/close", body=body)
    if answer.status != 200:
        raise SmokeError(f"closing {incident} was answered {answer.status}: {answer.text}")
    await _state(world, incident, "closed")
    await pendant.heard(event_id, "closed", deadline=STEP_DEADLINE_S)
    result.heard = list(dict.fromkeys(ack.state for _, ack in pendant.acks(event_id)))
    result.recorded_s = (await _manifest(world, incident)).get("seconds")


def judge(result: Result) -> list[str]:
    """Return what is wrong with a result; nothing: the smoke test has passed."""
    levels = {"a→b": result.audio_a_to_b_db, "b→a": result.audio_b_to_a_db}
    faults = [
        f"no audio {way}: {level} dBFS"
        for way, level in levels.items()
        if level is None or level < PRESENT_DBFS
    ]
    if tuple(result.heard) != STATES:
        faults.append(f"the terminal heard {result.heard}, not {list(STATES)}")
    if not result.recorded_s:
        faults.append("the recording is empty")
    return faults


def heard_level(phone: Phone, hz: int) -> float:
    """Return the level of a tone at the end of what a phone heard, in dBFS."""
    with wave.open(str(phone.record), "rb") as sound:
        end = sound.getnframes() / sound.getframerate() - TRAILING_S
    return round(level_dbfs(phone.record, hz, start_s=max(end - MEASURED_S, 0), end_s=end), 1)


async def smoke(directory: Path, result: Result) -> None:
    """Fill in the result; whatever fails becomes one of its errors."""
    begun = time.monotonic()
    try:
        async with World(directory, WorldOptions(), progress=Progress(sys.stderr)) as world:
            await press_and_talk(world, result)
            faults = judge(result)
        faults += [f"left over: {command}" for command in world.leftovers]
        result.errors += faults
    except (SmokeError, WorldError, ChildError, aiohttp.ClientError, OSError, ValueError) as error:
        result.errors.append(f"{type(error).__name__}: {error}")
    result.seconds = round(time.monotonic() - begun, 1)
    result.ok = not result.errors


async def run(directory: Path, *, keep: bool) -> int:
    """Run once; prints the line and returns the exit code."""
    result = Result()
    await smoke(directory, result)
    print(json.dumps(asdict(result), ensure_ascii=False), flush=True)
    if keep or not result.ok:
        print(f"smoke: everything is kept in {directory}", file=sys.stderr)
    else:
        shutil.rmtree(directory, ignore_errors=True)
    return 0 if result.ok else 1


async def _bridged_at(world: World, incident: str) -> float:
    async def look() -> str | None:
        lines = (await world.incident(incident))["timeline"]
        return next((line["at"] for line in lines if line["what"] == "bridged"), None)

    text = await poll(look, f"{incident} to be bridged", deadline=STEP_DEADLINE_S)
    return datetime.fromisoformat(text).timestamp()


async def _state(world: World, incident: str, state: str) -> None:
    async def look() -> bool:
        return bool((await world.incident(incident))["incident"]["state"] == state)

    await poll(look, f"{incident} to be {state}", deadline=STEP_DEADLINE_S)


async def _manifest(world: World, incident: str) -> dict[str, Any]:
    async def look() -> Path | None:
        found = (world.data_dir / "recordings").glob(f"**/{incident}/*/manifest.json")
        return next(found, None)

    path = await poll(look, f"the recording of {incident}", deadline=STEP_DEADLINE_S)
    manifest: dict[str, Any] = json.loads(path.read_text("utf-8"))
    if not manifest.get("verified"):
        raise SmokeError(f"the recording in {path} is not verified: {manifest}")
    return manifest


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


def main(argv: list[str] | None = None) -> int:
    """Run the smoke test."""
    parser = argparse.ArgumentParser(prog="make smoke", description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--keep", action="store_true", help="keep the directory in any case")
    options = parser.parse_args(argv)
    directory = Path(tempfile.mkdtemp(prefix="onekey-smoke-"))
    return run_interruptibly(run(directory, keep=options.keep))


if __name__ == "__main__":
    sys.exit(main())
