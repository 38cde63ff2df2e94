"""The composition root: it fits together, starts, serves, and ends. With phones: tests/e2e."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from drivers.api.errors import StoreUnavailable
from gateway import admin, app
from gateway.config import Settings
from gateway.telephony.prompts import PROMPTS
from sim.polling import poll
from tests.gateway.telephony.test_recordings import write_wav
from tests.waiting import free_port, wait_until

CSV = "id,kind,driver\nP-0001,portable,mqtt\nP-0002,kiosk,mqtt\n"


def settings(tmp_path: Path, **sections: Any) -> Settings:
    values = {"data_dir": tmp_path, "web": {"port": free_port()}, "telephony": {"enabled": False}}
    return Settings.model_validate(values | sections)


def imported(tmp_path: Path, config: Settings) -> int:
    file = tmp_path / "terminals.csv"
    file.write_text(CSV, "utf-8")
    return asyncio.run(admin.import_terminals(config, file))


async def asked(config: Settings, path: str) -> tuple[int, Any]:
    url = f"http://127.0.0.1:{config.web.port}{path}"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.json()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_starts_serves_and_ends_when_asked(tmp_path: Path, how: signal.Signals) -> None:
    config = settings(tmp_path)
    assert imported(tmp_path, config) == 2

    async def life() -> tuple[Any, Any, int]:
        serving = asyncio.create_task(app._serve(config))
        await listening(serving, config)
        ready = await asked(config, "/health/ready")
        terminals = await asked(config, "/api/v1/terminals")
        os.kill(os.getpid(), how)
        return ready, terminals, await asyncio.wait_for(serving, 5)

    ready, terminals, code = asyncio.run(life())
    assert ready == (200, {"ready": True, "failing": {}, "parts": {"store": "ok"}})
    assert [one["id"] for one in terminals[1]["items"]] == ["P-0001", "P-0002"]
    assert code == 0


async def listening(serving: asyncio.Task[int], config: Settings) -> None:
    await wait_until(lambda: serving.done() or _listens(config.web.port))
    if serving.done():
        raise AssertionError("it did not start") from serving.exception()


def _listens(port: int) -> bool:
    # /proc instead of a connection: the daemon under test shares our loop and could not accept.
    lines = Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]
    return any(
        line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in lines
    )


def test_a_driver_that_fails_to_start_is_no_reason_to_stay_down(tmp_path: Path) -> None:
    """No broker: the data, the API and readiness are there."""
    mqtt = {"host": "127.0.0.1", "port": free_port(), "backoff_min_s": 0.05}
    config = settings(tmp_path, drivers={"mqtt": mqtt})

    async def life() -> tuple[Any, int]:
        serving = asyncio.create_task(app._serve(config))
        await listening(serving, config)

        async def down() -> Any:
            status, body = await asked(config, "/health/ready")
            return (status, body) if "mqtt.mqtt.events" in body["parts"] else None

        answer = await poll(down, "the driver to say how it stands", deadline=5)
        os.kill(os.getpid(), signal.SIGINT)
        return answer, await asyncio.wait_for(serving, 5)

    (status, body), code = asyncio.run(life())
    assert status == 503
    assert body["failing"]["mqtt.mqtt.events"] == "not connected"
    assert code == 0


def test_a_store_that_cannot_be_opened_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "store.sqlite").mkdir()
    config = settings(tmp_path, store={"url": f"sqlite:///{tmp_path / 'store.sqlite'}"})
    with pytest.raises((StoreUnavailable, OSError)):
        asyncio.run(app._serve(config))
    assert not _listens(config.web.port)


def test_migrating_is_repeatable_and_importing_updates(tmp_path: Path) -> None:
    config = settings(tmp_path)
    for _ in "12":
        asyncio.run(admin.migrate(config))
        assert imported(tmp_path, config) == 2


def test_check_names_prompts_drivers_and_telephony(tmp_path: Path) -> None:
    config = settings(
        tmp_path,
        drivers={"mqtt": {"prot": 1}, "carrier-pigeon": {}},
        telephony={"sip": {"bind": "x"}},
    )
    found = app.check(config)
    assert [line.split(":")[0] for line in found if "prompts" not in line] == [
        "drivers.mqtt", "drivers.carrier-pigeon", "telephony.sip",
    ]  # fmt: skip
    assert any(line.startswith("prompts: ") for line in found)


def test_check_is_content_with_a_good_configuration(tmp_path: Path) -> None:
    voices = tmp_path / "prompts" / "zh-CN"
    voices.mkdir(parents=True)
    for name in PROMPTS:
        write_wav(voices / f"{name}.wav", 0.1)
    config = settings(tmp_path, drivers={"mqtt": {"host": "127.0.0.1"}})
    assert app.check(config) == []


def test_the_workers_sockets_lie_in_the_data_directory(tmp_path: Path) -> None:
    config = settings(tmp_path, telephony={"legs_per_worker": 3, "sip": {"user_agent": "x"}})
    sip = app._sip_config(config)
    assert sip.run_dir == tmp_path / "run"
    assert (sip.legs_per_worker, sip.user_agent) == (3, "x")
