"""The live page in a real browser."""

import asyncio
import html
import re
import shutil
from pathlib import Path

import pytest

from gateway.web.routes_page import DIRECTORY
from tests.gateway.web.conftest import Served

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")

# What the brain of a timeline may say; a word without a translation is shown raw.
WORDS = set(
    """
press_received press_again press_cancelled alarm_received routed target_dialled target_ringing
target_answered target_failed terminal_dialled terminal_ringing terminal_answered terminal_failed
terminal_dropped bridged unbridged recording_started recording_finished chain_exhausted alarm_raised
worker_lost call_started call_ended no_room closed terminal_told
""".split()  # noqa: SIM905 (a list of 26 quoted words would be half a page)
)


async def dump(url: str, profile: Path) -> str:
    """Return the page's elements after two virtual seconds, as the browser sees them."""
    assert BROWSER is not None
    process = await asyncio.create_subprocess_exec(
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={profile}",
        "--virtual-time-budget=4000",
        "--dump-dom",
        url,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return out.decode()


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")
async def test_the_page_tells_the_story_and_a_hostile_label_stays_text(
    served: Served, tmp_path: Path
) -> None:
    page = await dump(served.server.url, tmp_path)
    assert 'data-link="live"' in page
    assert "已连接" in page
    assert "+0.012 s" in page
    assert "收到按键，已受理" in page
    assert "some_new_word" in page, "a word nobody translated is shown raw"
    assert "2 人正在等待接听" in page
    assert "福寿里 3 号楼 502" in page
    assert html.escape("<img src=x onerror=alert(1)>", quote=False) in page
    assert "<img src=x" not in page.lower()
    cards = re.findall(r'<article class="card" data-state="(\w+)"', page)
    assert cards == ["unanswered", "alerting", "answered", "wrap_up"]


def test_every_word_of_a_timeline_is_translated() -> None:
    text = (DIRECTORY / "words.js").read_text("utf-8")
    spoken = text[text.index("what: {") : text.index("state: {")]
    known = set(re.findall(r"^    (\w+): \['", spoken, re.MULTILINE))
    assert known >= WORDS


def test_the_page_asks_nobody_else_and_makes_no_markup_of_text() -> None:
    for path in DIRECTORY.iterdir():
        text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://", text), path.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|\beval\b", text), path.name
        assert " style=" not in text, path.name
        assert " on" + "click=" not in text, path.name
