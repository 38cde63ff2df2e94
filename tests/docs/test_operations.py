"""What docs/operations.md promises of files, log events and commands."""

import re
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.__main__ import parser
from scripts.metrics_reference import all_metrics, full_name
from tests.docs.pages import DOCS, ROOT, block, blocks
from tests.waiting import free_port

PAGE = DOCS / "operations.md"
TEXT = PAGE.read_text("utf-8")
UNIT = (DOCS / "onekey-gateway.service.example").read_text("utf-8")


def chapter(name: str) -> str:
    return TEXT.split(f"\n## {name}\n")[1].split("\n## ")[0]


def test_every_log_event_named_is_written_somewhere() -> None:
    source = "\n".join(
        path.read_text("utf-8")
        for top in ("gateway", "drivers")
        for path in (ROOT / top).rglob("*.py")
    )
    rows = [line.split("|")[1] for line in chapter("Logs").splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert len(named) >= 40
    assert [name for name in sorted(named) if f'"{name}"' not in source] == []


def test_every_metric_named_is_there() -> None:
    known = {full_name(metric) for metric in all_metrics()}
    assert set(re.findall(r"\bonekey_\w+", TEXT)) <= known


def test_the_commands_are_those_of_the_command_line() -> None:
    lines = re.findall(r"bin/onekey-gateway ([^\n]+)", TEXT + UNIT)
    assert len(lines) >= 4
    for line in lines:
        parser().parse_args(line.split())


def test_the_unit_lets_workers_outlive_the_daemon() -> None:
    lines = UNIT.splitlines()
    for wanted in ("KillMode=process", "Restart=always", "RestartPreventExitStatus=78"):
        assert wanted in lines


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "onekey-gateway.service"
    unit.write_text(UNIT.replace("/opt/onekey/.venv/bin/onekey-gateway", "/bin/true"), "utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_files_that_are_named_are_there() -> None:
    for name in re.findall(r"docs/[\w.-]+\.(?:example|yml|yaml)", TEXT):
        assert (ROOT / name).exists(), name


def test_shell_blocks_are_shell() -> None:
    for script in blocks(PAGE, "sh"):
        subprocess.run(["bash", "-n", "-c", script.text], check=True)


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="no sqlite3 here")
def test_the_backup_of_a_store_in_use_is_whole(tmp_path: Path) -> None:
    script = next(b.text for b in blocks(PAGE, "sh") if ".backup" in b.text)
    script = script.replace("/var/", f"{tmp_path}/var/")
    live, copy = tmp_path / "var/lib/onekey/onekey.sqlite", tmp_path / "var/backups/onekey.sqlite"
    for path in (live, copy):
        path.parent.mkdir(parents=True)
    with store_in_use(live):
        done = subprocess.run(
            ["bash", "-ec", script], capture_output=True, text=True, check=True, timeout=20
        )
    assert done.stdout.strip() == "ok"
    rows = subprocess.run(
        ["sqlite3", copy, "SELECT count(*) FROM t"], capture_output=True, text=True, check=True
    )
    assert rows.stdout.strip() == "1"


@contextmanager
def store_in_use(path: Path) -> Iterator[None]:
    """Keep a WAL store open whose newest row is not in the main file yet."""
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (x)")
        connection.execute("INSERT INTO t VALUES (1)")
        connection.commit()
        yield
    finally:
        connection.close()


def wait_for_port(port: int, deadline_s: float = 10.0) -> None:
    end = time.monotonic() + deadline_s
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except ConnectionRefusedError:
            assert time.monotonic() < end, f"nobody listens on {port}"
            time.sleep(0.02)
        else:
            return


@contextmanager
def mosquitto(directory: Path, conf: str) -> Iterator[None]:
    file = directory / "mosquitto.conf"
    # Started as root it would become a user who cannot read the test's directory.
    file.write_text(conf + "\nuser root\n", "utf-8")
    program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    process = subprocess.Popen([program, "-c", file], stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def test_the_broker_of_the_examples_starts_and_speaks_tls(tmp_path: Path) -> None:
    plain, secure = free_port(), free_port()
    key, certificate = tmp_path / "broker.key", tmp_path / "broker.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    example = (DOCS / "mosquitto.conf.example").read_text("utf-8")
    conf = example.replace("/var/lib/mosquitto", str(tmp_path)).replace("1883", str(plain))
    tls = block(PAGE, "conf", "tls").text.replace("8883", f"{secure} 127.0.0.1")
    tls = tls.replace("/etc/mosquitto/certs", str(tmp_path))
    shutil.copy(DOCS / "mosquitto.acl.example", tmp_path / "acl")
    (tmp_path / "passwords").write_text("P-0001:secret\n", "utf-8")
    subprocess.run(["mosquitto_passwd", "-U", tmp_path / "passwords"], check=True)
    with mosquitto(tmp_path, f"{conf}\n{tls}"):
        wait_for_port(secure)
        said = [
            "mosquitto_pub", "-V", "5", "-h", "localhost", "-p", str(secure), "--cafile",
            str(certificate), "-u", "P-0001", "-q", "1", "-t", "onekey/v1/P-0001/up/telemetry",
            "-m", "{}",
        ]  # fmt: skip
        good = subprocess.run([*said, "-P", "secret"], capture_output=True, check=False, timeout=10)
        bad = subprocess.run([*said, "-P", "wrong"], capture_output=True, check=False, timeout=10)
    assert (good.returncode, good.stderr) == (0, b"")
    assert bad.returncode != 0
