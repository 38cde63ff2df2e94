"""Tables of every setting, read from the source: the comments beside the fields are the text.

Reading the source rather than the classes keeps pydantic models and dataclasses alike, and finds
the comments. A test compares the names with the classes.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).parents[1]
BOUNDS = {"gt": "> {}", "ge": "≥ {}", "lt": "< {}", "le": "≤ {}"}
NAMES = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "true or false",
    "Path": "path",
    "time": "time, HH:MM",
    "SecretStr": "secret text",
    "LogFormat": "`json`, `console`",
}
DEFAULTS = {
    "dict()": "{}",
    "True": "true",
    "False": "false",
    "None": "",
    "LogFormat.JSON": "'json'",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One field of one class. `type` as Python wrote it, `default` as TOML would."""

    name: str
    type: str
    default: str
    needed: bool
    bounds: str
    comment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One class with its settings."""

    name: str
    about: str
    settings: list[Setting] = field(default_factory=list)


def sections(path: Path) -> dict[str, Section]:
    """Return the classes of a module that have fields, by name."""
    source = path.read_text("utf-8")
    tree = ast.parse(source)
    notes = _comments(source)
    aliases = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    found = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            section = Section(name=node.name, about=ast.get_docstring(node) or "")
            section.settings.extend(_settings(node, notes, aliases))
            if section.settings:
                found[node.name] = section
    return found


def settings_tables() -> str:
    """Return the tables of gateway/config.py in the order of the file a person writes."""
    found = sections(ROOT / "gateway" / "config.py")
    root = found["Settings"]
    parts = [_table("The root", root, skip=frozenset(_CHILDREN))]
    for key, name in _CHILDREN.items():
        if name:
            parts.append(_table(f"`[{key}]`", found[name]))
        parts += [_table(title, found[inner]) for title, inner in _INNER.get(key, ())]
    return "\n\n".join(parts)


def mqtt_tables() -> str:
    """Return the tables of the MQTT driver's settings."""
    found = sections(ROOT / "drivers" / "mqtt" / "config.py")
    return "\n\n".join(
        [
            _table(
                "`[drivers.mqtt]`", replace(found["MqttConfig"], about="The way to the broker.")
            ),
            _table("`[drivers.mqtt.tls]`", found["TlsConfig"]),
            _table("`[drivers.mqtt.flood]`", found["FloodConfig"]),
        ]
    )


def sip_table() -> str:
    """Return the table of what `telephony.sip` may hold, as the composition root takes it."""
    section = sections(ROOT / "drivers" / "sip" / "config.py")["SipConfig"]
    run_dir, *others = section.settings
    first = replace(run_dir, default='"<data_dir>/run"', needed=False)
    whole = replace(section, settings=[first, *others])
    return _table("`[telephony.sip]`", whole, skip=frozenset({"legs_per_worker"}))


_CHILDREN = {
    "store": "StoreConfig",
    "web": "WebConfig",
    "drivers": "",  # each driver has a table of its own
    "routing": "RoutingConfig",
    "emergency": "EmergencyConfig",
    "telephony": "TelephonyConfig",
    "recording": "RecordingConfig",
    "prompts": "PromptsConfig",
    "presence": "PresenceConfig",
    "incidents": "IncidentsConfig",
    "agents": "AgentsConfig",
    "callers": "CallersConfig",
    "log": "LogConfig",
}
_INNER = {
    "routing": (
        ("`[routing.targets.<name>]`", "TargetConfig"),
        ("`[routing.groups.<name>]`", "GroupConfig"),
        ("`[[routing.rules]]`", "RuleConfig"),
        ("`[[routing.rules.chain]]`", "StageConfig"),
    )
}


def _table(title: str, section: Section, *, skip: frozenset[str] = frozenset()) -> str:
    rows = [
        f"| `{s.name}` | {_cell(s)} | {_kind(s)} | {_escaped(s.comment)} |"
        for s in section.settings
        if s.name not in skip
    ]
    head = ["| name | default | type | what it is for |", "|---|---|---|---|"]
    return "\n".join([f"### {title}", "", _escaped(section.about), "", *head, *rows])


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _cell(setting: Setting) -> str:
    if setting.needed:
        return "*needed*"
    return f"`{setting.default}`" if setting.default else ""


def _kind(setting: Setting) -> str:
    text = _type(setting.type.removesuffix(" | None"))
    return f"{text}, {setting.bounds}" if setting.bounds else text


def _type(python: str) -> str:
    """Return a Python type in the words of someone who writes TOML."""
    if python.startswith("Literal["):
        words = ast.literal_eval(f"[{python.removeprefix('Literal[')}")
        return ", ".join(f"`{word}`" for word in words)
    if python.startswith("tuple["):
        return f"list of {_type(python.removeprefix('tuple[').removesuffix(', ...]'))}"
    if python.startswith("dict["):
        return "table"
    return "table" if python.endswith("Config") else NAMES[python]


def _settings(
    node: ast.ClassDef, notes: dict[int, tuple[str, bool]], aliases: dict[str, ast.expr]
) -> Iterator[Setting]:
    for line in node.body:
        if not isinstance(line, ast.AnnAssign) or not isinstance(line.target, ast.Name):
            continue
        annotation, bounds = _resolve(line.annotation, aliases)
        if annotation.startswith("ClassVar"):
            continue
        default, more = _default(line.value)
        yield Setting(
            name=line.target.id,
            type=annotation,
            default="" if default is None else _toml(default),
            needed=default is None,
            bounds=", ".join([*bounds, *more]),
            comment=_comment(line, notes),
        )


def _resolve(node: ast.expr, aliases: dict[str, ast.expr]) -> tuple[str, list[str]]:
    """Return the type and the bounds that an alias such as `Seconds` adds."""
    node = aliases.get(node.id, node) if isinstance(node, ast.Name) else node
    if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Annotated":
        assert isinstance(node.slice, ast.Tuple)
        kind, *extras = node.slice.elts
        return ast.unparse(kind), [b for e in extras if isinstance(e, ast.Call) for b in _bounds(e)]
    return ast.unparse(node), []


def _default(value: ast.expr | None) -> tuple[str | None, list[str]]:
    """Return the default as Python wrote it (None: there is none) and the bounds."""
    if value is None:
        return None, []
    if not (isinstance(value, ast.Call) and ast.unparse(value.func) in {"Field", "SecretStr"}):
        return ast.unparse(value), []
    given = {word.arg: word.value for word in value.keywords}
    if value.args:
        return ast.unparse(value.args[0]), _bounds(value)
    if "default_factory" in given:
        return f"{ast.unparse(given['default_factory'])}()", _bounds(value)
    default = given.get("default")
    return None if default is None else ast.unparse(default), _bounds(value)


def _toml(default: str) -> str:
    product = re.fullmatch(r"(\d+) \* (\d+)", default)
    if product:
        return str(int(product[1]) * int(product[2]))
    if default.startswith("Path("):
        default = default.removeprefix("Path(").removesuffix(")")
    elif default.startswith("("):
        default = "[" + default.removeprefix("(").removesuffix(")").removesuffix(",") + "]"
    elif default.endswith("Config()"):
        return ""
    return DEFAULTS.get(default, default).replace("'", '"')


def _bounds(call: ast.Call) -> list[str]:
    return [
        BOUNDS[word.arg].format(ast.unparse(word.value))
        for word in call.keywords
        if word.arg in BOUNDS
    ]


def _comment(line: ast.AnnAssign, notes: dict[int, tuple[str, bool]]) -> str:
    """Return the comment lines directly above a field and the one at its end."""
    above: list[str] = []
    number = line.lineno - 1
    while number in notes and notes[number][1]:
        above.insert(0, notes[number][0])
        number -= 1
    end = notes.get(line.end_lineno or line.lineno)
    return " ".join([*above, end[0]] if end and not end[1] else above)


def _comments(source: str) -> dict[int, tuple[str, bool]]:
    """Return line number → comment, and whether it has the line to itself."""
    found = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            alone = not token.line[: token.start[1]].strip()
            text = token.string.lstrip("# ").split(" # ")[0]
            found[token.start[0]] = (text, alone)
    return found
