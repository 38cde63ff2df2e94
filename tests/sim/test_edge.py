import socket
import tomllib
from pathlib import Path

import pytest

from sim.edge import CONTROL, REALM, edge_toml, how_to_register
from sim.ports import PortTaken
from tests.waiting import free_port


def test_the_section_is_what_the_gateway_reads(tmp_path: Path) -> None:
    port = free_port()
    section = tomllib.loads(edge_toml(port, tmp_path, "sip:desk@onekey.local"))["edge"]
    assert section["port"] == port
    assert section["control_port"] == port + CONTROL
    assert section["static_sos_uri"] == "sip:desk@onekey.local"


def test_a_taken_port_is_named_with_its_option(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"{port}.*--edge"):
            edge_toml(port, tmp_path, "")


def test_the_user_gets_a_line_for_each_phone() -> None:
    lines = how_to_register(15_060, {"phone": "one", "desk": "two"})
    (phone,) = [line.strip() for line in lines if line.strip().startswith(f"<sip:phone@{REALM}>")]
    assert phone == (f'<sip:phone@{REALM}>;auth_pass=one;outbound="sip:127.0.0.1:15060";regint=300')
