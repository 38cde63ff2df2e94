"""Peers that misbehave on purpose: sipp scenarios put together from a few lines each."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.waiting import free_port_range

DEADLINE_S = 20.0

_HEAD = """
{method} sip:sos@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: "Phone" <sip:13800@[local_ip]:[local_port]>;tag=[call_number]t
To: <sip:sos@[remote_ip]:[remote_port]>{to_tag}
Call-ID: [call_id]
CSeq: {cseq} {cseq_method}
Contact: <sip:13800@[local_ip]:[local_port]>
Max-Forwards: 70
"""
SDP = """v=0
o=- 1 {version} IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio {port} RTP/AVP {codec}
"""


def send(
    method: str,
    *,
    cseq: int = 1,
    cseq_method: str = "",
    headers: str = "",
    dialog: bool = False,
    sdp: str = "",
    retrans: bool = True,
) -> str:
    """Return a step that sends a request; `dialog` adds the tag of the last To."""
    to_tag = "[peer_tag_param]" if dialog else ""
    text = _HEAD.format(
        method=method, to_tag=to_tag, cseq=cseq, cseq_method=cseq_method or method
    ).strip("\n")
    if headers:
        text += "\n" + headers
    if sdp:
        text += "\nContent-Type: application/sdp"
    text += "\nContent-Length: [len]\n\n" + sdp
    again = ' retrans="500"' if retrans and method not in {"ACK", "CANCEL"} else ""
    return f"<send{again}><![CDATA[\n{text}\n]]></send>"


def invite(*, codec: str = "8", cseq: int = 1, dialog: bool = False, headers: str = "") -> str:
    """Return a step that sends an INVITE of call "call" with one codec."""
    told = headers or "X-Onekey-Call: call"
    sdp = SDP.format(version=cseq, port="[media_port]", codec=codec)
    return send("INVITE", cseq=cseq, dialog=dialog, headers=told, sdp=sdp)


def ack(*, cseq: int = 1) -> str:
    """Return a step that acknowledges a 200."""
    return send("ACK", cseq=cseq, dialog=True)


def get(code: int, *, optional: bool = False) -> str:
    """Return a step that waits for a response."""
    maybe = ' optional="true"' if optional else ""
    return f'<recv response="{code}"{maybe}></recv>'


def expect(method: str, *, answer: bool = True) -> str:
    """Return steps that wait for a request and answer 200."""
    step = f'<recv request="{method}"></recv>'
    return step + (_answer("200 OK") if answer else "")


def pause(milliseconds: int) -> str:
    """Return a step that does nothing for a while."""
    return f'<pause milliseconds="{milliseconds}"/>'


def _answer(status: str) -> str:
    text = (
        f"SIP/2.0 {status}\n[last_Via:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n[last_CSeq:]\n"
        "Content-Length: 0\n\n"
    )
    return f"<send><![CDATA[\n{text}\n]]></send>"


PROCEEDING = [get(100, optional=True), get(180, optional=True), get(183, optional=True)]


@asynccontextmanager
async def peer(
    directory: Path, target: str, steps: Sequence[str]
) -> AsyncIterator["asyncio.Task[int]"]:
    """Run `steps` against `target` ("address:port"); the task returns sipp's exit code, 0 is good.

    The deadline is ours: sipp is killed by its pid when it hangs.
    """
    path = directory / "scenario.xml"
    body = "\n".join(steps)
    path.write_text(f'<?xml version="1.0"?>\n<scenario name="peer">\n{body}\n</scenario>\n')
    port = free_port_range(8, start=36_000)
    arguments = ["-sf", str(path), "-m", "1", "-i", "127.0.0.1", "-p", str(port), target]
    arguments += ["-mp", str(port + 2), "-timeout", f"{DEADLINE_S:.0f}s", "-timeout_error"]
    arguments += ["-nostdin", "-trace_err", "-error_file", str(directory / "sipp.err")]
    with (directory / "sipp.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            "sipp", *arguments, stdout=log, stderr=log, stdin=asyncio.subprocess.DEVNULL
        )
    waiting = asyncio.ensure_future(process.wait())
    try:
        yield waiting
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await waiting


async def finished(task: "asyncio.Task[int]", directory: Path) -> None:
    """Wait for sipp; fail with what it complained about."""
    code = await asyncio.wait_for(asyncio.shield(task), DEADLINE_S + 2)
    errors = directory / "sipp.err"
    assert code == 0, errors.read_text("utf-8", "replace")[-3000:] if errors.exists() else code
