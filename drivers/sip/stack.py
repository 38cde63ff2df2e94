"""The PJSUA endpoint of a worker: settings that were measured, the one SIP thread, the clock.

PJSUA belongs to two threads only: the main one (asyncio) and the SIP thread made here. A call into
it from any other aborts the process.
"""

import os
import threading
from collections.abc import Callable

import pjsua2 as pj
import structlog

from drivers.sip.call import PjCall, parameters
from drivers.sip.config import SipConfig
from drivers.sip.invitation import Invitation, Trust, invitation_of

log = structlog.get_logger()

# Packets wake the SIP thread at once; only timers set by the other thread wait for the next turn.
# 20 turns a second beside a media clock of 50 cost nothing; idle, 2 a second keep it at 0.03 %.
POLL_BUSY_MS = 50
POLL_IDLE_MS = 500
BRIDGE_HZ = 8_000  # narrowband codecs only, so the bridge never resamples
PJ_SUCCESS = 0
EXIT_STACK_FAILED = 70  # EX_SOFTWARE: the daemon sees the socket end and takes another worker


class Account(pj.Account):  # type: ignore[misc] # pjsua2 has no stubs
    """Our identity. Incoming calls go to `on_incoming`."""

    def __init__(self, on_incoming: Callable[[pj.OnIncomingCallParam], None]) -> None:
        pj.Account.__init__(self)
        self._on_incoming = on_incoming

    def onIncomingCall(self, prm: pj.OnIncomingCallParam) -> None:  # noqa: N802 pjsua2's name
        """Hand the call over; whoever takes it must keep the object it makes of it."""
        self._on_incoming(prm)

    def onIncomingSubscribe(  # noqa: N802 pjsua2's name
        self, prm: pj.OnIncomingSubscribeParam
    ) -> None:
        """Refuse: PJSUA would tell any stranger about our presence, and keep the subscription."""
        prm.code = pj.PJSIP_SC_FORBIDDEN


class SipStack:
    """One per process. `start` binds the ports; raises pj.Error when they are taken."""

    def __init__(self, config: SipConfig, slot: int) -> None:
        self._config = config
        self._slot = slot
        self._clock_on = False
        self._stopping = False
        self._endpoint = pj.Endpoint()
        self._account = Account(self._on_incoming)
        self._refused: dict[int, PjCall] = {}
        self._trust = Trust(config.trusted, bind_address=config.bind_address)
        # Gets (PJSIP's call id, what the INVITE says, where it came from), on the SIP thread, and
        # must make and keep the call's object.
        self.on_invitation: Callable[[int, Invitation, str], None] | None = None
        self._thread = threading.Thread(target=self._pump, name="sip", daemon=True)

    @property
    def account(self) -> pj.Account:
        """Return the account that calls are made from."""
        return self._account

    def start(self) -> None:
        """Create the endpoint, its transport and account, and start the SIP thread."""
        self._endpoint.libCreate()
        self._endpoint.libInit(self._endpoint_config())
        transport = pj.TransportConfig()
        transport.port = self._config.sip_port(self._slot)
        transport.boundAddress = self._config.bind_address
        transport.publicAddress = self._config.address
        self._endpoint.transportCreate(pj.PJSIP_TRANSPORT_UDP, transport)
        self._endpoint.libStart()
        self._endpoint.audDevManager().setNoDev()
        self._choose_codecs()
        self._account.create(self._account_config())
        self._thread.start()

    def wake(self) -> None:
        """Start the audio clock: without it no stream sends, no prompt plays, no file grows."""
        if not self._clock_on:
            self._endpoint.audDevManager().setNullDev()
            self._clock_on = True

    def rest(self) -> None:
        """Stop the audio clock, which would tick 50 times a second for nobody."""
        if self._clock_on:
            self._endpoint.audDevManager().setNoDev()
            self._clock_on = False

    def valid_uri(self, uri: str) -> bool:
        """Tell whether PJSIP can parse `uri` as a SIP URI."""
        return bool(self._endpoint.utilVerifySipUri(uri) == PJ_SUCCESS)

    def close(self) -> None:
        """Stop the thread and the endpoint; no call object may be alive any more."""
        self._refused.clear()
        self._account.shutdown()
        self._stopping = True
        self._thread.join(2 * POLL_IDLE_MS / 1000)
        self._endpoint.libDestroy(pj.PJSUA_DESTROY_NO_RX_MSG)

    def _endpoint_config(self) -> pj.EpConfig:
        config = pj.EpConfig()
        config.logConfig.level = 2
        config.logConfig.consoleLevel = 2  # to the worker's log file, where stdout points
        ua = config.uaConfig
        ua.maxCalls = self._config.legs_per_worker
        ua.threadCnt = 0
        ua.userAgent = self._config.user_agent
        media = config.medConfig
        media.clockRate = media.sndClockRate = BRIDGE_HZ
        media.audioFramePtime = 20
        media.noVad = True  # silence must be sent: it is how the far end knows that we live
        media.ecTailLen = 0
        media.threadCnt = 0
        media.hasIoqueue = False
        return config

    def _choose_codecs(self) -> None:
        wanted = [name.upper() for name in self._config.codecs]
        for info in self._endpoint.codecEnum2():
            name = info.codecId.split("/")[0].upper()
            rank = 255 - wanted.index(name) if name in wanted else 0
            self._endpoint.codecSetPriority(info.codecId, rank)

    def _account_config(self) -> pj.AccountConfig:
        config = pj.AccountConfig()
        config.idUri = self._config.identity
        if self._config.outbound_proxy:
            config.sipConfig.proxies.append(self._config.outbound_proxy)
        # True would send a re-INVITE after the ACK when the answer lists two codecs; browser
        # stacks refuse that one with 403.
        config.mediaConfig.lockCodecEnabled = False
        rtp = config.mediaConfig.transportConfig
        rtp.port = self._config.rtp_port(self._slot)
        rtp.portRange = self._config.rtp_ports_per_worker - 1
        rtp.boundAddress = self._config.bind_address
        rtp.publicAddress = self._config.address
        return config

    def _on_incoming(self, prm: pj.OnIncomingCallParam) -> None:
        """Take only what the edge sends with a call id; strangers get 403."""
        source = prm.rdata.srcAddress
        trusted = self._trust.covers(source)
        invitation = invitation_of(prm.rdata.wholeMsg) if trusted else None
        if invitation is None:
            log.warning("stranger_refused", source=source, trusted=trusted)
            self._refuse(prm.callId, pj.PJSIP_SC_FORBIDDEN)
        elif self.on_invitation is None:
            self._refuse(prm.callId, pj.PJSIP_SC_SERVICE_UNAVAILABLE)
        else:
            self.on_invitation(prm.callId, invitation, source)

    def _refuse(self, call_id: int, code: int) -> None:
        call = PjCall(self._account, lambda *_: None, call_id)
        self._refused[call_id] = call  # ids are reused, so there are never more than legs
        call.hangup(parameters(code=code))

    def _pump(self) -> None:
        try:
            self._endpoint.libRegisterThread("sip")
            while not self._stopping:
                self._endpoint.libHandleEvents(POLL_BUSY_MS if self._clock_on else POLL_IDLE_MS)
        except pj.Error as exc:
            log.critical("sip_thread_failed", detail=exc.reason)
            os._exit(EXIT_STACK_FAILED)  # half a worker would keep calls that nobody can end
