import re
import tomllib
from typing import Any

import pytest

from tests.docs.pages import DOCS, ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
DECLARED = {
    "At run time": PROJECT["dependencies"],
    "For development and tests": PROJECT["optional-dependencies"]["dev"],
}


def rows(chapter: str) -> dict[str, tuple[str, str]]:
    page = (DOCS / "dependencies.md").read_text("utf-8")
    text = page.split(f"## {chapter}\n")[1].split("\n## ")[0]
    cells = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {name: (why, licence) for name, why, licence in cells if name != "name"}


@pytest.mark.parametrize("chapter", DECLARED)
def test_every_direct_dependency_has_its_line_and_none_else(chapter: str) -> None:
    names = {re.split(r"[\[<>=!~; ]", line)[0].lower() for line in DECLARED[chapter]}
    assert set(rows(chapter)) == names


@pytest.mark.parametrize("chapter", DECLARED)
def test_every_line_says_why_and_under_which_licence(chapter: str) -> None:
    for name, (why, licence) in rows(chapter).items():
        assert len(why) > 4, name
        assert re.fullmatch(r"[A-Z][\w.-]+( (AND|OR) [A-Z][\w.-]+)*", licence), name
