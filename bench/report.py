"""Tables of a benchmark: for people on stdout, for programs as JSON."""

import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Cell = str | int | float | None


@dataclass(slots=True)
class Table:
    """Rows under named columns; `reach` says what docs/benchmarks.md wants of it."""

    name: str
    columns: Sequence[str]
    reach: str = ""
    rows: list[Mapping[str, Cell]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, **cells: Cell) -> None:
        """Add a row; raises ValueError for a cell without a column."""
        unknown = set(cells) - set(self.columns)
        if unknown:
            raise ValueError(f"{self.name}: no columns {sorted(unknown)}")
        self.rows.append(cells)

    def text(self) -> str:
        """Return the table as Markdown, ready for docs/benchmarks.md."""
        grid = [[shown(row.get(column)) for column in self.columns] for row in self.rows]
        lines = [f"### {self.name}", ""]
        lines += [f"Reach: {self.reach}", ""] if self.reach else []
        lines += _markdown([list(self.columns), *grid])
        lines += ["", *(f"- {note}" for note in self.notes)] if self.notes else []
        return "\n".join(lines) + "\n"

    def data(self) -> dict[str, Any]:
        """Return the table for JSON."""
        return {
            "name": self.name,
            "reach": self.reach,
            "rows": [{column: row.get(column) for column in self.columns} for row in self.rows],
            "notes": self.notes,
        }


def shown(cell: Cell) -> str:
    """Return a cell as people read it: three digits that count."""
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:.0f}" if abs(cell) >= 100 else f"{cell:.3g}"
    return str(cell)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` (0…1) of `values` do not exceed (nearest rank)."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def spread_ms(seconds: Iterable[float]) -> dict[str, Cell]:
    """Return p50, p99 and max in milliseconds; nothing for no values."""
    values = [one * 1000 for one in seconds]
    if not values:
        return {"p50_ms": None, "p99_ms": None, "max_ms": None}
    return {
        "p50_ms": percentile(values, 0.5),
        "p99_ms": percentile(values, 0.99),
        "max_ms": max(values),
    }


def machine() -> dict[str, Cell]:
    """Return what the numbers depend on, without the name of the host."""
    cpu = [line for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines() if ":" in line]
    models = [line.split(":", 1)[1].strip() for line in cpu if line.startswith("model name")]
    return {
        "processors": len(models),
        "model": models[0] if models else "unknown",
        "python": platform.python_version(),
        "kernel": platform.release().split("-", 1)[0],
    }


def _markdown(grid: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in grid) for column in range(len(grid[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in grid
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]
