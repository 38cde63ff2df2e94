"""The direction of imports (docs/architecture.md): a wrong import fails here with its line."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOUSE = {"protocols", "drivers", "gateway", "sim", "bench", "tests"}

# Module prefix → what of the house it may import. The longest matching prefix counts.
ALLOWED: dict[str, set[str]] = {
    "protocols": {"protocols"},
    "drivers": {"drivers.api", "drivers.registry", "protocols"},
    "drivers.api": {"drivers.api"},
    "gateway": {"gateway", "drivers.api", "protocols.errors", "protocols.text", "protocols.wav"},
    "gateway.flows.policies": {"gateway.flows", "drivers.api"},
    "gateway.app": {"gateway", "drivers", "protocols"},
    "sim": {"sim", "protocols", "drivers.api"},
    "bench": {"bench", "sim", "protocols", "drivers", "gateway"},
}
PURE = ("asyncio", "socket", "time", "logging", "structlog", "threading", "os", "random")


def modules(*tops: str) -> list[Path]:
    return [path for top in tops for path in sorted((ROOT / top).rglob("*.py"))]


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} relative import"
            yield node.lineno, node.module or ""


def allowed_for(module: str) -> set[str]:
    rules = [key for key in ALLOWED if module == key or module.startswith(key + ".")]
    allowed = set(ALLOWED[max(rules, key=len)])
    parts = module.split(".")
    if parts[0] == "drivers" and len(parts) > 1:
        allowed.add(".".join(parts[:2]))  # a driver may import itself, never another one
    return allowed


@pytest.mark.parametrize("path", modules("protocols", "drivers", "gateway", "sim"), ids=name_of)
def test_imports_point_the_right_way(path: Path) -> None:
    module = name_of(path)
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for line, name in imports(path)
        if name.split(".")[0] in HOUSE
        and not any(name == ok or name.startswith(ok + ".") for ok in allowed_for(module))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", modules("protocols", "gateway/flows/policies"), ids=name_of)
def test_codecs_and_policies_are_pure(path: Path) -> None:
    wrong = [name for _, name in imports(path) if name.split(".")[0] in PURE]
    assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_only_the_sip_driver_knows_pjsua2() -> None:
    users = {
        name_of(path)
        for path in modules("protocols", "drivers", "gateway")
        if any(name == "pjsua2" for _, name in imports(path))
    }
    assert {user.rsplit(".", 1)[0] for user in users} <= {"drivers.sip"}, users
