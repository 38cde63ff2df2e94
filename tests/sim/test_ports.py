import socket

import pytest

from sim.ports import RTP_PER_PHONE, Ports, PortTaken, free_ports


def test_free_ports_are_free_and_do_not_overlap() -> None:
    ports = free_ports(phones=2, workers=2)
    ports.check()
    assert ports.mqtt != ports.web
    assert [ports.phone_sip(0), ports.phone_sip(1), ports.worker_sip] == [
        ports.sip_base,
        ports.sip_base + 1,
        ports.sip_base + 2,
    ]
    assert ports.phone_rtp(1) == ports.phone_rtp(0) + RTP_PER_PHONE
    assert ports.worker_rtp == ports.phone_rtp(1) + RTP_PER_PHONE


def test_there_is_no_port_for_a_phone_too_many() -> None:
    with pytest.raises(ValueError, match="phone 1: this world has ports for 1"):
        free_ports(phones=1, workers=1).phone_sip(1)


@pytest.mark.parametrize(
    ("field", "kind", "words"),
    [
        ("mqtt", socket.SOCK_STREAM, ("TCP port", "MQTT", "--mqtt-port")),
        ("web", socket.SOCK_STREAM, ("TCP port", "live page", "--web-port")),
        ("sip_base", socket.SOCK_DGRAM, ("UDP port", "SIP", "--sip-port-base")),
        ("rtp_base", socket.SOCK_DGRAM, ("UDP port", "RTP", "--rtp-port-base")),
    ],
)
def test_a_taken_port_is_named_with_its_purpose_and_option(
    field: str, kind: socket.SocketKind, words: tuple[str, ...]
) -> None:
    ports = free_ports(phones=1, workers=1)
    port: int = getattr(ports, field)
    with socket.socket(socket.AF_INET, kind) as holder:
        holder.bind(("127.0.0.1", port))
        if kind == socket.SOCK_STREAM:
            holder.listen()
        with pytest.raises(PortTaken) as refusal:
            ports.check()
    assert all(word in str(refusal.value) for word in (*words, str(port)))


def test_the_last_rtp_port_is_checked_too() -> None:
    ports = free_ports(phones=1, workers=1)
    last = ports.worker_rtp + 31
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", last))
        with pytest.raises(PortTaken, match=str(last)):
            ports.check()


def test_an_address_that_is_not_ours_is_no_taken_port() -> None:
    ports = Ports(
        mqtt=20_001, web=20_002, sip_base=1, rtp_base=2, phones=1, workers=1, address="192.0.2.1"
    )
    with pytest.raises(PortTaken, match=r"on 192\.0\.2\.1 cannot be used"):
        ports.check()
