"""Logs: one clean line for everything, and nothing that stops the caller."""

import io
import json
import logging
import time
from typing import Any

import pytest
import structlog

from gateway.config import LogConfig, LogFormat
from gateway.logs import HIDDEN, LineWriter, logging_to
from tests.waiting import wait_until

log = structlog.get_logger()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def one_line(**fields: Any) -> dict[str, Any]:
    stream = io.StringIO()
    with logging_to(LogConfig(), stream):
        log.info("something_happened", **fields)
    (line,) = lines(stream)
    return line


def test_a_line_has_time_level_event_and_fields() -> None:
    line = one_line(incident="01J", n=3, ok=True, none=None)
    assert line["event"] == "something_happened"
    assert line["level"] == "info"
    assert line["timestamp"].endswith("Z")
    assert len(line["timestamp"]) == len("2026-01-31T23:59:59.123Z")
    assert (line["incident"], line["n"], line["ok"], line["none"]) == ("01J", 3, True, None)


def test_levels_below_the_configured_one_are_not_written() -> None:
    stream = io.StringIO()
    with logging_to(LogConfig(level="warning"), stream):
        log.info("quiet")
        log.warning("loud")
        logging.getLogger("aiomqtt").info("quiet")
    assert [line["event"] for line in lines(stream)] == ["loud"]


def test_context_is_on_every_line_ours_and_the_libraries() -> None:
    stream = io.StringIO()
    with logging_to(LogConfig(), stream), structlog.contextvars.bound_contextvars(call="c1"):
        log.info("ours")
        logging.getLogger("alembic").info("theirs %s", "too")
    ours, theirs = lines(stream)
    assert ours["call"] == theirs["call"] == "c1"
    assert (theirs["event"], theirs["logger"]) == ("theirs too", "alembic")


def test_a_peers_text_cannot_forge_a_line_or_a_terminal_sequence() -> None:
    line = one_line(label="x\r\n{}\x1b[2J\u202egnp\x00")
    assert line["label"] == "x  {}[2Jgnp"


def test_console_lines_stay_one_line() -> None:
    stream = io.StringIO()
    with logging_to(LogConfig(format=LogFormat.CONSOLE), stream):
        log.info("seen", label="a\nb\x1b[31m")
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()


def test_long_wide_and_deep_values_are_cut() -> None:
    deep: list[Any] = []
    deep.append(deep)
    line = one_line(text="字" * 5000, wide=list(range(1000)), deep=deep, number=10**30)
    assert len(line["text"]) == 1000
    assert len(line["wide"]) == 50
    assert len(json.dumps(line)) < 12_000


def test_cleaning_a_huge_value_costs_little() -> None:
    began = time.perf_counter()
    one_line(text="\x00" * 10_000_000)
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize(
    "fields",
    [
        {"password": "s3cret"},
        {"mqtt_token": "s3cret"},
        {"headers": {"Authorization": "s3cret"}},
        {"detail": "sent Authorization: Bearer s3cret"},
        {"url": "postgresql+psycopg://user:s3cret@db/x"},
    ],
)
def test_secrets_are_hidden(fields: dict[str, Any]) -> None:
    line = json.dumps(one_line(**fields))
    assert "s3cret" not in line
    assert HIDDEN in line


def fail(text: str) -> None:
    raise ValueError(text)


def test_a_traceback_is_kept_cleaned_and_cut() -> None:
    stream = io.StringIO()
    with logging_to(LogConfig(), stream):
        try:
            fail("from a peer: \x1b[2J mqtt://u:s3cret@h " + "x" * 50_000)
        except ValueError:
            log.exception("it_failed")
            logging.getLogger("aiohttp.server").exception("theirs")
    for line in lines(stream):
        assert line["level"] == "error"
        assert "\x1b" not in line["exception"]
        assert "s3cret" not in line["exception"]
        assert len(line["exception"]) <= 9000


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def test_nothing_a_caller_passes_makes_logging_raise() -> None:
    line = one_line(broken=Broken(), surrogate="\ud800", nan=float("nan"), bytes=b"\xff")
    assert "Broken" in line["broken"]
    stream = io.StringIO()
    with logging_to(LogConfig(), stream):
        logging.getLogger("x").warning("%d", "no number")
        logging.getLogger("x").warning(Broken())
    assert len(lines(stream)) == 2


class Stuck(io.StringIO):
    """A terminal stopped with Ctrl-S: takes one line, and no more until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = False
        self.entered = False

    def write(self, text: str) -> int:
        self.entered = True
        while not self.go:
            time.sleep(0.01)
        return super().write(text)


async def test_a_stopped_terminal_never_stops_the_caller_and_losses_are_reported() -> None:
    stream = Stuck()
    writer = LineWriter(stream, queue_max=5)
    try:
        writer.write("first")
        await wait_until(lambda: stream.entered)
        for number in range(20):
            writer.write(str(number))
        assert writer.dropped == 15
    finally:
        stream.go = True
        writer.close()
    assert '"lines":15' in stream.getvalue()
    assert stream.getvalue().splitlines()[-1] == "4"


def test_a_closed_stderr_is_no_error() -> None:
    stream = io.StringIO()
    with logging_to(LogConfig(), stream) as writer:
        stream.close()
        log.info("nobody_reads")
    assert writer.dropped == 1


def test_what_was_set_up_before_comes_back() -> None:
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    with logging_to(LogConfig(level="debug"), io.StringIO()):
        assert root.handlers != handlers
    assert (root.handlers, root.level) == (handlers, level)
    assert structlog.get_config() == before
