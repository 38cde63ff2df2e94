"""Takes the flow of docs/adding-a-call-flow.md out of the page and runs its tests."""

import ast
import re
from pathlib import Path

import pytest

from tests.docs.house import copy_house, shell
from tests.docs.pages import DOCS, ROOT, blocks

PAGE = DOCS / "adding-a-call-flow.md"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = copy_house(tmp_path_factory.mktemp("house"))
    for block in blocks(PAGE, "python"):
        (copy / block.label).write_text(block.text, "utf-8")
    return copy


def test_its_tests_pass(house: Path) -> None:
    path = "tests/gateway/flows/policies/test_enquiry.py"
    said = shell(house, f".venv/bin/python -m pytest {path}")
    passed = re.search(r"(\d+) passed", said)
    assert passed is not None, said
    assert int(passed[1]) > 10, said


def test_it_is_pure_and_in_its_layer(house: Path) -> None:
    said = shell(house, ".venv/bin/python -m pytest tests/architecture -k enquiry")
    assert "2 passed" in said


def test_it_passes_the_linter(house: Path) -> None:
    files = " ".join(block.label for block in blocks(PAGE, "python"))
    shell(house, f".venv/bin/ruff check {files} && .venv/bin/ruff format --check {files}")


# What the page says about the places to change, so that it is mended when they are.
@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("gateway/flows/runner.py", {"EmergencyCall", "plan_of"}),
        ("gateway/flows/actor.py", {"EmergencyCall", "step", "FLOW"}),
    ],
)
def test_emergency_is_still_wired_in(module: str, names: set[str]) -> None:
    imported = {
        alias.name
        for node in ast.walk(ast.parse((ROOT / module).read_text("utf-8")))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert names <= imported, f"{PAGE.name}: step 3 is out of date"
