"""Reads the documentation: code blocks by their label, relative links, text files."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
# What runs leave behind and what is not ours.
SKIPPED = {"data", "build", "dist", "node_modules", "__pycache__"}
_FENCE = re.compile(r"^```(\S+)(?: ([^\n]*))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: "```language label"."""

    page: Path
    language: str
    label: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}: {self.language} {self.label} {self.text[:40]!r}"


def blocks(page: Path, language: str | None = None, label: str | None = None) -> list[Block]:
    found = [
        Block(page, match[1], match[2] or "", match[3])
        for match in _FENCE.finditer(page.read_text("utf-8"))
    ]
    return [
        block
        for block in found
        if language in {None, block.language} and label in {None, block.label}
    ]


def block(page: Path, language: str, label: str) -> Block:
    (only,) = blocks(page, language, label)
    return only


def texts() -> Iterator[Path]:
    """Yield every text file of the repository, whether it is committed yet or not."""
    for place, folders, files in os.walk(ROOT):
        folders[:] = sorted(
            name
            for name in folders
            if name not in SKIPPED
            and not name.endswith(".egg-info")
            and (not name.startswith(".") or name == ".ci")
        )
        for name in sorted(files):
            path = Path(place, name)
            if b"\0" not in path.read_bytes()[:8192]:
                yield path


def markdown() -> list[Path]:
    return [path for path in texts() if path.suffix == ".md"]
