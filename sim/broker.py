"""A real mosquitto with a generated configuration: passwords, topic rules, persistence.

`Broker` runs one in a directory of its own; `mosquitto_conf` and `acl_file` are pure, so that an
operator's example and the broker under test come from the same lines.
"""

import asyncio
import contextlib
import errno
import os
import secrets
import shutil
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from protocols.mqtt_payload.topics import ROOT, is_terminal_id

GATEWAY_USER = "gateway"

# Four times the largest payload that the gateway decodes: what lies between is refused there,
# counted and named; what lies above, the broker refuses.
MESSAGE_SIZE_LIMIT = 64 * 1024
# Topic, properties and fixed header of a PUBLISH beside its payload.
MAX_PACKET_SIZE = MESSAGE_SIZE_LIMIT + 1024
# The default of 1,000 drops QoS 1 messages silently; 0 is not a safe "unlimited" (mosquitto
# issues 1956 and 2879).
MAX_QUEUED_MESSAGES = 100_000
# The default of 20 makes a gateway wait for the broker 50 times in a storm of 1,000 presses.
MAX_INFLIGHT_MESSAGES = 1000

START_DEADLINE_S = 10.0
STOP_DEADLINE_S = 10.0
RELOAD_DEADLINE_S = 5.0
_POLL_S = 0.01


class BrokerError(Exception):
    """The broker is not installed, its port is taken, or it did not start; the text says which."""


def mosquitto_conf(
    directory: Path, *, port: int, host: str = "127.0.0.1", autosave_s: int = 5, root: bool = False
) -> str:
    """Return mosquitto.conf(5) for a broker that keeps its files in `directory`."""
    lines = [
        "# Who may connect is in `passwords`, who may use which topic in `acl`.",
        f"listener {port} {host}",
        "allow_anonymous false",
        f"password_file {directory / 'passwords'}",
        f"acl_file {directory / 'acl'}",
        "",
        "# A press that arrives while the gateway is away waits here, through a restart too.",
        "persistence true",
        f"persistence_location {directory}/",
        f"autosave_interval {autosave_s}",
        "# The default of 1000 drops QoS 1 messages silently; 0 is not a safe 'unlimited'.",
        f"max_queued_messages {MAX_QUEUED_MESSAGES}",
        "max_queued_bytes 0",
        f"max_inflight_messages {MAX_INFLIGHT_MESSAGES}",
        "",
        "# Bounds what one message can cost.",
        f"message_size_limit {MESSAGE_SIZE_LIMIT}",
        f"max_packet_size {MAX_PACKET_SIZE}",
        "# Without it each small answer waits 40 ms for the peer's delayed TCP acknowledgement.",
        "set_tcp_nodelay true",
        "",
        f"log_dest file {directory / 'mosquitto.log'}",
        "log_type error",
        "log_type warning",
        "log_type notice",
        "log_type information",
    ]
    if root:
        lines += [
            "",
            "# Started as root, mosquitto becomes the user `mosquitto`, who cannot write here.",
            "user root",
        ]
    return "\n".join(lines) + "\n"


def acl_file(gateway_user: str = GATEWAY_USER) -> str:
    """Return the topic rules: a terminal's user name is its id and it has only its own topics.

    Rules name topics without `$share/<group>/`: mosquitto checks the topic of each message.
    """
    return (
        f"user {gateway_user}\n"
        f"topic read {ROOT}/+/up/#\n"
        f"topic write {ROOT}/+/down/#\n"
        "topic read $SYS/#\n"
        "\n"
        "# %u is the user name; these two lines hold for every user.\n"
        f"pattern write {ROOT}/%u/up/#\n"
        f"pattern read {ROOT}/%u/down/#\n"
    )


class Broker:
    """One mosquitto process on 127.0.0.1, started and ended by us. An async context manager."""

    def __init__(
        self,
        directory: Path,
        *,
        port: int,
        users: Mapping[str, str] | None = None,
        gateway_user: str = GATEWAY_USER,
        gateway_password: str | None = None,
        autosave_s: int = 1,
    ) -> None:
        for name in users or {}:
            _check_user(name)
        self.directory = directory
        self.port = port
        self.gateway_user = gateway_user
        self.gateway_password = gateway_password or secrets.token_urlsafe(24)
        self._users = dict(users or {})
        self._autosave_s = autosave_s
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """Return the process id; raises BrokerError when it does not run."""
        if self._process is None:
            raise BrokerError("the broker does not run")
        return self._process.pid

    @property
    def log(self) -> str:
        """Return what mosquitto has logged so far."""
        path = self.directory / "mosquitto.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Write the files and start; returns when the port answers. Raises BrokerError."""
        _check_port_free(self.port)
        self._write_files()
        await self._write_passwords()
        with (self.directory / "output.log").open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                _program("mosquitto"),
                "-c",
                str(self.directory / "mosquitto.conf"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches us first; we end the broker in order
            )
        try:
            await self._wait_answers()
        except BaseException:
            await self.kill()
            raise

    async def stop(self) -> None:
        """End it with SIGTERM: it saves its queues. Killed when it takes more than 10 s."""
        await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """End it with SIGKILL: what was not yet saved is lost, as in a power failure."""
        await self._end(signal.SIGKILL)

    async def restart(self) -> None:
        """Stop and start on the same directory and port."""
        await self.stop()
        await self.start()

    async def add_users(self, users: Mapping[str, str]) -> None:
        """Let more terminals in; returns when the running broker has read the new passwords."""
        for name in users:
            _check_user(name)
        self._users.update(users)
        await self._write_passwords()
        if self._process is None:
            return
        reloads = self.log.count("Reloading config")
        self._process.send_signal(signal.SIGHUP)
        end = time.monotonic() + RELOAD_DEADLINE_S
        while self.log.count("Reloading config") == reloads:
            if time.monotonic() > end:
                raise BrokerError(f"mosquitto did not reload within {RELOAD_DEADLINE_S} s")
            await asyncio.sleep(_POLL_S)

    def _write_files(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "acl").write_text(acl_file(self.gateway_user), "utf-8")
        (self.directory / "mosquitto.conf").write_text(
            mosquitto_conf(
                self.directory,
                port=self.port,
                autosave_s=self._autosave_s,
                root=os.geteuid() == 0,
            ),
            "utf-8",
        )

    async def _write_passwords(self) -> None:
        # Hashed in place with -U, because -b would show each password in the process list. Renamed
        # when hashed, so that a reload never meets a plain or half-written file.
        draft = self.directory / "passwords.new"
        everyone = {self.gateway_user: self.gateway_password, **self._users}
        draft.touch(mode=0o600)
        draft.write_text("".join(f"{n}:{p}\n" for n, p in everyone.items()), "utf-8")
        hashing = await asyncio.create_subprocess_exec(
            _program("mosquitto_passwd"),
            "-U",
            str(draft),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        _, complaint = await hashing.communicate()
        if hashing.returncode != 0:
            raise BrokerError(f"mosquitto_passwd: {complaint.decode(errors='replace').strip()}")
        draft.replace(self.directory / "passwords")

    async def _wait_answers(self) -> None:
        assert self._process is not None
        end = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < end:
            if self._process.returncode is not None:
                raise BrokerError(
                    f"mosquitto on port {self.port} ended at once: {self._last_words()}"
                )
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                await writer.wait_closed()
                return
            await asyncio.sleep(_POLL_S)
        raise BrokerError(f"mosquitto did not answer on port {self.port} in {START_DEADLINE_S} s")

    def _last_words(self) -> str:
        said = (self.directory / "output.log").read_text("utf-8", "replace") + self.log
        return " | ".join(said.splitlines()[-3:]) or "it said nothing"

    async def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(how)
        try:
            await asyncio.wait_for(process.wait(), STOP_DEADLINE_S)
        except TimeoutError:
            process.kill()
            await process.wait()


def _check_user(name: str) -> None:
    # A wildcard or a slash in a user name would open other terminals' topics through %u.
    if not is_terminal_id(name):
        raise BrokerError(f"not a terminal id, so not a user name: {name[:80]!r}")


def _check_port_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise BrokerError(f"port {port} on 127.0.0.1 is already taken") from error


def _program(name: str) -> str:
    # Debian keeps daemons in /usr/sbin, which an ordinary user's PATH leaves out.
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise BrokerError(f"{name} is not installed (apt install mosquitto)")
    return found
