"""The gateway as a child process: started until ready, killed, stopped, started again."""

import asyncio
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import aiohttp

from sim.api import Api
from sim.child import Child, ChildError, run_to_end

POLL_S = 0.02
# SIGINT ends the gateway at once; what takes longer than this is hanging.
STOP_DEADLINE_S = 2.0
COMMAND_DEADLINE_S = 60.0


class GatewayProcess:
    """`python -m gateway serve` on one configuration; `start` and `kill` as often as you like."""

    def __init__(
        self,
        config: Path,
        *,
        api: Api,
        log: Path,
        env: Mapping[str, str] | None = None,
        ready_deadline_s: float = 30.0,
    ) -> None:
        """Take the configuration file and a client for the address that it serves."""
        self.config = config
        self.api = api
        self._env = dict(env or {})
        self._ready_deadline_s = ready_deadline_s
        self.child = Child("gateway", self.argv("serve"), log=log, env=self._env)

    @property
    def pid(self) -> int:
        """Return the daemon's process id."""
        return self.child.pid

    @property
    def running(self) -> bool:
        """Tell whether the daemon lives."""
        return self.child.running

    async def start(self, *, wait_ready: bool = True) -> None:
        """Start the daemon and wait until /health/ready says 200; raises ChildError."""
        await self.child.start()
        if wait_ready:
            await self.wait_ready()

    async def wait_ready(self, *, deadline: float | None = None) -> None:
        """Wait until ready; raises ChildError with the last answer and the log's tail."""
        limit = self._ready_deadline_s if deadline is None else deadline
        end = time.monotonic() + limit
        answer = "nothing"
        while time.monotonic() < end:
            if not self.running:
                raise ChildError(
                    f"the gateway ended with exit code {self.child.returncode}; "
                    f"its log {self.child.log}:\n{self.child.tail()}"
                )
            ready, answer = await self._ask_ready()
            if ready:
                return
            await asyncio.sleep(POLL_S)
        raise ChildError(
            f"the gateway was not ready within {limit} s; it said {answer}; "
            f"its log {self.child.log}:\n{self.child.tail()}"
        )

    async def ready(self) -> bool:
        """Tell whether /health/ready says 200 now."""
        return (await self._ask_ready())[0]

    async def kill(self, how: signal.Signals = signal.SIGKILL, *, deadline: float = 10.0) -> int:
        """Send a signal to the daemon alone and wait for its end; returns its exit status.

        Workers outlive SIGKILL on purpose: the next daemon takes them over.
        """
        self.child.kill(how)
        return await self.child.wait(deadline)

    async def stop(self, *, deadline: float = STOP_DEADLINE_S) -> bool:
        """End the daemon and its workers now (SIGINT); returns whether it went by itself."""
        return await self.child.stop(signal.SIGINT, deadline=deadline)

    async def command(self, *words: str) -> None:
        """Run another command of the gateway's command line, such as `terminals import FILE`."""
        log = self.child.log.with_name(f"gateway-{words[0]}.log")
        name = f"gateway {' '.join(words)}"
        await run_to_end(
            Child(name, self.argv(*words), log=log, env=self._env), deadline=COMMAND_DEADLINE_S
        )

    def argv(self, *words: str) -> tuple[str, ...]:
        """Return the command line of a subcommand on this configuration."""
        return (sys.executable, "-m", "gateway", *words, "--config", str(self.config))

    async def _ask_ready(self) -> tuple[bool, str]:
        try:
            answer = await self.api.request("GET", "/health/ready")
        except (aiohttp.ClientError, TimeoutError) as error:
            return False, f"{type(error).__name__}: {error}"
        return answer.status == 200, f"{answer.status} {answer.text[:500]}"
