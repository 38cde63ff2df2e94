"""Where calls go: workers, the next worker, the static target, users, trunks."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from drivers.api.edge import RouteRefused, RouteTo
from drivers.api.ids import CallId
from drivers.edge.config import EdgeConfig, Gateway, Limits, Trunk
from drivers.edge.edge import KamailioEdge
from tests.drivers.edge.conftest import Handler, running, with_static
from tests.drivers.edge.peer import (
    REALM,
    SDP,
    Peer,
    SipMessage,
    credentials,
    dialog_of_callee,
    dialog_of_caller,
)

pytestmark = pytest.mark.e2e

SOS = f"sip:sos@{REALM}"
CALL = CallId("call-1")


def answers(peer: Peer, code: int, reason: str = "Whatever") -> Callable[[SipMessage], None]:
    def reply(message: SipMessage) -> None:
        if message.method == "INVITE":
            peer.answer(message, code, reason)
        elif message.method in {"BYE", "CANCEL", "INFO"}:
            peer.answer(message, 200)

    return reply


def to(worker: Peer) -> RouteTo:
    return RouteTo(uri=f"sip:w@{worker.here}", call=CALL)


async def sos(phone: Peer, **more: float) -> tuple[SipMessage, float]:
    since = time.monotonic()
    answer, _ = await phone.ask("INVITE", SOS, "phone", "secret", body=SDP, **more)  # type: ignore[arg-type] # only deadline
    return answer, time.monotonic() - since


async def test_the_worker_gets_the_call_id_and_nothing_that_the_caller_forged(
    edge: KamailioEdge, config: EdgeConfig, handler: Handler
) -> None:
    async with Peer(config.port) as phone, Peer(config.internal_port) as worker:
        worker.on_request = answers(worker, 200)
        handler.answers = [to(worker)]
        forged = ["X-Onekey-Call: forged", "P-Asserted-Identity: <sip:evil@x>", "Priority: urgent"]
        forged += ["Remote-Party-ID: <sip:evil@x>", "x-onekey-trunk: forged"]
        sender = f'"Mr. \\"W\\" 王" <sip:phone@{REALM}>;tag=1'
        answer, call_id = await phone.ask(
            "INVITE", SOS, "phone", "secret", body=SDP, headers=forged, sender=sender
        )
        invite = await worker.request("INVITE")
    assert answer.code == 200
    assert invite.headers["x-onekey-call"] == [CALL]
    assert invite.headers["p-asserted-identity"] == [f"<sip:phone@{REALM}>"]
    assert invite.headers["x-onekey-source"] == [phone.here]
    for gone in ("x-onekey-trunk", "remote-party-id", "proxy-authorization"):
        assert gone not in invite.headers
    assert len(invite.headers["record-route"]) == 2
    (asked,) = handler.routes
    assert (asked.user, asked.from_user, asked.to_user) == ("phone", "phone", "sos")
    assert (asked.call_id, asked.source, asked.transport) == (call_id, phone.here, "udp")
    assert (asked.priority, asked.trunk, asked.failed) == ("urgent", "", ())
    assert "王" in asked.display
    assert edge.outbound_proxy == f"sip:127.0.0.1:{config.internal_port};lr"


async def test_a_call_is_relayed_to_its_end_and_strangers_are_not(
    edge: KamailioEdge, config: EdgeConfig, handler: Handler
) -> None:
    async with (
        Peer(config.port) as phone,
        Peer(config.internal_port) as worker,
        Peer(config.port) as stranger,
    ):
        worker.on_request = answers(worker, 200)
        handler.answers = [to(worker)]
        answer, _ = await sos(phone)
        call = dialog_of_caller(answer)
        phone.in_dialog(call, "ACK")
        await worker.request("ACK")
        phone.in_dialog(call, "INFO", headers=["X-Onekey-Call: forged"])
        assert "x-onekey-call" not in (await worker.request("INFO")).headers
        theirs = dialog_of_caller(answer)
        theirs.call_id = "guessed"
        for method in ("BYE", "REFER", "INVITE"):
            stranger.in_dialog(theirs, method)
            cseq = f"{theirs.cseq} {method}"
            refused = await stranger.final(theirs.call_id, cseq)
            assert refused.code == 481, method
        assert {m.method for m in worker.messages} == {"INVITE", "ACK", "INFO"}
        back = dialog_of_callee(await worker.request("INVITE"))
        worker.in_dialog(back, "BYE")
        await phone.request("BYE")
    await edge.poll()
    assert edge.counters["no_dialog"] == 3


async def test_cancel_reaches_the_worker(
    edge: KamailioEdge, config: EdgeConfig, handler: Handler
) -> None:
    assert edge.healthy
    async with Peer(config.port) as phone, Peer(config.internal_port) as worker:
        worker.on_request = answers(worker, 183)
        handler.answers = [to(worker)]
        calling = asyncio.create_task(phone.ask("INVITE", SOS, "phone", "secret", body=SDP))
        ringing = await phone.wait(lambda message: message.code == 183)
        number = ringing.get("cseq").split()[0]
        via = ringing.get("via").replace(f";received={phone.address}", "")
        lines = [
            f"CANCEL {SOS} SIP/2.0",
            f"Via: {via}",
            "Max-Forwards: 70",
            f"From: {ringing.get('from')}",
            f"To: <{SOS}>",
            f"Call-ID: {ringing.get('call-id')}",
            f"CSeq: {number} CANCEL",
            "Content-Length: 0\r\n\r\n",
        ]
        phone.send("\r\n".join(lines))
        await worker.request("CANCEL")
        worker.answer(await worker.request("INVITE"), 487)
        assert (await calling)[0].code == 487


@pytest.mark.parametrize("code", [486, 503, 500])
async def test_a_worker_that_cannot_is_followed_by_the_next(
    edge: KamailioEdge, config: EdgeConfig, handler: Handler, code: int
) -> None:
    assert edge.healthy
    async with (
        Peer(config.port) as phone,
        Peer(config.internal_port) as full,
        Peer(config.internal_port) as other,
    ):
        full.on_request = answers(full, code)
        other.on_request = answers(other, 200)
        handler.answers = [to(full), to(other)]
        answer, _ = await sos(phone)
        assert answer.code == 200
        invite = await other.request("INVITE")
        assert invite.headers["x-onekey-call"] == [CALL]
        assert len(invite.headers["record-route"]) == 2
        assert handler.routes[-1].failed == (f"sip:w@{full.here}",)
        phone.in_dialog(dialog_of_caller(answer), "BYE")
        await other.request("BYE")


async def test_dead_workers_are_passed_over_and_the_static_target_is_last(
    config: EdgeConfig, handler: Handler
) -> None:
    async with Peer(config.port) as centre, Peer(config.port) as phone, Peer(0) as dead:
        centre.on_request = answers(centre, 200)
        handler.answers = [to(dead), to(dead), to(dead)]
        async with running(with_static(config, centre.port), handler) as edge:
            answer, took = await sos(phone)
            await edge.poll()
            assert answer.code == 200
            assert 2.0 < took < 3.5  # three workers of 0.7 s
            assert edge.counters["static_sos"] == 1
        invite = await centre.request("INVITE")
    assert [len(asked.failed) for asked in handler.routes] == [0, 1, 2]
    assert "x-onekey-call" not in invite.headers


async def test_a_refusal_after_the_prompt_is_meant(
    edge: KamailioEdge, config: EdgeConfig, handler: Handler
) -> None:
    assert edge.healthy

    async with Peer(config.port) as phone, Peer(config.internal_port) as worker:
        worker.on_request = answers(worker, 183)
        handler.answers = [to(worker)]
        calling = asyncio.create_task(sos(phone))
        await phone.wait(lambda message: message.code == 183)
        worker.answer(
            await worker.request("INVITE"), 486, "All Agents Busy", headers=["Retry-After: 9"]
        )
        answer, _ = await calling
    assert (answer.code, answer.get("retry-after")) == (486, "9")
    assert len(handler.routes) == 1


async def test_the_daemons_refusal_reaches_the_caller(
    edge: KamailioEdge, config: EdgeConfig, handler: Handler
) -> None:
    assert edge.healthy
    handler.answers = [RouteRefused(code=503, reason="All Busy 忙", retry_after_s=17)]
    async with Peer(config.port) as phone:
        answer, _ = await phone.ask("INVITE", f"sip:hospital@{REALM}", "phone", "secret")
    assert answer.start == "SIP/2.0 503 All Busy 忙"
    assert answer.get("retry-after") == "17"


async def test_promise_4_a_hanging_daemon_costs_a_second_once(
    config: EdgeConfig, handler: Handler
) -> None:
    async with Peer(config.port) as centre, Peer(config.port) as phone:
        centre.on_request = answers(centre, 200)
        async with running(with_static(config, centre.port), handler):
            await phone.register("phone", "secret")
            handler.hangs = True
            first, took = await sos(phone)
            second, took_then = await sos(phone)
            other, _ = await phone.ask("INVITE", f"sip:hospital@{REALM}", "phone", "secret")
    assert first.code == second.code == 200
    assert 0.7 < took < 1.5
    assert took_then < 0.3
    assert (other.code, other.get("retry-after")) == (503, "30")


async def test_promise_4_without_a_daemon_sos_reaches_the_static_target_at_once(
    config: EdgeConfig, handler: Handler
) -> None:
    async with Peer(config.port) as centre, Peer(config.port) as phone:
        centre.on_request = answers(centre, 200)
        config = with_static(config, centre.port)
        async with KamailioEdge(config, handler):
            await phone.register("phone", "secret")
        try:
            answer, took = await sos(phone)
            other, _ = await phone.ask("INVITE", f"sip:hospital@{REALM}", "phone", "secret")
            phone.in_dialog(dialog_of_caller(answer), "BYE")
            await centre.request("BYE")
        finally:
            async with running(config, handler):
                pass
        invite = await centre.request("INVITE")
    assert answer.code == 200
    assert took < 1.0
    assert other.code == 503
    assert invite.headers["p-asserted-identity"] == [f"<sip:phone@{REALM}>"]


async def test_questions_of_others_to_a_hanging_daemon_do_not_delay_an_sos(
    config: EdgeConfig, handler: Handler
) -> None:
    async with Peer(config.port) as centre, Peer(config.port) as phone:
        centre.on_request = answers(centre, 200)
        async with running(with_static(config, centre.port), handler):
            await phone.register("phone", "secret")
            handler.hangs = True
            others = [
                asyncio.create_task(
                    phone.ask("INVITE", f"sip:hospital@{REALM}", "phone", "secret", deadline=9)
                )
                for _ in range(12)  # more than there are hands
            ]
            answer, took = await sos(phone)
            codes = [(await other)[0].code for other in others]
    assert answer.code == 200
    assert took < 1.5
    assert codes == [503] * 12


async def test_a_worker_calls_a_registered_user_and_learns_of_an_absent_one(
    edge: KamailioEdge, config: EdgeConfig
) -> None:
    assert edge.healthy
    async with Peer(config.port) as agent, Peer(config.internal_port) as worker:
        await agent.register("agent", "secret2")
        agent.on_request = answers(agent, 200)
        headers = ["X-Onekey-Incident: inc-1", f"P-Asserted-Identity: <sip:phone@{REALM}>"]
        answer, _ = await worker.ask(
            "INVITE", f"sip:agent@{REALM}", "gateway", None, body=SDP, headers=headers
        )
        invite = await agent.request("INVITE")
        absent, _ = await worker.ask("INVITE", f"sip:nobody@{REALM}", "gateway", None, body=SDP)
        direct, _ = await worker.ask("INVITE", f"sip:x@{agent.here}", "gateway", None, body=SDP)
        dead, _ = await worker.ask("INVITE", f"sip:x@{agent.address}:9", "gateway", None, body=SDP)
    assert (answer.code, absent.code, direct.code) == (200, 480, 200)
    assert dead.code in {408, 477, 503}
    assert invite.get("x-onekey-incident") == "inc-1"
    assert invite.get("p-asserted-identity") == f"<sip:phone@{REALM}>"


async def test_a_user_calls_a_user_when_the_daemon_says_so(
    edge: KamailioEdge, config: EdgeConfig, handler: Handler
) -> None:
    assert edge.healthy
    handler.answers = [RouteTo(uri=f"sip:agent@{REALM}")]
    async with Peer(config.port) as agent, Peer(config.port) as phone:
        await agent.register("agent", "secret2")
        agent.on_request = answers(agent, 200)
        answer, _ = await phone.ask("INVITE", f"sip:200@{REALM}", "phone", "secret", body=SDP)
        invite = await agent.request("INVITE")
    assert answer.code == 200
    assert "x-onekey-call" not in invite.headers


async def test_end_dialogs_releases_calls_that_are_not_answered_yet(
    edge: KamailioEdge, config: EdgeConfig, handler: Handler
) -> None:
    async with (
        Peer(config.port) as phone,
        Peer(config.port) as agent,
        Peer(config.internal_port) as worker,
    ):
        await agent.register("agent", "secret2")
        agent.on_request = answers(agent, 180)
        worker.on_request = answers(worker, 183)
        handler.answers = [to(worker)]
        waiting = asyncio.create_task(sos(phone))
        ringing = asyncio.create_task(
            worker.ask("INVITE", f"sip:agent@{REALM}", "gateway", None, body=SDP)
        )
        await phone.wait(lambda message: message.code == 183)
        await agent.request("INVITE")
        await worker.wait(lambda message: message.code == 180)
        assert await edge.end_dialogs(worker.here) == 2
        assert (await waiting)[0].code == 503
        await agent.request("CANCEL")
        assert (await ringing)[0].code == 503


async def test_a_trunk_enters_by_its_address_without_a_password(
    config: EdgeConfig, handler: Handler
) -> None:
    trunk = Trunk(name="city", sources=("127.0.0.2/32",))
    async with (
        running(replace(config, trunks=(trunk,)), handler),
        Peer(config.port, address="127.0.0.2") as city,
        Peer(config.internal_port) as worker,
    ):
        worker.on_request = answers(worker, 200)
        handler.answers = [to(worker)]
        answer, _ = await city.ask("INVITE", f"sip:4001@{REALM}", "02155512345", None, body=SDP)
        invite = await worker.request("INVITE")
        other, _ = await city.ask("REGISTER", f"sip:{REALM}", "phone", "secret")
    assert answer.code == 200
    assert other.code == 405
    (asked,) = handler.routes
    assert (asked.user, asked.trunk, asked.from_user, asked.to_user) == (
        *("", "city", "02155512345", "4001"),
    )
    assert invite.get("x-onekey-trunk") == "city"
    assert invite.get("p-asserted-identity") == "<sip:02155512345@city.onekey>"


async def test_a_number_goes_out_by_the_best_gateway_that_works_with_digest(
    config: EdgeConfig, handler: Handler
) -> None:
    async with Peer(config.port) as ill, Peer(config.port) as well:
        gateways = (
            Gateway(host="127.0.0.1", port=well.port, priority=20),
            Gateway(host="127.0.0.1", port=ill.port, priority=10),
        )
        trunk = Trunk(
            name="telco", gateways=gateways, username="us", password="pass", realm="telco.example"
        )
        ill.on_request = answers(ill, 503)

        def challenge(message: SipMessage) -> None:
            if message.method == "INVITE" and not message.get("proxy-authorization"):
                nonce = 'Proxy-Authenticate: Digest realm="telco.example", nonce="n1", qop="auth"'
                well.answer(message, 407, headers=[nonce], tag="c")
            elif message.method == "INVITE":
                well.answer(message, 200)

        well.on_request = challenge
        async with (
            running(replace(config, trunks=(trunk,)), handler),
            Peer(config.internal_port) as worker,
        ):
            answer, _ = await worker.ask(
                "INVITE", "sip:120@telco.onekey", "gateway", None, body=SDP
            )
            unknown, _ = await worker.ask("INVITE", "sip:120@no.onekey", "gateway", None)
            call = dialog_of_caller(answer)
            worker.in_dialog(call, "ACK")
            await well.request("ACK")
    assert (answer.code, unknown.code) == (200, 503)
    assert (await ill.request("INVITE")).uri == f"sip:120@127.0.0.1:{ill.port}"
    proved = next(m for m in well.messages if m.get("proxy-authorization"))
    assert 'username="us"' in proved.get("proxy-authorization")


async def test_a_message_is_answered_by_the_daemon_with_a_body(
    edge: KamailioEdge, config: EdgeConfig, handler: Handler
) -> None:
    async with Peer(config.port) as phone:
        answer, _ = await phone.ask(
            "MESSAGE",
            f"sip:scaip@{REALM}",
            "phone",
            "secret",
            body='<mrq x="1">\r\né</mrq>',
            headers=["Content-Type: application/scaip+xml"],
        )
        handler.hangs = True
        odd, _ = await phone.ask("SUBSCRIBE", f"sip:x@{REALM}", "phone", "secret")
    assert (answer.code, answer.body) == (200, "<mrs>é</mrs>")
    assert answer.get("content-type") == "application/scaip+xml"
    (asked,) = handler.messages
    assert (asked.user, asked.to_user) == ("phone", "scaip")
    assert asked.body == '<mrq x="1">\r\né</mrq>'
    assert odd.code == 405
    assert "INVITE" in odd.get("allow")
    assert edge.healthy


async def test_whoever_is_over_the_limit_can_still_call_sos(
    config: EdgeConfig, handler: Handler
) -> None:
    limits = Limits(calls_per_user=2, sos_per_user=1)
    async with (
        running(replace(config, limits=limits), handler),
        Peer(config.port) as phone,
        Peer(config.internal_port) as worker,
    ):
        worker.on_request = answers(worker, 200)
        codes = []
        for user in ("hospital", "hospital", "hospital", "sos", "sos", "sos", "sos"):
            handler.answers = [to(worker)]
            answer, _ = await phone.ask(
                "INVITE", f"sip:{user}@{REALM}", "phone", "secret", body=SDP
            )
            codes.append(answer.code)
    assert codes == [200, 200, 429, 200, 200, 200, 429]


def test_the_peer_computes_digests_as_rfc_2617_does() -> None:
    challenge = SipMessage(
        "SIP/2.0 401 x",
        {"www-authenticate": ['Digest realm="r", nonce="n", qop="auth"']},
        "",
        ("", 0),
    )
    assert 'response="' in credentials(challenge, "REGISTER", "sip:r", "u", "p")
