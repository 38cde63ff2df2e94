"""What the pages name is there: files, chapters, make targets; and no path of one's own machine."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.docs.pages import ROOT, markdown, texts

FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
MAKE = re.compile(
    r"`(?:sudo )?make ([a-z][a-z-]*)\b[^`]*`|^(?:sudo )?make ([a-z][a-z-]*)\b", re.MULTILINE
)
# A home directory, or where somebody happened to work.
PRIVATE = re.compile(r"(?<![\w./-])/(?:home/\w[\w-]*|work|root|Users)/")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    text = FENCE.sub("", page.read_text("utf-8"))
    plain = [re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", found) for found in HEADING.findall(text)]
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in plain}


@pytest.mark.parametrize("page", markdown(), ids=name_of)
def test_relative_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text("utf-8")))
    for link in LINK.findall(text):
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue
        file, _, anchor = unquote(link).partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{link} in {name_of(page)}"
        assert target.is_relative_to(ROOT), f"{link} leaves the repository"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{link} in {name_of(page)}"


@pytest.mark.parametrize("page", markdown(), ids=name_of)
def test_make_targets_are_there(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = {one or other for one, other in MAKE.findall(page.read_text("utf-8"))}
    assert named <= targets


def test_the_makefile_knows_docs() -> None:
    assert re.search(r"^docs:.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


def test_no_text_names_a_place_on_somebodys_machine() -> None:
    found = [
        f"{name_of(path)}:{number}: {line.strip()[:100]}"
        for path in texts()
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1)
        if PRIVATE.search(line)
    ]
    assert found == []


def test_the_search_for_such_places_finds_them() -> None:
    assert PRIVATE.search("see /home" + "/anna/notes")
    assert PRIVATE.search("cd /" + "root/x")
    assert not PRIVATE.search("https://example.org/home/x /var/lib/onekey docs/work/x")
