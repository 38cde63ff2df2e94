"""`make run`: a whole world on this machine, and the story of each press as it happens."""

import argparse
import asyncio
import contextlib
import ipaddress
import re
import shlex
import socket
import sys
import time
from pathlib import Path

from sim.edge import DESK_USER, REALM, edge_toml, how_to_register, make_accounts
from sim.interrupt import run_interruptibly
from sim.keyboard import typed_lines
from sim.options import AGENT_TONE_HZ, AgentSpec, WorldOptions, terminal_id
from sim.pendant import Account, Pendant
from sim.phone import Behaviour
from sim.ports import Ports, PortTaken
from sim.progress import Progress
from sim.story import PHONE_LINES, Story, follow_feed
from sim.world import World, WorldError

ROOT = Path(__file__).parents[1]
TERMINAL = terminal_id(1)
AGENT = "agent-1"
# Long enough to look at the page while they talk, short enough to wait for.
TALK_S = 15.0
ANSWER_AFTER_S = 1.5
CALL_DEADLINE_S = 300.0
POLL_S = 0.1
_URI = re.compile(r"sips?:(?:[^@\s]+@)?(\[[0-9a-fA-F:]+\]|[^:;?\s]+)")


class RunError(Exception):
    """The options do not fit together; the text says how to mend them."""


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        prog="make run",
        description="Broker, gateway, a pendant and an agent on this machine. "
        "Give options as: make run ARGS='--web-port 8081'",
    )
    parser.add_argument("--mqtt-port", type=int, default=11_883, help="default %(default)s")
    parser.add_argument("--web-port", type=int, default=8080, help="default %(default)s")
    parser.add_argument(
        "--sip-port-base", type=int, default=16_000, help="first of 6 UDP ports, %(default)s"
    )
    parser.add_argument(
        "--rtp-port-base", type=int, default=21_000, help="first of 192 UDP ports, %(default)s"
    )
    parser.add_argument(
        "--data-dir", type=Path, default=ROOT / "data" / "run", help="kept; default data/run"
    )
    parser.add_argument(
        "--presses", type=int, default=1, metavar="N", help="presses made by itself, one by one"
    )
    parser.add_argument(
        "--once", action="store_true", help="one press, and end when its call has ended"
    )
    parser.add_argument("--lang", choices=("zh", "en", "both"), default="both")
    parser.add_argument(
        "--agent-uri", default="", help="ring this phone instead: sip:me@192.168.1.20:5060"
    )
    parser.add_argument(
        "--edge",
        type=int,
        nargs="?",
        const=15_060,
        metavar="PORT",
        help="a SIP border, too, for phones that register; first of 4 ports, %(const)s",
    )
    parser.add_argument(
        "--bind-address", default="", help="of SIP and audio; found by itself for --agent-uri"
    )
    parser.add_argument(
        "--talk", type=float, default=TALK_S, metavar="S", help="the agent hangs up after so long"
    )
    return parser.parse_args(argv)


def world_options(options: argparse.Namespace) -> WorldOptions:
    """Return the shape of the world; raises RunError for an address that cannot be."""
    behaviour = Behaviour(
        answer_after_s=ANSWER_AFTER_S, tone_hz=AGENT_TONE_HZ, hang_up_after_s=options.talk
    )
    agent = AgentSpec(name=AGENT, behaviour=behaviour, uri=options.agent_uri, ring_s=30.0)
    edge = ""
    if options.edge is not None:
        sos_uri = options.agent_uri or f"sip:{DESK_USER}@{REALM}"
        edge = edge_toml(options.edge, options.data_dir.absolute() / "edge", sos_uri)
    return WorldOptions(agents=(agent,), bind_address=bind_address(options), extra_toml=edge)


def bind_address(options: argparse.Namespace) -> str:
    """Return our address: as asked, else the one from which the agent's phone can be reached."""
    if options.bind_address:
        return str(options.bind_address)
    if not options.agent_uri or options.edge is not None:
        return "127.0.0.1"
    found = _URI.match(options.agent_uri)
    if found is None:
        raise RunError(f"--agent-uri {options.agent_uri}: wanted is sip:user@address:port")
    host = found[1].strip("[]")
    try:
        # Connecting a UDP socket sends nothing; it only looks up the route.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((host, 5060))
            address: str = probe.getsockname()[0]
    except OSError as error:
        raise RunError(f"--agent-uri {options.agent_uri}: no way to {host}: {error}") from error
    return address


def ports_of(options: argparse.Namespace, shape: WorldOptions) -> Ports:
    """Return the ports; raises PortTaken for one that is in use."""
    ports = Ports(
        mqtt=options.mqtt_port,
        web=options.web_port,
        sip_base=options.sip_port_base,
        rtp_base=options.rtp_port_base,
        phones=shape.phones,
        workers=shape.max_workers,
        address=shape.bind_address,
    )
    ports.check()
    return ports


def press_by_hand(account: Account) -> str:
    """Return a shell line that presses the key of a terminal, anew each time it is run."""
    words = [
        *("mosquitto_pub", "-h", account.host, "-p", str(account.port), "-q", "1"),
        *("-u", account.terminal, "-P", account.password),
        *("-t", f"onekey/v1/{account.terminal}/up/event"),
    ]
    payload = """'{"type":"press","key":"sos","id":"hand-'$(date +%s%N)'"}'"""
    return f"{shlex.join(words)} -m {payload}"


def greeting(world: World, options: argparse.Namespace) -> str:
    """Return what the user may do now."""
    loopback = ipaddress.ip_address(world.options.bind_address).is_loopback
    rung = options.agent_uri or f"{AGENT} (simulated, answers after {ANSWER_AFTER_S:g} s)"
    lines = [
        "",
        f"实时页面  live page   http://127.0.0.1:{world.ports.web}",
        f"按键      press       Enter here, or in another terminal ({TERMINAL}):",
        f"    {press_by_hand(world.account(TERMINAL))}",
        f"坐席      agent       {rung}",
    ]
    if loopback:
        lines += [
            "    your own phone:   make run ARGS='--agent-uri sip:me@192.168.1.20:5060'",
            "    baresip here:     make run ARGS='--agent-uri sip:me@127.0.0.1:5070'",
        ]
    lines += [
        f"数据      data        {world.directory} (logs in logs/)",
        "退出      end         Ctrl-C",
    ]
    return "\n".join(lines)


async def run(options: argparse.Namespace) -> int:
    """Run the world until Ctrl-C, or with --once until the first call has ended."""
    try:
        shape = world_options(options)
        ports = ports_of(options, shape)
        print("正在启动 starting", flush=True)
        async with World(
            options.data_dir, shape, ports=ports, progress=Progress(sys.stdout)
        ) as world:
            print(greeting(world, options), flush=True)
            if options.edge is not None:
                passwords = await make_accounts(world)
                print(*how_to_register(options.edge, passwords), sep="\n", flush=True)
            try:
                await tell(world, options)
            finally:
                print("\n正在退出 ending", flush=True)
    except (RunError, PortTaken, WorldError) as error:
        print(f"make run: {error}", file=sys.stderr)
        return 1
    return 0


async def tell(world: World, options: argparse.Namespace) -> None:
    """Tell the stories of all presses, and make those that the options ask for."""
    story = Story(
        sys.stdout,
        language=options.lang,
        skip=frozenset() if options.agent_uri else PHONE_LINES,
    )
    pendant = world.pendants[TERMINAL]
    listen(world, pendant, story)
    try:
        async with asyncio.TaskGroup() as tasks:
            working = [
                tasks.create_task(story.run()),
                tasks.create_task(follow_feed(world.api, story)),
                tasks.create_task(press_on_enter(pendant, story)),
            ]
            await presses(pendant, story, 1 if options.once else options.presses)
            if options.once:
                for task in working:
                    task.cancel()
    finally:
        story.flush()


def listen(world: World, pendant: Pendant, story: Story) -> None:
    """Give what the pendant and the phones notice to the story."""
    pendant.listen(lambda received: story.from_terminal(pendant.terminal, received))
    phones = dict(world.agents)
    if pendant.phone is not None:
        phones[pendant.terminal] = pendant.phone
    for name, phone in phones.items():
        phone.listen(lambda event, name=name: story.from_phone(name, event))  # type: ignore[misc] # a default binds the loop's variable


async def presses(pendant: Pendant, story: Story, count: int) -> None:
    """Press `count` times, each time after the call before has ended."""
    for _ in range(count):
        event_id = press(pendant, story)
        end = time.monotonic() + CALL_DEADLINE_S
        while not story.ended(event_id) and time.monotonic() < end:  # noqa: ASYNC110 the feed tells the story, not us
            await asyncio.sleep(POLL_S)


async def press_on_enter(pendant: Pendant, story: Story) -> None:
    """Press whenever a line is typed."""
    async with contextlib.aclosing(typed_lines()) as lines:
        async for _ in lines:
            press(pendant, story)


def press(pendant: Pendant, story: Story) -> str:
    """Press SOS once; returns the event id."""
    event_id = pendant.press("sos")
    story.pressed(event_id, pendant.presses[event_id].pressed_at, pendant.terminal, "sos")
    return event_id


def main(argv: list[str] | None = None) -> int:
    """Run until Ctrl-C."""
    return run_interruptibly(run(parse(argv)))


if __name__ == "__main__":
    sys.exit(main())
