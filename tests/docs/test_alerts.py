import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.metrics_reference import all_metrics, full_name
from tests.docs.pages import DOCS

ALERTS = DOCS / "alerts.yml"
OPERATIONS = (DOCS / "operations.md").read_text("utf-8")
RULES: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for rule in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"][0]["rules"]
}
HISTOGRAM = re.compile(r"_(bucket|count|sum)$")


def promtool(*words: str, cwd: Path) -> None:
    done = subprocess.run(
        ["promtool", *words], cwd=cwd, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_the_rules() -> None:
    promtool("check", "rules", ALERTS.name, cwd=DOCS)


@pytest.mark.parametrize("name", RULES)
def test_rules_use_metrics_that_are_there(name: str) -> None:
    known = {full_name(metric): next(iter(metric.describe())).type for metric in all_metrics()}
    used = set(re.findall(r"\bonekey_\w+", RULES[name]["expr"]))
    for metric in used:
        base = HISTOGRAM.sub("", metric)
        assert known[metric if metric in known else base] == (
            "histogram" if base != metric else known[metric]
        ), metric
    assert used or name == "OnekeyDown"


@pytest.mark.parametrize("name", RULES)
def test_every_alert_is_urgent_or_not_and_says_what_it_is(name: str) -> None:
    assert RULES[name]["labels"]["severity"] in {"page", "ticket"}
    assert RULES[name]["annotations"]["summary"].endswith(".")


def test_every_alert_has_its_chapter_and_none_else() -> None:
    assert re.findall(r"^### (Onekey\w+)$", OPERATIONS, re.MULTILINE) == list(RULES)


# Series in promtool's notation, one sample every 15 s; when; which alerts must fire then.
STORIES: list[tuple[str, dict[str, str], str, set[str]]] = [
    ("all is well", {}, "10m", set()),
    ("the daemon is away", {'up{job="onekey"}': "1x4 0x40"}, "5m", {"OnekeyDown"}),
    (
        "nobody answers for two minutes",
        {"onekey_incident_oldest_unanswered_seconds": "0x4 0+15x40"},
        "4m",
        {"OnekeySomebodyWaits"},
    ),
    (
        "the first alarm there ever was",
        {'onekey_operator_alarms_total{cause="no_route"}': "_x20 1x40"},
        "6m",
        {"OnekeyPersonNeeded"},
    ),
    (
        "an alarm a day ago",
        {'onekey_operator_alarms_total{cause="no_route"}': "1x60"},
        "12m",
        set(),
    ),
    (
        "the broker is away",
        {'onekey_driver_link_up{driver="mqtt",link="mqtt.events"}': "1x4 0x40"},
        "4m",
        {"OnekeyDriverLinkDown"},
    ),
    ("the disk is full", {"onekey_store_up": "1x4 0x40"}, "4m", {"OnekeyStoreDown"}),
    (
        "no worker",
        {"onekey_pool_legs_capacity": "8x4 0x40", "onekey_pool_legs_limit": "400x60"},
        "4m",
        {"OnekeyNoWorkers"},
    ),
    (
        "a network operator fails",
        {
            'onekey_terminals{state="offline"}': "10x60 300x60",
            'onekey_terminals{state="online"}': "990x60 700x60",
        },
        "25m",
        {"OnekeyTerminalsGoOffline"},
    ),
]


@pytest.mark.parametrize(("series", "at", "firing"), [s[1:] for s in STORIES],
                         ids=[s[0] for s in STORIES])  # fmt: skip
def test_alerts_fire_when_they_should_and_only_then(
    tmp_path: Path, series: dict[str, str], at: str, firing: set[str]
) -> None:
    given = {'up{job="onekey"}': "1x200", **series}
    rounds = {
        "rule_files": [str(ALERTS)],
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "15s",
                "input_series": [{"series": k, "values": v} for k, v in given.items()],
                # Which alerts fire, whatever their labels and texts.
                "promql_expr_test": [
                    {
                        "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                        "eval_time": at,
                        "exp_samples": [
                            {"labels": f'{{alertname="{name}"}}', "value": 1} for name in firing
                        ],
                    }
                ],
            }
        ],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump(rounds), "utf-8")
    promtool("test", "rules", "test.yml", cwd=tmp_path)
