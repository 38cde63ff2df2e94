"""`make run ARGS=--edge`: a SIP border beside the simulated world, with accounts for phones."""

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path

from sim.ports import PortTaken
from sim.world import World, WorldError

REALM = "onekey.local"
PHONE = "PHONE-1"  # terminal of the one-key phone's account
PHONE_USER, DESK_USER = "phone", "desk"
# Offsets from the option's port: outside, workers, the gateway's answers (docs/edge.md).
INTERNAL, CONTROL = 1, 3
_COMMAND_S = 30.0


def edge_toml(port: int, run_dir: Path, sos_uri: str) -> str:
    """Return the section of the gateway's configuration; raises PortTaken."""
    for taken in (port, port + INTERNAL, port + CONTROL):
        _check(taken)
    lines = {
        "realm": f'"{REALM}"',
        "port": port,
        "internal_port": port + INTERNAL,
        "control_port": port + CONTROL,
        "run_dir": f'"{run_dir}"',
        "static_sos_uri": f'"{sos_uri}"',
    }
    return "[edge]\n" + "".join(f"{name} = {value}\n" for name, value in lines.items())


async def make_accounts(world: World) -> dict[str, str]:
    """Register the one-key phone and make both accounts; returns user → password."""
    terminals = world.directory / "phones.csv"
    terminals.write_text(
        f"id,kind,driver,sip_uri,label\n{PHONE},phone,sip,sip:{PHONE_USER}@{REALM},一键通电话\n",
        "utf-8",
    )
    await world.gateway.command("terminals", "import", str(terminals))
    return {
        PHONE_USER: await _account(world, PHONE_USER, "--terminal", PHONE),
        DESK_USER: await _account(world, DESK_USER, "--agent", DESK_USER),
    }


def how_to_register(port: int, passwords: dict[str, str]) -> Sequence[str]:
    """Return lines for baresip's `accounts` file, and what to dial."""
    proxy = f'outbound="sip:127.0.0.1:{port}"'
    return [
        f"SIP       edge        127.0.0.1:{port}, domain {REALM}; lines for baresip's accounts:",
        *(
            f"    <sip:{user}@{REALM}>;auth_pass={password};{proxy};regint=300"
            for user, password in passwords.items()
        ),
        f"    {PHONE_USER} dials sip:sos@{REALM} and is {PHONE}",
        f"    {DESK_USER} is rung with make run ARGS='--edge --agent-uri sip:{DESK_USER}@{REALM}'",
    ]


async def _account(world: World, *words: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *world.gateway.argv("accounts", "add", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(_COMMAND_S):
        out, said = await process.communicate()
    if process.returncode != 0:
        raise WorldError(f"no account {words[0]}: {said.decode()[-500:]}")
    return out.decode().strip()


def _check(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise PortTaken(f"port {port} (SIP edge) is taken; --edge changes it") from error
