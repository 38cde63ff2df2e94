"""A copy of the sources in which a page can be followed to the letter."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.docs.pages import ROOT

NEEDED = ("drivers", "gateway", "protocols", "sim", "tests", "pyproject.toml")


def copy_house(copy: Path) -> Path:
    """Copy the sources, with this process's environment as `.venv`."""
    for name in NEEDED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)
    (copy / ".venv").symlink_to(sys.prefix)
    return copy


def shell(house: Path, script: str) -> str:
    """Run a script in the copy; fails with what it said."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=house,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def insert(path: Path, *, text: str, after: str = "", before: str = "") -> None:
    """Put `text` beside the one place where `after` or `before` stands."""
    source, mark = path.read_text("utf-8"), after or before
    assert source.count(mark) == 1, f"{mark!r} in {path.name}"
    path.write_text(source.replace(mark, f"{after}{text}{before}"), "utf-8")
