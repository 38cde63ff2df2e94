from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.terminals.csv_file import CsvErrors, read_terminals
from gateway.terminals.model import Terminal

HEADER = "id,kind,model,driver,sip_uri,site,subscriber,label,language,training\n"


def read(directory: Path, content: str | bytes) -> list[Terminal]:
    path = directory / "terminals.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_terminals(path)


def faults(directory: Path, content: str | bytes) -> list[str]:
    with pytest.raises(CsvErrors) as caught:
        read(directory, content)
    return caught.value.errors


def test_full_and_short_lines(tmp_path: Path) -> None:
    full, short = read(
        tmp_path,
        HEADER + 'k-1,kiosk,K9,sip,sip:k1@edge,park,s-1,"北门, 左",en,yes\nt-1,,,,,,,,,\n',
    )
    assert full == Terminal(
        id=full.id, kind="kiosk", model="K9", driver="sip", sip_uri="sip:k1@edge", site="park",
        subscriber="s-1", label="北门, 左", language="en", training=True,
    )  # fmt: skip
    assert short == Terminal(id=short.id)


def test_only_the_id_is_needed_and_a_byte_order_mark_is_no_harm(tmp_path: Path) -> None:
    assert [one.id for one in read(tmp_path, b"\xef\xbb\xbfid\nt-1\nt-2\n")] == ["t-1", "t-2"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "no column `id`"),
        ("name\nx\n", "no column `id`"),
        ("id,colour\nt,red\n", "unknown column 'colour'"),
        ("id,id\na,b\n", "twice"),
        ("id\nt-1\nt 2\n", "line 3: id 't 2' is not allowed"),
        ("id\nt/#\n", "line 2: id"),
        ("id,kind\n,tv\n", "line 2: id is empty"),
        ("id\nt-1\nt-1\n", "line 3: id 't-1' was there before"),
        ("id,kind\nt,toaster\n", "line 2: kind 'toaster'"),
        ("id,sip_uri\nt,http://x\n", "line 2: sip_uri"),
        ("id,training\nt,perhaps\n", "line 2: training"),
        ("id,language\nt,Chinese!\n", "line 2: language"),
        ("id,kind\nt\n", "line 2: fewer fields"),
        ("id\nt,tv\n", "line 2: more fields"),
        ('id\n"t\n', "unexpected end of data"),
        (b"id\n\xff\n", "not UTF-8"),
    ],
)
def test_faults_name_their_line(tmp_path: Path, content: str | bytes, expected: str) -> None:
    assert expected in faults(tmp_path, content)[0]


def test_all_faults_are_named_up_to_a_bound(tmp_path: Path) -> None:
    assert len(faults(tmp_path, "id\n" + "bad id\n" * 3)) == 3
    assert len(faults(tmp_path, "id\n" + "bad id\n" * 1000)) == 20


@given(content=st.binary(max_size=200))
def test_no_file_raises_anything_else(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    path.write_bytes(b"id,label\n" + content)
    with suppress(CsvErrors):
        read_terminals(path)
