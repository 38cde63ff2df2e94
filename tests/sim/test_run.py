"""The options of `make run`; that it runs is tests/e2e/test_run.py's."""

import json
import socket
import subprocess

import pytest

from sim.pendant import Account
from sim.ports import free_ports
from sim.run import RunError, main, parse, ports_of, press_by_hand, world_options


def test_the_defaults_are_those_of_the_readme() -> None:
    options = parse([])
    assert (options.mqtt_port, options.web_port) == (11_883, 8080)
    shape = world_options(options)
    assert shape.bind_address == "127.0.0.1"
    assert not shape.agents[0].uri


def test_the_line_for_pressing_by_hand_is_one_a_shell_understands() -> None:
    account = Account(terminal="P-0001", password="p'w $x", port=11_883)
    line = press_by_hand(account).replace("mosquitto_pub", "printf '%s\\n'", 1)
    said = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True).stdout
    words = said.splitlines()
    assert words[words.index("-P") + 1] == "p'w $x"
    event = json.loads(words[words.index("-m") + 1])
    assert event["type"] == "press"
    assert event["id"].removeprefix("hand-").isdecimal()


def test_a_phone_on_this_machine_needs_no_other_address() -> None:
    shape = world_options(parse(["--agent-uri", "sip:me@127.0.0.1:5070"]))
    assert shape.bind_address == "127.0.0.1"
    assert shape.agents[0].uri == "sip:me@127.0.0.1:5070"


def test_the_address_may_be_given() -> None:
    words = ["--agent-uri", "sip:me@192.0.2.1", "--bind-address", "127.0.0.2"]
    assert world_options(parse(words)).bind_address == "127.0.0.2"


def test_an_odd_agent_uri_is_refused() -> None:
    with pytest.raises(RunError, match="wanted is sip:user@address:port"):
        world_options(parse(["--agent-uri", "tel:110"]))


def free_options() -> dict[str, int]:
    free = free_ports(phones=2, workers=4)
    return {
        "--mqtt-port": free.mqtt,
        "--web-port": free.web,
        "--sip-port-base": free.sip_base,
        "--rtp-port-base": free.rtp_base,
    }


def words_of(options: dict[str, int]) -> list[str]:
    return [str(word) for pair in options.items() for word in pair]


def test_a_taken_port_ends_it_with_the_option(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        assert main(words_of({**free_options(), "--web-port": port})) == 1
    complaint = capsys.readouterr().err
    assert f"TCP port {port}" in complaint
    assert "--web-port" in complaint


def test_ports_follow_the_options() -> None:
    wanted = free_options()
    options = parse(words_of(wanted))
    ports = ports_of(options, world_options(options))
    found = [ports.mqtt, ports.web, ports.phone_sip(0), ports.phone_rtp(0)]
    assert found == list(wanted.values())
