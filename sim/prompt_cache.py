"""The spoken prompts, made once for all worlds of this clone."""

import asyncio
import contextlib
import fcntl
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

from sim.child import Child, run_to_end

PROMPTS = Path(__file__).parents[1] / "build" / "prompts"
# Sixteen prompts take espeak-ng a few seconds; nothing when they are up to date.
DEADLINE_S = 60.0


async def prompts(log: Path) -> Path:
    """Return the directory of up-to-date prompts; raises ChildError when they cannot be made."""
    PROMPTS.mkdir(parents=True, exist_ok=True)
    command = (sys.executable, "-m", "gateway.telephony.make_prompts", str(PROMPTS))
    async with _alone(PROMPTS.with_suffix(".lock")):
        await run_to_end(Child("prompts", command, log=log), deadline=DEADLINE_S)
    return PROMPTS


@contextlib.asynccontextmanager
async def _alone(path: Path) -> AsyncGenerator[None, None]:
    """Hold a lock against other processes: two worlds would write the same drafts."""
    with path.open("w") as file:
        await asyncio.to_thread(fcntl.flock, file, fcntl.LOCK_EX)
        yield
