"""Publishes telemetry as fast as the broker takes it: `python -m bench.flood PORT COUNT TERMINALS`.

The packets are made before the connection, so that the flood costs next to nothing: user and
password come from the environment (FLOOD_USER, FLOOD_PASSWORD).
"""

import asyncio
import os
import sys
import time

import gmqtt

from protocols.mqtt_payload.topics import Up, up_topic
from protocols.mqtt_payload.v1 import Position, Telemetry, encode
from sim.options import terminal_id

# Each write holds so many packets: about 30 KB.
PACKETS_PER_WRITE = 200


def payload(number: int) -> bytes:
    """Return the measurements of a pendant; every second one knows where it is."""
    position = Position(lat=31.2304 + number / 1e5, lon=121.4737, accuracy_m=12.0)
    return encode(
        Telemetry(
            ts=round(time.time() * 1000) + number,
            boot=1_700_000_000,
            battery=number % 101,
            signal_dbm=-60 - number % 50,
            position=position if number % 2 else None,
        )
    )


def packet(topic: str, content: bytes) -> bytes:
    """Return a PUBLISH with QoS 0 and no properties (MQTT 5.0 §3.3)."""
    name = topic.encode()
    body = len(name).to_bytes(2, "big") + name + b"\0" + content
    length, size = bytearray(), len(body)
    while True:
        size, digit = divmod(size, 128)
        length.append(digit | (128 if size else 0))
        if not size:
            return b"\x30" + bytes(length) + body


async def flood(port: int, count: int, terminals: int) -> None:
    """Publish `count` messages, of all terminals in turn."""
    topics = [up_topic(terminal_id(n % terminals + 1), Up.TELEMETRY) for n in range(terminals)]
    packets = [packet(topics[n % terminals], payload(n)) for n in range(count)]
    client = gmqtt.Client("flood")
    client.set_auth_credentials(os.environ["FLOOD_USER"], os.environ["FLOOD_PASSWORD"])
    await client.connect("127.0.0.1", port)
    transport: asyncio.Transport = client._connection._transport  # noqa: SLF001 gmqtt shows it nowhere
    for first in range(0, count, PACKETS_PER_WRITE):
        transport.write(b"".join(packets[first : first + PACKETS_PER_WRITE]))
        while transport.get_write_buffer_size() > 0:  # noqa: ASYNC110 a transport has no event for it
            await asyncio.sleep(0.001)
    await client.disconnect()


if __name__ == "__main__":
    asyncio.run(flood(*(int(word) for word in sys.argv[1:4])))
