"""Publishes back what it gets: `python -m bench.bare_echo PORT nodelay|nagle`, credentials in env.

The least that any aiomqtt program does between a press and an answer. Says `ready` when subscribed.
"""

import asyncio
import os
import socket
import sys

import aiomqtt

UP, DOWN = "bench/up", "bench/down"
NO_DELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


async def main(port: int, *, nodelay: bool) -> None:
    """Echo until killed."""
    client = aiomqtt.Client(
        "127.0.0.1",
        port,
        identifier="bare-echo",
        username=os.environ["LOAD_USER"],
        password=os.environ["LOAD_PASSWORD"],
        protocol=aiomqtt.ProtocolVersion.V5,
        socket_options=[NO_DELAY] if nodelay else [],
    )
    async with client:
        await client.subscribe(UP, qos=1)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        async for message in client.messages:
            await client.publish(DOWN, message.payload, qos=1)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), nodelay=sys.argv[2] == "nodelay"))
