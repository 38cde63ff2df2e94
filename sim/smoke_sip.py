"""`make smoke-sip`: a one-key phone calls, and the call survives worker and daemon. One JSON line.

prompt_ms          the key's call → sound at the caller's phone (the agent has not answered)
bridged_ms         the key's call → both legs connected to each other (the timeline)
audio_a_to_b_db    level of the caller's tone in what the agent's phone heard, dBFS
audio_b_to_a_db    level of the agent's tone in what the caller's phone heard, dBFS
worker_kill_to_bridged_ms   kill -9 of the worker → both connected again
daemon_kill_audio_gap_ms    longest hole in either tone while the daemon was dead and came back
daemon_back_ms     kill -9 of the daemon → a new one shows the running call
no_daemon_fallback_ms       the key's call without a daemon → INVITE at the static SOS target
legs_leaked        legs that workers still hold at the end
"""

import argparse
import asyncio
import json
import math
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from array import array
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from wave import open as open_wave

import aiohttp

from sim.child import ChildError
from sim.edge import DESK_USER, PHONE_USER, REALM, edge_toml, make_accounts
from sim.interrupt import run_interruptibly
from sim.options import AGENT_TONE_HZ, TERMINAL_TONE_HZ, AgentSpec, WorldOptions
from sim.phone import Behaviour, Phone
from sim.polling import poll
from sim.ports import PortTaken, free_ports
from sim.progress import Progress
from sim.tones import PRESENT_DBFS, level_dbfs, spans
from sim.world import World, WorldError

STEP_S = 15.0
TALK_S = 1.5
# The caller must hear something before the agent is there.
DESK_ANSWERS_AFTER_S = 2.0
LOUD = 328  # −40 dBFS: prompts are at −16, comfort noise far below
WINDOW_S = 0.02
SETTLE_S = 0.3  # from the line of the timeline until both streams flow
GAP_MAX_MS = 60.0  # three packets: what an ear hears as a click


@dataclass(slots=True)
class Result:
    """The JSON line."""

    ok: bool = False
    answered_ms: float | None = None  # the key's call → our answer
    prompt_ms: float | None = None
    bridged_ms: float | None = None
    audio_a_to_b_db: float | None = None
    audio_b_to_a_db: float | None = None
    worker_kill_to_bridged_ms: float | None = None
    daemon_kill_audio_gap_ms: float | None = None
    daemon_back_ms: float | None = None
    no_daemon_fallback_ms: float | None = None
    legs_leaked: int | None = None
    seconds: float = 0.0
    errors: list[str] = field(default_factory=list)
    talking_since: float = 0.0  # the second conversation; Unix seconds
    talked_s: float = 0.0


@dataclass(slots=True, kw_only=True)
class Stage:
    """The world and both phones."""

    world: World
    caller: Phone
    desk: Phone

    async def line(self, incident: str, what: str, nth: int = 1) -> float:
        """Return when the nth line `what` of an incident was written, Unix seconds."""

        async def look() -> str | None:
            lines = (await self.world.incident(incident))["timeline"]
            found = [line["at"] for line in lines if line["what"] == what]
            return found[nth - 1] if len(found) >= nth else None

        text = await poll(look, f"line {what!r} number {nth}", deadline=STEP_S)
        return datetime.fromisoformat(text).timestamp()

    async def items(self, what: str) -> list[dict[str, Any]]:
        """Return all calls or workers."""
        found: list[dict[str, Any]] = (await self.world.http("GET", f"/api/v1/{what}")).json()[
            "items"
        ]
        return found

    async def call(self) -> float:
        """Press the SOS key; returns when the call left the phone."""
        since = len(self.caller.events)
        self.caller.command(f"call sip:sos@{REALM}")
        return (await self.caller.wait("calling", deadline=STEP_S, since=since)).at


async def converse(stage: Stage, result: Result) -> str:
    """Call and talk; returns the incident."""
    begun = await stage.call()
    answered = await stage.caller.wait("answered", deadline=STEP_S)
    incident = await poll(lambda: _incident(stage.world), "an incident", deadline=STEP_S)
    result.bridged_ms = _ms(await stage.line(incident, "bridged") - begun)
    result.answered_ms = _ms(answered.at - begun)
    await asyncio.sleep(TALK_S)
    return incident


async def lose_worker(stage: Stage, result: Result, incident: str) -> None:
    """Kill the call's worker; both must talk again."""
    call = next(one for one in await stage.items("calls") if one["incident"] == incident)
    worker = next(one for one in await stage.items("workers") if call["id"] in one["calls"])
    killed = time.time()
    os.kill(worker["pid"], signal.SIGKILL)
    again = result.talking_since = await stage.line(incident, "bridged", nth=2)
    result.worker_kill_to_bridged_ms = _ms(again - killed)
    await asyncio.sleep(TALK_S)


async def lose_daemon(stage: Stage, result: Result, incident: str) -> None:
    """Kill the daemon while they talk; a new one must know the call."""
    killed = time.time()
    await stage.world.gateway.kill()
    await stage.world.gateway.start(wait_ready=False)

    async def look() -> bool:
        try:
            return any(one["incident"] == incident for one in await stage.items("calls"))
        except (aiohttp.ClientError, TimeoutError):
            return False

    await poll(look, "the running call", deadline=STEP_S)
    result.daemon_back_ms = _ms(time.time() - killed)
    await stage.world.gateway.wait_ready()
    await asyncio.sleep(TALK_S)


async def finish(stage: Stage, result: Result, incident: str) -> None:
    """Hang up, close, and look at what is left."""
    result.talked_s = time.time() - result.talking_since - SETTLE_S
    stage.desk.hang_up()

    async def over() -> bool:
        state = (await stage.world.incident(incident))["incident"]["state"]
        return bool(state == "wrap_up")

    await poll(over, "the end of the conversation", deadline=STEP_S)
    body = {"outcome": "test", "note": "make smoke-sip"}
    await stage.world.http("POST", f"/api/v1/incidents/{incident}/close", body=body)

    async def empty() -> bool:
        result.legs_leaked = sum(one["legs_used"] for one in await stage.items("workers"))
        return result.legs_leaked == 0

    await poll(empty, "the workers to be empty", deadline=STEP_S)


async def call_without_daemon(stage: Stage, result: Result) -> None:
    """Call while nobody decides: the edge rings the static target."""
    await stage.world.gateway.kill()
    since = len(stage.desk.events)
    begun = await stage.call()
    invite = await stage.desk.wait("invite", deadline=STEP_S, since=since)
    result.no_daemon_fallback_ms = _ms(invite.at - begun)


def judge(result: Result, directory: Path) -> None:
    """Measure the recordings and name what is wrong."""
    first = directory / f"{PHONE_USER}.wav"  # begins with the answer
    result.prompt_ms = round((result.answered_ms or 0) + 1000 * first_sound_s(first), 1)
    # The second recording of each phone is the call after the worker was killed.
    second = {name: directory / f"{name}-2.wav" for name in (PHONE_USER, DESK_USER)}
    heard = {PHONE_USER: AGENT_TONE_HZ, DESK_USER: TERMINAL_TONE_HZ}
    result.audio_a_to_b_db = round(level_dbfs(second[DESK_USER], TERMINAL_TONE_HZ), 1)
    result.audio_b_to_a_db = round(level_dbfs(second[PHONE_USER], AGENT_TONE_HZ), 1)
    gaps = [gap_at_end_ms(second[name], hz, result.talked_s) for name, hz in heard.items()]
    result.daemon_kill_audio_gap_ms = round(max(gaps), 1)
    checks = {
        "no prompt within 2 s": (result.prompt_ms or 1e9) <= 2000,
        "no audio to the desk": result.audio_a_to_b_db > PRESENT_DBFS,
        "no audio to the caller": result.audio_b_to_a_db > PRESENT_DBFS,
        "worker: not again within 3 s": (result.worker_kill_to_bridged_ms or 1e9) <= 3000,
        "daemon: a hole in the audio": result.daemon_kill_audio_gap_ms <= GAP_MAX_MS,
        "daemon: not back within 5 s": (result.daemon_back_ms or 1e9) <= 5000,
        "no fallback within 1.5 s": (result.no_daemon_fallback_ms or 1e9) <= 1500,
    }
    result.errors += [fault for fault, passed in checks.items() if not passed]


def gap_at_end_ms(path: Path, hz: int, seconds: float) -> float:
    """Return the longest hole in a tone in the last `seconds` of a recording; inf without any.

    Before them a prompt is heard, and speech holds the tone now and then.
    """
    with open_wave(str(path), "rb") as file:
        end = file.getnframes() / file.getframerate()
    there = [span for span in spans(path, hz) if span[1] > end - seconds]
    holes = (after[0] - before[1] for before, after in pairwise(there))
    return max(holes, default=0.0) * 1000 if there else math.inf


def first_sound_s(path: Path) -> float:
    """Return when a recording first holds sound, in seconds; its end when it never does."""
    with open_wave(str(path), "rb") as file:
        rate = file.getframerate()
        samples = array("h", file.readframes(file.getnframes()))
    size = int(WINDOW_S * rate)
    for first in range(0, len(samples) - size + 1, size):
        if max(map(abs, samples[first : first + size])) > LOUD:
            return first / rate
    return len(samples) / rate


async def tell(directory: Path, result: Result) -> None:
    """Run the whole story."""
    edge, section = _edge(directory)
    desk = AgentSpec(name=DESK_USER, uri=f"sip:{DESK_USER}@{REALM}")
    options = WorldOptions(voices=0, pendants=0, agents=(desk,), extra_toml=section)
    ports = free_ports(phones=2, workers=options.max_workers)
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(
            World(directory / "world", options, ports=ports, progress=Progress(sys.stderr))
        )
        passwords = await make_accounts(world)
        await world.gateway.stop()  # so that it knows the accounts from its start
        await world.gateway.start()
        phones = []
        for index, (user, password) in enumerate(passwords.items()):
            tone = TERMINAL_TONE_HZ if user == PHONE_USER else AGENT_TONE_HZ
            after = 0.1 if user == PHONE_USER else DESK_ANSWERS_AFTER_S
            phone = Phone(
                user,
                port=ports.phone_sip(index),
                rtp_base=ports.phone_rtp(index),
                directory=directory,
                behaviour=Behaviour(answer_after_s=after, tone_hz=tone),
                more=("--edge", f"127.0.0.1:{edge}", "--domain", REALM, "--password", password),
            )
            phones.append(await stack.enter_async_context(phone))
            await phone.wait("registered", deadline=STEP_S)
        stage = Stage(world=world, caller=phones[0], desk=phones[1])
        incident = await converse(stage, result)
        await lose_worker(stage, result, incident)
        await lose_daemon(stage, result, incident)
        await finish(stage, result, incident)
        await call_without_daemon(stage, result)
        await world.gateway.start()  # so that the end of the world ends the edge, too
    judge(result, directory)


async def run(directory: Path) -> int:
    """Run once; prints the line and returns the exit code."""
    result, begun = Result(), time.monotonic()
    try:
        await tell(directory, result)
    except (WorldError, ChildError, aiohttp.ClientError, OSError, ValueError) as error:
        result.errors.append(f"{type(error).__name__}: {error}")
    result.seconds = round(time.monotonic() - begun, 1)
    result.ok = not result.errors
    print(json.dumps(asdict(result), ensure_ascii=False), flush=True)
    if result.ok:
        shutil.rmtree(directory, ignore_errors=True)
    else:
        print(f"smoke-sip: everything is kept in {directory}", file=sys.stderr)
    return 0 if result.ok else 1


def _edge(directory: Path) -> tuple[int, str]:
    """Return a free port for the edge and its section of the configuration."""
    sos_uri = f"sip:{DESK_USER}@{REALM}"
    for _ in range(50):
        port = random.randrange(15_000, 19_990)
        try:
            return port, edge_toml(port, directory / "edge", sos_uri)
        except PortTaken:
            continue
    raise WorldError("no four ports for the edge are free")


async def _incident(world: World) -> str | None:
    return next((one["id"] for one in await world.incidents()), None)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


def main(argv: list[str] | None = None) -> int:
    """Run the smoke test of the SIP side."""
    parser = argparse.ArgumentParser(prog="make smoke-sip", description=str(__doc__).split("\n")[0])
    parser.parse_args(argv)
    return run_interruptibly(run(Path(tempfile.mkdtemp(prefix="onekey-sip-"))))


if __name__ == "__main__":
    sys.exit(main())
