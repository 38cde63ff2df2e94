"""What `make docs` writes is what stands there."""

import difflib
from pathlib import Path

import pytest
from pydantic import BaseModel

from drivers.mqtt.config import FloodConfig, MqttConfig, TlsConfig
from drivers.sip.config import SipConfig
from gateway.config import Section, Settings
from scripts.config_reference import mqtt_tables, sections, settings_tables, sip_table
from scripts.make_docs import MarkMissing, main, wanted, with_part
from scripts.metrics_reference import VALUES, all_metrics, metrics_tables
from tests.docs.pages import ROOT


@pytest.mark.parametrize("path", [path for path, _ in wanted()], ids=lambda path: path.name)
def test_it_is_up_to_date(path: Path) -> None:
    text = next(text for each, text in wanted() if each == path)
    there = path.read_text("utf-8")
    found = difflib.unified_diff(
        there.splitlines(), text.splitlines(), "there", "made", n=0, lineterm=""
    )
    assert there == text, "run `make docs`:\n" + "\n".join(found)


def test_check_mode_agrees() -> None:
    assert main(["--check"]) == 0


def test_only_what_stands_between_the_marks_is_replaced() -> None:
    page = "before\n<!-- made: x -->\nold\n<!-- end: x -->\nafter\n"
    once = with_part(page, "x", "new\n")
    assert once == "before\n<!-- made: x -->\n\nnew\n\n<!-- end: x -->\nafter\n"
    assert with_part(once, "x", "new") == once
    with pytest.raises(MarkMissing):
        with_part(page, "y", "new")


def test_every_setting_of_the_gateway_is_in_the_tables() -> None:
    found = sections(ROOT / "gateway" / "config.py")
    tables = settings_tables()
    kinds: list[type[BaseModel]] = [Settings, *Section.__subclasses__()]
    for kind in kinds:
        if kind.__module__ != Settings.__module__:
            continue
        assert [s.name for s in found[kind.__name__].settings] == list(kind.model_fields)
        assert kind is Settings or f"\n{kind.__doc__}\n" in tables, kind.__name__


def test_every_setting_of_the_drivers_is_in_the_tables() -> None:
    tables = mqtt_tables() + sip_table()
    names = [*MqttConfig.model_fields, *TlsConfig.model_fields, *FloodConfig.model_fields]
    names += [name for name in SipConfig.__dataclass_fields__ if name != "legs_per_worker"]
    assert [name for name in names if f"\n| `{name}` |" not in tables] == []


def test_comments_defaults_and_bounds_are_taken_over() -> None:
    tables = settings_tables() + mqtt_tables() + sip_table()
    for row in [
        "| `ring_s` | `20.0` | number, > 0, ≤ 180 |  |",
        "| `uri` | *needed* | text |  |",
        "| `session_expiry_s` | `432000` | whole number, ≥ 60, ≤ 4294967294 | How long the broker ",
        "| `keys` | `[]` | list of text | keys of presses, names of alarms |",
        '| `format` | `"json"` | `json`, `console` |  |',
        '| `run_dir` | `"<data_dir>/run"` | path |',
    ]:
        assert f"\n{row}" in tables, row


def test_every_metric_is_in_the_table() -> None:
    table = metrics_tables()
    assert len(all_metrics()) > 30
    for metric in all_metrics():
        described = next(iter(metric.describe()))
        assert f"| `{described.name}" in table


def test_the_enumerations_belong_to_metrics_that_are_there() -> None:
    labels = {
        (next(iter(metric.describe())).name, label)
        for metric in all_metrics()
        for label in metric._labelnames
    }
    assert set(VALUES) <= labels
