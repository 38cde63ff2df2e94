"""What processes use, read from /proc (proc(5))."""

import os
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """Return the processor time of a process so far, in seconds (user and system)."""
    # The command in brackets may itself hold spaces and brackets.
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def cpu_of(pids: list[int]) -> float:
    """Return the processor time of several processes together, in seconds."""
    return sum(cpu_s(pid) for pid in pids)


def rss_mb(pid: int) -> float:
    """Return the resident memory of a process, in MB."""
    return _kilobytes(pid, "status", "VmRSS:") / 1000


def pss_mb(pid: int) -> float:
    """Return the memory of a process with shared pages counted in part, in MB."""
    return _kilobytes(pid, "smaps_rollup", "Pss:") / 1000


def children(pid: int) -> list[int]:
    """Return the living descendants of a process."""
    found: list[int] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text("utf-8").rsplit(")", 1)[1].split()
        except OSError:  # it has ended meanwhile
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            child = int(stat.parent.name)
            found += [child, *children(child)]
    return found


def _kilobytes(pid: int, file: str, name: str) -> float:
    for line in Path(f"/proc/{pid}/{file}").read_text("utf-8").splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1.024
    raise ValueError(f"no {name} in /proc/{pid}/{file}")
