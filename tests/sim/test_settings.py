"""The generated configuration is one that the gateway itself accepts."""

import csv
import io
import tomllib
from pathlib import Path
from typing import Any

import pytest

from gateway.config import load
from sim.options import AgentSpec, StageSpec, WorldOptions
from sim.ports import Ports
from sim.settings import gateway_toml, terminals_csv
from sim.toml_text import merged, toml_text

PORTS = Ports(mqtt=1, web=8080, sip_base=100, rtp_base=200, phones=3, workers=4)


def configured(options: WorldOptions) -> str:
    return gateway_toml(
        options,
        PORTS,
        data_dir=Path("/w/data"),
        run_dir=Path("/w/run"),
        prompts=Path("/w/prompts"),
        password_file=Path("/w/password"),
        mqtt_user="gateway",
    )


def test_the_gateway_accepts_it(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    agents = (AgentSpec(), AgentSpec(name="night", uri="sip:night@192.0.2.7"))
    file.write_text(configured(WorldOptions(agents=agents, last_resort="night")), "utf-8")
    settings = load(file)
    (rule,) = settings.routing.rules
    assert [stage.targets for stage in rule.chain] == [("agent-1",)]
    assert rule.last_resort == "night"
    assert settings.routing.targets["agent-1"].uri == "sip:agent-1@127.0.0.1:101"
    assert settings.routing.targets["night"].uri == "sip:night@192.0.2.7"
    assert settings.telephony.sip["sip_port_base"] == PORTS.worker_sip
    assert settings.drivers["mqtt"]["password_file"] == "/w/password"


def test_a_chain_of_its_own_and_toml_laid_over_it(tmp_path: Path) -> None:
    options = WorldOptions(
        agents=(AgentSpec(), AgentSpec()),
        chain=(StageSpec(targets=("agent-2", "agent-1"), mode="together"),),
        extra_toml="[telephony]\nmin_workers = 3\n[emergency]\nterminal_ring_s = 2.5",
        store_url="postgresql+psycopg://x@y/z",
    )
    file = tmp_path / "gateway.toml"
    file.write_text(configured(options), "utf-8")
    settings = load(file)
    assert settings.routing.rules[0].chain[0].mode == "together"
    assert settings.telephony.min_workers == 3
    assert settings.telephony.max_workers == options.max_workers, "merged, not replaced"
    assert settings.emergency.terminal_ring_s == 2.5
    assert settings.store.url == options.store_url


def test_only_voices_have_a_sip_uri() -> None:
    rows = list(csv.DictReader(io.StringIO(terminals_csv(WorldOptions(terminals=3), PORTS))))
    assert [row["id"] for row in rows] == ["P-0001", "P-0002", "P-0003"]
    assert [row["sip_uri"] for row in rows] == ["sip:P-0001@127.0.0.1:100", "", ""]


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"a": 1, "b": {"c": 'quo"te \\ 终端', "d": {"e": [1, 2.5, True]}}},
        {"rules": [{"name": "x", "chain": [{"targets": ["a"]}]}], "odd key": {"x.y": False}},
        {"empty": {"inner": {"k": "v"}}},
    ],
)
def test_toml_reads_back_as_it_was(table: dict[str, Any]) -> None:
    assert tomllib.loads(toml_text(table)) == table


def test_toml_refuses_what_it_cannot_hold() -> None:
    with pytest.raises(TypeError, match="NoneType"):
        toml_text({"a": None})


def test_merging_leaves_both_sides_alone() -> None:
    base, over = {"a": {"x": 1, "y": 2}, "b": 1}, {"a": {"y": 3}, "b": {"z": 0}}
    assert merged(base, over) == {"a": {"x": 1, "y": 3}, "b": {"z": 0}}
    assert base == {"a": {"x": 1, "y": 2}, "b": 1}
