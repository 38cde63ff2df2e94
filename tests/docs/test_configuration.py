import re
import tomllib
from pathlib import Path

import pytest

from drivers.mqtt.config import MqttConfig
from drivers.sip.config import SipConfig
from gateway.agents.csv_file import COLUMNS as AGENT_COLUMNS
from gateway.config import Settings, load
from gateway.terminals.csv_file import COLUMNS, KINDS
from tests.docs.pages import DOCS

EXAMPLE = DOCS / "gateway.toml.example"
PAGE = (DOCS / "configuration.md").read_text("utf-8")


@pytest.fixture
def settings() -> Settings:
    return load(EXAMPLE)


def test_the_example_is_a_whole_configuration(settings: Settings) -> None:
    MqttConfig.model_validate(settings.drivers["mqtt"])
    sip = SipConfig(
        run_dir=settings.data_dir / "run",
        legs_per_worker=settings.telephony.legs_per_worker,
        **settings.telephony.sip,
    )
    last = settings.telephony.max_workers - 1
    text = EXAMPLE.read_text("utf-8")
    assert f"UDP {sip.sip_port(0)} to {sip.sip_port(last)}" in text
    assert f"UDP {sip.rtp_port(0)} to {sip.rtp_port(last + 1) - 1}" in text


def test_the_example_routes_an_sos_and_an_exercise(settings: Settings) -> None:
    rules = {rule.name: rule for rule in settings.routing.rules}
    assert rules["exercise"].training
    assert rules["exercise"].last_resort == ""
    assert rules["sos"].last_resort == "duty"
    assert rules["sos"].priority == "emergency"


def test_the_example_holds_no_secret() -> None:
    flat = str(tomllib.loads(EXAMPLE.read_text("utf-8")))
    assert not re.search(r"'(password|token)'", flat)


def test_the_environment_is_read_as_the_page_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in re.findall(r"`(ONEKEY__\w+)=([^`]+)`", PAGE):
        monkeypatch.setenv(name, value.strip("'"))
    settings = load(None)
    assert settings.web.port == 8081
    assert settings.incidents.keys == ("sos", "taxi")


def test_every_column_of_the_list_of_terminals_is_explained() -> None:
    section = PAGE[PAGE.index("## Terminals") :]
    rows = "\n".join(line.split("|")[1] for line in section.splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`(\w+)`", rows)) == set(COLUMNS)
    assert [kind for kind in KINDS if f"`{kind}`" not in section] == []


def test_the_example_is_where_the_page_says() -> None:
    assert Path(EXAMPLE).name in PAGE


def test_every_column_of_the_list_of_agents_is_explained() -> None:
    section = PAGE[PAGE.index("## Agents") : PAGE.index("## Terminals")]
    rows = "\n".join(line.split("|")[1] for line in section.splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`(\w+)`", rows)) == set(AGENT_COLUMNS)
