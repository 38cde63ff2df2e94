"""Follows docs/adding-a-terminal.md in a copy of the repository, block by block."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.docs.house import copy_house, insert, shell
from tests.docs.pages import DOCS, block, blocks

PAGE = DOCS / "adding-a-terminal.md"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources, with the first `sh` block and the three edits of the page done."""
    copy = copy_house(tmp_path_factory.mktemp("house"))
    shell(copy, blocks(PAGE, "sh")[0].text)
    insert(
        copy / "drivers" / "registry.py",
        after="BUILT_IN: dict[str, str] = {\n",
        text=block(PAGE, "python", "registry").text,
    )
    harnesses = copy / "tests" / "contract" / "harnesses.py"
    insert(harnesses, before="HARNESSES: ", text=block(PAGE, "python", "harness").text + "\n\n")
    insert(
        harnesses,
        after='    "template": TemplateHarness,\n',
        text=block(PAGE, "python", "harnesses").text,
    )
    return copy


def python(house: Path, code: str) -> str:
    return shell(house, f".venv/bin/python - <<'END'\n{code}\nEND\n").strip()


def test_the_copy_is_the_one_that_is_tested(house: Path) -> None:
    found = python(house, "import drivers.registry as r; print(r.__file__)")
    assert Path(found) == house / "drivers" / "registry.py"


def test_nothing_of_the_template_is_left_in_the_copy(house: Path) -> None:
    names = {path.name for path in (house / "drivers" / "doorbell").iterdir()}
    assert names == {"__init__.py", "config.py", "driver.py", "mapping.py"}
    for path in (house / "drivers" / "doorbell").glob("*.py"):
        assert "template" not in path.read_text("utf-8").lower(), path.name


@pytest.mark.slow
def test_the_copy_passes_the_contract_suite(house: Path) -> None:
    said = shell(house, blocks(PAGE, "sh")[1].text.splitlines()[0])
    passed = re.search(r"(\d+) passed", said)
    assert passed is not None, said
    assert int(passed[1]) > 20, said
    assert "SKIPPED" not in said


def test_the_copy_keeps_to_the_layers(house: Path) -> None:
    assert " passed" in shell(house, blocks(PAGE, "sh")[1].text.splitlines()[1])


def test_the_copy_passes_the_checks(house: Path) -> None:
    places = "drivers/doorbell drivers/registry.py tests/contract"
    shell(house, f".venv/bin/ruff check {places} && .venv/bin/ruff format --check {places}")


def test_the_entry_point_is_found(house: Path) -> None:
    points = tomllib.loads(block(PAGE, "toml", "entry-point").text)["project"]["entry-points"]
    info = house / "outside" / "doorbell-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: doorbell\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "".join(
            f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in targets.items())
            for group, targets in points.items()
        )
    )
    (name,) = points["onekey.drivers"]
    code = (
        "import sys; sys.path.insert(0, 'outside')\n"
        "from drivers.registry import load\n"
        f"print(type(load({name!r})({{}})).__name__)"
    )
    assert python(house, code) == "DoorbellDriver"


def test_the_configuration_is_accepted(house: Path) -> None:
    section = tomllib.loads(block(PAGE, "toml", "config").text)["drivers"]["doorbell"]
    code = (
        f"from drivers.registry import load\nprint(type(load('doorbell')({section!r})).__module__)"
    )
    assert python(house, code) == "drivers.doorbell.driver"
