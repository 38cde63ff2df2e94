"""Writes TOML 1.0 (the standard library only reads it) and merges configurations. Pure."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Table = Mapping[str, Any]


def merged(base: Table, over: Table) -> dict[str, Any]:
    """Return `base` with `over` laid on it: tables are merged, everything else is replaced."""
    result = dict(base)
    for key, value in over.items():
        below: object = result.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            result[key] = merged(below, value)
        else:
            result[key] = value
    return result


def toml_text(table: Table) -> str:
    """Return `table` as TOML: a header for each table, arrays of tables inline.

    Raises TypeError for a value that TOML cannot hold.
    """
    return "\n".join(_lines(table, ())).lstrip("\n") + "\n"


def _lines(table: Table, path: tuple[str, ...]) -> list[str]:
    plain = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    lines = ["", f"[{'.'.join(map(_key, path))}]"] if path and plain else []
    lines += [f"{_key(key)} = {_value(value)}" for key, value in plain.items()]
    for key, value in table.items():
        if isinstance(value, Mapping):
            lines += _lines(value, (*path, key))
    return lines


def _key(text: str) -> str:
    bare = text.isascii() and text.replace("-", "").replace("_", "").isalnum()
    return text if bare else json.dumps(text)


def _value(value: object) -> str:
    match value:
        case bool() | int() | float():
            return json.dumps(value)
        case str() | Path():
            return json.dumps(str(value), ensure_ascii=False)  # TOML's basic strings are JSON's
        case list() | tuple():
            return f"[{', '.join(_value(one) for one in value)}]"
        case Mapping():
            return f"{{ {', '.join(f'{_key(k)} = {_value(v)}' for k, v in value.items())} }}"
        case _:
            raise TypeError(f"no TOML for {type(value).__name__}")
