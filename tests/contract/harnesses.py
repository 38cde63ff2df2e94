"""The drivers of this repository under the contract suite."""

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiomqtt

from drivers.api.driver import Driver
from drivers.registry import load
from sim.broker import Broker
from tests.waiting import free_port

TERMINALS = {f"T-{n}": f"secret-{n}" for n in range(20)}


class MqttHarness:
    """Real mosquitto with the passwords and topic rules of `sim.broker`."""

    def __init__(self, directory: Path) -> None:
        self.broker = Broker(directory / "broker", port=free_port(), users=TERMINALS)
        self._clients: dict[str, aiomqtt.Client] = {}
        self._connecting = asyncio.Lock()
        self._readers: list[asyncio.Task[None]] = []
        self._received: dict[str, list[dict[str, Any]]] = {}

    async def open(self) -> None:
        await self.broker.start()

    async def close(self) -> None:
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        for client in self._clients.values():
            with suppress(aiomqtt.MqttError):
                await client.__aexit__(None, None, None)
        await self.broker.stop()

    def driver(self) -> Driver:
        return load("mqtt")(
            {
                "port": self.broker.port,
                "username": self.broker.gateway_user,
                "password": self.broker.gateway_password,
                "backoff_min_s": 0.05,
                "backoff_max_s": 0.2,
            }
        )

    async def press(self, terminal: str, event_id: str, key: str = "sos") -> None:
        payload = json.dumps({"type": "press", "id": event_id, "key": key})
        await self.publish(terminal, "up/event", payload.encode())

    async def garbage(self, payload: bytes) -> None:
        await self.publish("T-0", "up/event", payload)

    async def repeat(self) -> None:
        """Nothing: the broker does it."""

    async def listen(self, terminal: str) -> None:
        client = await self._client(terminal)
        await client.subscribe(f"onekey/v1/{terminal}/down/#", qos=1)
        self._received[terminal] = []
        self._readers.append(asyncio.create_task(self._collect(terminal, client)))

    def received_by(self, terminal: str) -> list[dict[str, Any]]:
        return self._received[terminal]

    async def publish(
        self, terminal: str, channel: str, payload: bytes, *, qos: int = 1, retain: bool = False
    ) -> None:
        client = await self._client(terminal)
        await client.publish(f"onekey/v1/{terminal}/{channel}", payload, qos=qos, retain=retain)

    async def _client(self, terminal: str) -> aiomqtt.Client:
        async with self._connecting:
            if terminal not in self._clients:
                client = aiomqtt.Client(
                    "127.0.0.1",
                    self.broker.port,
                    identifier=f"peer-{terminal}",
                    username=terminal,
                    password=TERMINALS[terminal],
                )
                client.pending_calls_threshold = 10_000
                await client.__aenter__()
                self._clients[terminal] = client
            return self._clients[terminal]

    async def _collect(self, terminal: str, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            told = {"topic": message.topic.value, **json.loads(message.payload)}
            self._received[terminal].append(told)


class TemplateHarness:
    """Terminals that repeat a press until it is answered, as terminals do."""

    def __init__(self, _directory: Path) -> None:
        self.port = free_port()
        self._writers: dict[str, asyncio.StreamWriter] = {}
        self._readers: list[asyncio.Task[None]] = []
        self._received: dict[str, list[dict[str, Any]]] = {}
        self._open: dict[tuple[str, str], bytes] = {}

    async def open(self) -> None:
        """Nothing: the driver is the server."""

    async def close(self) -> None:
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        for writer in self._writers.values():
            writer.close()

    def driver(self) -> Driver:
        return load("template")({"port": self.port})

    async def press(self, terminal: str, event_id: str, key: str = "sos") -> None:
        line = json.dumps({"type": "press", "id": event_id, "key": key}).encode()
        self._open[terminal, event_id] = line
        await self._write(terminal, line)

    async def garbage(self, payload: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(payload + b"\n")
        writer.write_eof()
        with suppress(ConnectionError):  # the driver hangs up on an endless line
            await reader.read()
        writer.close()

    async def repeat(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()
        for (terminal, _), line in list(self._open.items()):
            await self._write(terminal, line)

    async def listen(self, terminal: str) -> None:
        await self._connect(terminal)

    def received_by(self, terminal: str) -> list[dict[str, Any]]:
        return self._received[terminal]

    async def _write(self, terminal: str, line: bytes) -> None:
        if terminal not in self._writers:
            await self._connect(terminal)
        self._writers[terminal].write(line + b"\n")
        await self._writers[terminal].drain()

    async def _connect(self, terminal: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._writers[terminal] = writer
        self._received.setdefault(terminal, [])
        self._readers.append(asyncio.create_task(self._collect(terminal, reader)))
        writer.write(json.dumps({"type": "hello", "terminal": terminal}).encode() + b"\n")
        await writer.drain()

    async def _collect(self, terminal: str, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            told = json.loads(line)
            if told["type"] == "received":
                self._open.pop((terminal, told["id"]), None)
            else:
                self._received[terminal].append(told)


HARNESSES: dict[str, type[MqttHarness | TemplateHarness]] = {
    "mqtt": MqttHarness,
    "template": TemplateHarness,
}
