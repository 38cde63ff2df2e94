from pathlib import Path

import pytest

from gateway.agents.csv_file import read_agents
from gateway.agents.model import Agent, AgentId
from gateway.terminals.csv_file import CsvErrors


def file(directory: Path, text: str | bytes) -> Path:
    path = directory / "agents.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_whole_file(tmp_path: Path) -> None:
    text = (
        "\ufeffid,label,sip_user,groups,enabled\n"
        "anna,安娜,2001,sos|service:2,\n"
        "bert,Bert,sips:bert@192.0.2.7,,no\n"
    )
    anna, bert = read_agents(file(tmp_path, text))
    assert anna == Agent(
        id=AgentId("anna"), label="安娜", sip_user="2001", groups={"sos": 0, "service": 2}
    )
    assert (bert.static, bert.enabled, bert.groups) == (True, False, {})
    assert (anna.uri("edge.test"), bert.uri("edge.test")) == (
        "sip:2001@edge.test", "sips:bert@192.0.2.7",
    )  # fmt: skip


def test_the_id_is_the_user_unless_said_otherwise(tmp_path: Path) -> None:
    (anna,) = read_agents(file(tmp_path, "id\nanna\n"))
    assert anna.sip_user == "anna"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("label\nx\n", "line 1: the header has no column `id`"),
        ("id,colour\nanna,red\n", "line 1: unknown column 'colour'"),
        ("id,id\nanna,anna\n", "line 1: a column is there twice"),
        ("id,groups\nanna,a b\n", "line 2: groups 'a b' is not allowed"),
        ("id,groups\nanna,sos:\n", "line 2: groups 'sos:' is not allowed"),
        ("id,groups\nanna,sos:-1\n", "line 2: groups 'sos:-1' is not allowed"),
        ("id,sip_user\nanna,a@b\n", "line 2: sip_user 'a@b' is not allowed"),
        ("id,sip_user\nanna,1\nbert,1\n", "line 3: sip_user '1' was there before"),
        ("id,enabled\nanna,maybe\n", "line 2: enabled 'maybe' is neither"),
        ("id\nanna\nanna\n", "line 3: id 'anna' was there before"),
        ("id,label\n,x\n", "line 2: id '' is not allowed"),
        ("id,label\nanna\n", "line 2: fewer fields"),
        ("id\nanna,x\n", "line 2: more fields"),
        (b"id\n\xff\n", "not UTF-8"),
    ],
)
def test_a_fault_names_its_line(tmp_path: Path, text: str | bytes, fault: str) -> None:
    with pytest.raises(CsvErrors) as caught:
        read_agents(file(tmp_path, text))
    assert caught.value.errors[0].startswith(fault)
