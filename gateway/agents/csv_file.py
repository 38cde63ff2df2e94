"""Agents from a CSV file: UTF-8, comma, a header line; only `id` is needed.

Columns: id, label, sip_user, groups, enabled. Groups are separated by `|`; a rank may follow after
a colon (`sos|service:2`; 0 without). Agents that the file does not name stay as they are.
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.agents.model import Agent, AgentId
from gateway.terminals.csv_file import CsvErrors
from protocols.text import clean_text

COLUMNS: Final = ("id", "label", "sip_user", "groups", "enabled")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_SIP_USER = re.compile(r"[A-Za-z0-9+][A-Za-z0-9_.+-]{0,63}", re.ASCII)
_SIP_URI = re.compile(r"sips?:[^\s<>\"]{1,195}")
_RANK = re.compile(r"[0-9]{1,3}", re.ASCII)
_YES, _NO = {"", "1", "true", "yes", "on"}, {"0", "false", "no", "off"}
_MAX_ERRORS: Final = 20  # enough to see what is wrong with a file


def read_agents(path: Path) -> list[Agent]:
    """Return all agents of a file; raises CsvErrors (nothing is taken then) or OSError."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _read(csv.DictReader(file, strict=True))
    except UnicodeDecodeError as error:
        raise CsvErrors([f"not UTF-8: {error}"]) from error


def _read(reader: "csv.DictReader[str]") -> list[Agent]:
    faults = list(_header_faults(reader))
    if faults:
        raise CsvErrors(faults)
    agents: dict[str, Agent] = {}
    users: set[str] = set()
    try:
        for row in reader:
            try:
                _add(agents, users, _agent(row))
            except ValueError as error:
                faults.append(f"line {reader.line_num}: {error}")
            if len(faults) >= _MAX_ERRORS:
                break
    except csv.Error as error:
        faults.append(f"line {reader.line_num}: {error}")
    if faults:
        raise CsvErrors(faults)
    return list(agents.values())


def _add(agents: dict[str, Agent], users: set[str], agent: Agent) -> None:
    if agent.id in agents:
        raise ValueError(f"id {agent.id!r} was there before")
    if agent.sip_user in users:
        # One phone under two names would be offered two calls.
        raise ValueError(f"sip_user {agent.sip_user!r} was there before")
    agents[agent.id] = agent
    users.add(agent.sip_user)


def _header_faults(reader: "csv.DictReader[str]") -> Iterator[str]:
    names = list(reader.fieldnames or [])
    if "id" not in names:
        yield "line 1: the header has no column `id`"
    for name in names:
        if name not in COLUMNS:
            yield f"line 1: unknown column {clean_text(name)!r}; known are {', '.join(COLUMNS)}"
    if len(set(names)) != len(names):
        yield "line 1: a column is there twice"


def _agent(row: dict[str, str]) -> Agent:
    """Return the agent of a line; raises ValueError with the column that is wrong."""
    if None in row:
        raise ValueError("more fields than columns")
    if None in row.values():
        raise ValueError("fewer fields than columns")
    fields = {name: text.strip() for name, text in row.items()}
    name = fields["id"]
    if not _ID.fullmatch(name):
        raise ValueError(f"id {clean_text(name)!r} is not allowed")
    user = fields.get("sip_user", "") or name
    if not (_SIP_USER.fullmatch(user) or _SIP_URI.fullmatch(user)):
        raise ValueError(f"sip_user {clean_text(user)!r} is not allowed")
    return Agent(
        id=AgentId(name),
        label=clean_text(fields.get("label", ""), limit=80),
        sip_user=user,
        groups=dict(_group(text) for text in fields.get("groups", "").split("|") if text.strip()),
        enabled=_flag(fields.get("enabled", "")),
    )


def _group(text: str) -> tuple[str, int]:
    name, colon, rank = (part.strip() for part in text.partition(":"))
    if not _ID.fullmatch(name) or (colon and not _RANK.fullmatch(rank)):
        raise ValueError(f"groups {clean_text(text)!r} is not allowed")
    return name, int(rank or 0)


def _flag(text: str) -> bool:
    if text.lower() in _YES:
        return True
    if text.lower() in _NO:
        return False
    raise ValueError(f"enabled {clean_text(text)!r} is neither true nor false")
