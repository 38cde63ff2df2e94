"""Who gets in, who does not, and what survives."""

import asyncio
import os
import re
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from drivers.api.edge import EdgeUnavailable, Registration
from drivers.edge.config import EdgeConfig
from drivers.edge.edge import KamailioEdge
from drivers.edge.process import processes_of
from tests.drivers.edge.certificate import self_signed
from tests.drivers.edge.conftest import Handler, running
from tests.drivers.edge.peer import REALM, Peer, StreamPeer, ha1
from tests.waiting import free_port, wait_until

pytestmark = pytest.mark.e2e


async def back(edge: KamailioEdge, before: int) -> None:
    """Wait until another process than `before` answers."""
    await wait_until(lambda: edge.pid not in {None, before})
    async with asyncio.timeout(5):
        while True:
            await edge.poll()
            if edge.healthy:
                return
            await asyncio.sleep(0.02)


async def test_the_right_password_registers_and_ha1_is_asked_for_once(
    edge: KamailioEdge, config: EdgeConfig, handler: Handler
) -> None:
    seen: list[Sequence[Registration]] = []
    edge.watch(seen.append)
    async with Peer(config.port) as phone:
        assert (await phone.register("phone", "secret", expires=120)).code == 200
        assert (await phone.register("phone", "secret", expires=120)).code == 200
        await wait_until(edge.registrations)
        (found,) = edge.registrations()
        assert found.source == phone.here
        assert found.user == "phone"
        assert found.transport == "udp"
        assert abs(found.expires_at - time.time() - 120) < 3
        assert handler.asked == ["phone"]
        assert (await phone.register("phone", "secret", expires=0)).code == 200
        await wait_until(lambda: not edge.registrations())
    assert [len(step) for step in seen] == [0, 1, 0]


async def test_a_wrong_password_and_a_stranger_look_the_same(
    edge: KamailioEdge, config: EdgeConfig, handler: Handler
) -> None:
    async with Peer(config.port) as phone:
        wrong = await phone.register("phone", "guess")
        stranger = await phone.register("nobody", "guess")
        again = await phone.register("nobody", "guess")
    assert wrong.start == stranger.start == again.start
    assert wrong.code == 401
    assert not edge.registrations()
    assert handler.asked == ["phone", "nobody"]  # the stranger is remembered for a while


async def test_guessing_ends_in_403_for_that_address_and_user(
    config: EdgeConfig, handler: Handler
) -> None:
    limits = replace(config.limits, wrong_passwords=3)
    async with running(replace(config, limits=limits), handler), Peer(config.port) as phone:
        codes = [(await phone.register("phone", f"guess{n}")).code for n in range(6)]
        other = await phone.register("agent", "secret2")
    assert codes == [401, 401, 401, 401, 403, 403]
    assert other.code == 200


async def test_from_and_to_must_be_who_has_proved_it(
    edge: KamailioEdge, config: EdgeConfig
) -> None:
    async with Peer(config.port) as phone:
        third, _ = await phone.ask(
            "REGISTER", f"sip:{REALM}", "phone", "secret", to=f"<sip:agent@{REALM}>"
        )
        forged, _ = await phone.ask(
            "INVITE", f"sip:sos@{REALM}", "phone", "secret", sender=f"<sip:agent@{REALM}>;tag=x"
        )
    assert third.code == forged.code == 403
    await edge.poll()
    assert edge.counters["mismatch"] == 2


async def test_credentials_are_pushed_replaced_and_revoked(
    edge: KamailioEdge, config: EdgeConfig, handler: Handler
) -> None:
    handler.passwords.clear()
    async with Peer(config.port) as phone:
        assert (await phone.register("new", "pw")).code == 401  # now remembered as a stranger
        await edge.push_credentials("new", ha1("new", "pw"))
        assert (await phone.register("new", "pw")).code == 200
        await edge.push_credentials("new", ha1("new", "changed"))
        assert (await phone.register("new", "pw")).code == 401
        assert (await phone.register("new", "changed")).code == 200
        await edge.replace_credentials({"1001": ha1("1001", "x")})
        assert (await phone.register("new", "changed")).code == 401
        assert (await phone.register("1001", "x")).code == 200
        await wait_until(lambda: {found.user for found in edge.registrations()} == {"1001", "new"})
        await edge.revoke("1001")
        await edge.revoke("1001")  # already so
        assert (await phone.register("1001", "x")).code == 401
        await wait_until(lambda: {found.user for found in edge.registrations()} == {"new"})
    with pytest.raises(ValueError, match="HA1"):
        await edge.push_credentials("a b", "x")


async def test_without_the_daemon_an_unknown_user_is_told_to_come_back(
    edge: KamailioEdge, config: EdgeConfig, handler: Handler
) -> None:
    handler.hangs = True
    async with Peer(config.port) as phone:
        refused = await phone.register("phone", "secret")
    assert refused.code == 503
    assert refused.get("retry-after") == "30"
    assert edge.healthy


async def test_kill_9_keeps_registrations_and_credentials(
    edge: KamailioEdge, config: EdgeConfig, handler: Handler
) -> None:
    async with Peer(config.port) as phone, Peer(config.internal_port) as worker:
        await phone.register("phone", "secret")
        await wait_until(edge.registrations, what="written down, within a second")
        first = edge.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await back(edge, first)
        assert edge.registrations()
        handler.hangs = True  # nobody can be asked
        phone.on_request = lambda rung: phone.answer(rung, 486) if rung.method == "INVITE" else None
        code = 480  # until Kamailio has read its table, some milliseconds after its first word
        while code == 480:
            answer, _ = await worker.ask("INVITE", f"sip:phone@{REALM}", "gateway", None)
            code = answer.code
        assert code == 486
        assert (await phone.register("phone", "secret")).code == 200


async def test_the_edge_outlives_the_daemon_and_is_adopted(
    config: EdgeConfig, handler: Handler
) -> None:
    async with KamailioEdge(config, handler) as crashed:
        pid = crashed.pid
    try:
        async with Peer(config.port) as phone:
            assert (await phone.register("phone", "secret")).code == 503  # alive, on its own
        async with running(config, handler) as adopted:
            assert adopted.pid == pid
            assert adopted.healthy
            async with Peer(config.port) as phone:
                assert (await phone.register("phone", "secret")).code == 200
    finally:
        async with running(config, handler):
            pass
    assert not processes_of(config.config_path)


async def test_another_configuration_replaces_the_running_edge(
    config: EdgeConfig, handler: Handler
) -> None:
    async with KamailioEdge(config, handler) as first:
        pid = first.pid
    async with running(replace(config, max_contacts=2), handler) as second:
        assert second.pid != pid
        assert second.healthy


async def test_an_adopted_edge_that_dies_is_started_again(
    config: EdgeConfig, handler: Handler
) -> None:
    async with KamailioEdge(config, handler):
        pass
    async with running(config, handler) as edge:
        adopted = edge.pid
        assert adopted is not None
        os.kill(adopted, signal.SIGKILL)
        await back(edge, adopted)


async def test_a_taken_port_is_told(config: EdgeConfig, handler: Handler) -> None:
    async with Peer(config.port) as squatter:
        stolen = replace(config, port=squatter.port, start_s=0.5)
        edge = KamailioEdge(stolen, handler)
        edge.end_at_exit = True
        with pytest.raises(EdgeUnavailable, match="does not start"):
            await edge.__aenter__()
        await edge.__aexit__(None, None, None)


@pytest.mark.parametrize("secured", [False, True], ids=["tcp", "tls"])
async def test_a_phone_on_a_connection_is_called_back_on_it(
    config: EdgeConfig, handler: Handler, tmp_path: Path, *, secured: bool
) -> None:
    port = config.port
    if secured:
        cert, key = self_signed(tmp_path)
        port = free_port()
        config = replace(config, tls_cert=cert, tls_key=key, tls_port=port)
    async with (
        running(config, handler) as edge,
        Peer(config.internal_port) as worker,
    ):
        async with StreamPeer(port, secured=secured) as phone:
            assert (await phone.register("phone", "secret")).code == 200
            await wait_until(edge.registrations)
            assert edge.registrations()[0].transport == ("tls" if secured else "tcp")
            call = asyncio.create_task(worker.ask("INVITE", f"sip:phone@{REALM}", "gateway", None))
            phone.answer(await phone.request("INVITE"), 603)
            assert (await call)[0].code == 603
        await wait_until(lambda: not edge.registrations(), deadline=8, what="lost connection")


async def test_a_phone_behind_nat_is_reached_where_it_really_is(
    edge: KamailioEdge, config: EdgeConfig
) -> None:
    async with (
        Peer(config.port, claims="10.9.8.7:5060") as phone,
        Peer(config.internal_port) as worker,
    ):
        assert (await phone.register("phone", "secret")).code == 200
        await wait_until(edge.registrations)
        (found,) = edge.registrations()
        assert found.source == phone.here
        assert "10.9.8.7" in found.contact
        call = asyncio.create_task(worker.ask("INVITE", f"sip:phone@{REALM}", "gateway", None))
        phone.answer(await phone.request("INVITE"), 480)
        assert (await call)[0].code == 480


async def test_the_files_of_the_edge_are_private(edge: KamailioEdge, config: EdgeConfig) -> None:
    assert edge.healthy
    assert config.run_dir.stat().st_mode & 0o077 == 0
    for path in (config.config_path, config.token_path, config.credentials_db, config.dialog_db):
        assert path.stat().st_mode & 0o077 == 0, path
    assert re.fullmatch(r"[0-9a-f]{32}", config.token_path.read_text())
