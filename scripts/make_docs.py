"""Writes the parts of `docs/` that are made from the code (`make docs`).

    python -m scripts.make_docs           write what differs
    python -m scripts.make_docs --check   exit 1 and name what differs

Whole files are replaced; in a page of prose only what stands between the two marks
`<!-- made: NAME -->` and `<!-- end: NAME -->`.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from protocols.mqtt_payload import asyncapi
from scripts.config_reference import mqtt_tables, settings_tables, sip_table
from scripts.metrics_reference import metrics_tables
from sim.broker import acl_file, mosquitto_conf

ROOT = Path(__file__).parents[1]
# Where Debian's and Ubuntu's mosquitto keeps its state; both files and the log belong there.
BROKER_HOME = PurePosixPath("/var/lib/mosquitto")
MADE = "# Made by `make docs`; change what makes it, not this file.\n"

FILES: dict[str, Callable[[], str]] = {
    "docs/asyncapi.yaml": lambda: MADE + as_yaml(asyncapi.document()),
    "docs/mosquitto.conf.example": lambda: MADE + mosquitto_conf(Path(BROKER_HOME), port=1883),
    "docs/mosquitto.acl.example": lambda: MADE + acl_file(),
}
PARTS: dict[str, dict[str, Callable[[], str]]] = {
    "docs/configuration.md": {
        "settings": settings_tables,
        "mqtt": mqtt_tables,
        "sip": sip_table,
    },
    "docs/metrics.md": {"metrics": metrics_tables},
}


class MarkMissing(Exception):
    """A page has lost the marks between which a made part belongs."""


class _Dumper(yaml.SafeDumper):
    """YAML as a person would write it: no anchors, long texts as blocks, lists indented."""

    def ignore_aliases(self, data: Any) -> bool:
        """Repeat rather than refer."""
        del data
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: FBT001, FBT002 - the library's signature
        """Indent lists below their key."""
        del indentless
        super().increase_indent(flow, indentless=False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def as_yaml(document: dict[str, Any]) -> str:
    """Return plain values as YAML, keys in their order."""
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text


def with_part(page: str, name: str, body: str) -> str:
    """Return `page` with `body` between the marks of `name`; raises MarkMissing."""
    begin, end = f"<!-- made: {name} -->\n", f"<!-- end: {name} -->"
    head, found, rest = page.partition(begin)
    _, closed, tail = rest.partition(end)
    if not found or not closed:
        raise MarkMissing(f"no marks for {name!r}")
    return f"{head}{begin}\n{body.strip()}\n\n{end}{tail}"


def wanted() -> Iterator[tuple[Path, str]]:
    """Yield every file with a made part, and what it should contain."""
    for name, make in FILES.items():
        yield ROOT / name, make()
    for name, parts in PARTS.items():
        page = (ROOT / name).read_text("utf-8")
        for mark, make in parts.items():
            page = with_part(page, mark, make())
        yield ROOT / name, page


def stale() -> list[tuple[Path, str]]:
    """Return the files that are not as they should be, with what they should contain."""
    return [
        (path, text)
        for path, text in wanted()
        if not path.exists() or path.read_text("utf-8") != text
    ]


def main(argv: list[str] | None = None) -> int:
    """Write or check; returns the exit code."""
    parser = argparse.ArgumentParser(prog="make docs", description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 if stale")
    options = parser.parse_args(argv)
    found = stale()
    for path, text in found:
        print(f"{'stale' if options.check else 'written'}: {path.relative_to(ROOT)}")
        if not options.check:
            path.write_text(text, "utf-8")
    return 1 if options.check and found else 0


if __name__ == "__main__":
    sys.exit(main())
