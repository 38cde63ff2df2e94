"""What the edge is told. Defaults, with their reason, stand beside the fields."""

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}")
_URI = re.compile(r'sips?:[^\s<>"%|]{1,250}')
_SAFE = re.compile(r'[^"\\|$\s%]{0,128}')  # goes between quotes in Kamailio's configuration
_USERS = re.compile(r"[A-Za-z0-9*#+_.-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """Where a trunk takes our calls. Gateways with a lower `priority` are tried first."""

    host: str
    port: int = 5060
    transport: str = "udp"  # udp, tcp or tls
    priority: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Trunk:
    """A telephone company or an existing call centre, known by its addresses."""

    name: str  # calls to sip:<number>@<name>.onekey take this trunk
    sources: tuple[str, ...] = ()  # networks (CIDR) from which it calls us
    gateways: tuple[Gateway, ...] = ()
    # For a gateway that answers 401 or 407. The realm as the gateway names it.
    username: str = ""
    password: str = ""
    realm: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much the border lets through. A window is `window_s` seconds."""

    window_s: int = 10
    # Requests of one method and one source address in a window. A site with 50 phones behind one
    # address that come back together after a power cut makes 100 (REGISTER, then with digest).
    requests_per_source: int = 200
    # Above this an address gets no answer at all, until the window ends. SOS is never silenced.
    silence_per_source: int = 2000
    # Requests of one method from all addresses together; 2,000 a second leave a core for calls.
    requests_in_all: int = 20_000
    # SOS requests of one source address in a window, counted apart from everything else. A call
    # makes two: the first is answered with the digest challenge.
    sos_per_source: int = 200
    # Calls and messages of one user or trunk in a minute; above: 429.
    calls_per_user: int = 30
    calls_per_trunk: int = 1200
    # SOS calls of one user in a minute, on top of the above: a stuck key still gets through.
    sos_per_user: int = 30
    # Wrong passwords of one user from one address in a minute, before only 403 comes back.
    wrong_passwords: int = 20
    # RFC 3261 §18.1.1 speaks of 1300 for UDP; SDP, PIDF-LO and RFC 7852 data need a few thousand.
    max_bytes: int = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class Children:
    """Processes of Kamailio: 2 cores by default. A question to the daemon holds one hand."""

    udp: int = 2  # per UDP socket
    tcp: int = 2
    questions: int = 4
    sos_questions: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeConfig:
    """One edge on one machine."""

    # Configuration, sockets, pid file and log; private (0700). Short: AF_UNIX has 107 bytes.
    run_dir: Path
    # Registrations, dialogs and credentials (SQLite); empty: run_dir. On a tmpfs a commit costs no
    # disk flush; all of it is only worth something while the machine is up.
    state_dir: Path | None = None
    # Digest realm and SIP domain of everybody who registers. HA1 contains it: changing it makes
    # all stored credentials void.
    realm: str = "onekey.local"
    # Somebody else starts Kamailio (same machine, same run_dir); we only talk to it.
    external: bool = False

    bind_address: str = "127.0.0.1"
    advertised_address: str = ""  # what peers reach us by, behind a 1:1 NAT; empty: bind_address
    port: int = 15_060  # UDP and TCP
    tls_port: int = 15_062
    tls_cert: Path | None = None  # PEM with the chain; TLS is on when both are there
    tls_key: Path | None = None
    internal_address: str = "127.0.0.1"  # for workers, trusted: keep it on loopback
    internal_port: int = 15_061
    control_address: str = "127.0.0.1"
    control_port: int = 15_063  # where Kamailio asks us; the same after a restart of the daemon

    sos_users: tuple[str, ...] = ("sos",)  # what is dialled for SOS; all else waits its turn
    # Where an SOS goes when no daemon answers and when no worker takes it: a SIP URI of an address,
    # of a registered user (sip:name@<realm>) or of a trunk (sip:number@<trunk>.onekey).
    static_sos_uri: str = ""
    trunks: tuple[Trunk, ...] = ()
    limits: Limits = field(default_factory=Limits)
    children: Children = field(default_factory=Children)

    # Registration: what a phone may ask for. Below 60 s ten thousand phones are a load.
    min_expires_s: int = 60
    default_expires_s: int = 300
    max_expires_s: int = 3600
    max_contacts: int = 3  # phones of one user
    # OPTIONS to phones behind NAT: routers forget UDP after 30 s; four lost ones end a contact.
    natping_s: int = 25
    natping_lost_s: int = 110
    # Credentials are revoked by us; this only bounds what an edge without a daemon remembers.
    ha1_cache_s: int = 604_800
    stranger_s: int = 10  # an unknown user is not asked about again for so long
    silent_s: int = 2  # a daemon that let a question time out is not asked again for so long
    retry_after_s: int = 30  # what refused callers are told when no daemon answers
    # A worker says 100 Trying within milliseconds, also under load (measured: 2.7 ms).
    worker_silent_ms: int = 700

    binary: str = "kamailio"
    module_dir: Path | None = None  # empty: Debian's
    shared_memory_mb: int = 64  # 100,000 registrations take about 60
    private_memory_mb: int = 8  # per process
    debug: int = 0  # Kamailio's: -1 errors, 0 warnings, 2 information, 3 everything

    poll_s: float = 2.0  # how often registrations are read
    rpc_s: float = 1.0  # deadline of one question to Kamailio
    # Deadline of one answer to Kamailio, which itself waits 1 s and counts in whole seconds.
    answer_s: float = 0.9
    start_s: float = 5.0  # from the start to the first answer
    stop_s: float = 3.0  # from SIGTERM to SIGKILL

    def __post_init__(self) -> None:
        """Raise ValueError for what would not be a safe configuration file."""
        _check(self)

    @property
    def address(self) -> str:
        """Return the address by which peers reach us."""
        return self.advertised_address or self.bind_address

    @property
    def tls(self) -> bool:
        """Tell whether TLS is served."""
        return self.tls_cert is not None and self.tls_key is not None

    @property
    def outbound_proxy(self) -> str:
        """Return the SIP URI of the internal socket, as a loose route."""
        return f"sip:{self.internal_address}:{self.internal_port};lr"

    @property
    def config_path(self) -> Path:
        """Return where Kamailio's configuration is written."""
        return self.run_dir / "kamailio.cfg"

    @property
    def tls_config_path(self) -> Path:
        """Return where the configuration of Kamailio's TLS is written."""
        return self.run_dir / "tls.cfg"

    @property
    def pid_path(self) -> Path:
        """Return the file with the process id of Kamailio's first process."""
        return self.run_dir / "kamailio.pid"

    @property
    def log_path(self) -> Path:
        """Return Kamailio's log."""
        return self.run_dir / "kamailio.log"

    @property
    def rpc_path(self) -> Path:
        """Return Kamailio's JSON-RPC socket."""
        return self.run_dir / "rpc.sock"

    @property
    def location_db(self) -> Path:
        """Return the database of registrations, which Kamailio writes and we read."""
        return (self.state_dir or self.run_dir) / "location.sqlite"

    @property
    def dialog_db(self) -> Path:
        """Return the database of answered calls, which Kamailio writes and we read."""
        return (self.state_dir or self.run_dir) / "dialog.sqlite"

    @property
    def credentials_db(self) -> Path:
        """Return the database of credentials, which is ours; Kamailio reads it at its start."""
        return (self.state_dir or self.run_dir) / "credentials.sqlite"

    @property
    def token_path(self) -> Path:
        """Return the file with the secret by which Kamailio's questions are known."""
        return self.run_dir / "control.token"


def _check(config: EdgeConfig) -> None:
    for address in (config.bind_address, config.internal_address, config.control_address):
        ipaddress.ip_address(address)
    if not ipaddress.ip_address(config.internal_address).is_loopback:
        raise ValueError("internal_address must be on loopback: whoever reaches it is trusted")
    _fits(_HOST, "realm", config.realm)
    if config.advertised_address:
        _fits(_HOST, "advertised_address", config.advertised_address)
    for user in config.sos_users:
        _fits(_USERS, "sos_users", user)
    if config.static_sos_uri:
        _fits(_URI, "static_sos_uri", config.static_sos_uri)
    if (config.tls_cert is None) != (config.tls_key is None):
        raise ValueError("give both tls_cert and tls_key, or neither")
    for path in (config.run_dir, config.dialog_db, config.tls_cert, config.tls_key):
        _fits(_SAFE, "path", str(path or ""))
    for trunk in config.trunks:
        _check_trunk(trunk)


def _check_trunk(trunk: Trunk) -> None:
    _fits(_NAME, "trunk name", trunk.name)
    for source in trunk.sources:
        ipaddress.ip_network(source)
    for text in (trunk.username, trunk.password, trunk.realm):
        _fits(_SAFE, f"credentials of trunk {trunk.name}", text)
    for gateway in trunk.gateways:
        _fits(_HOST, f"gateway of trunk {trunk.name}", gateway.host)
        if gateway.transport not in {"udp", "tcp", "tls"}:
            raise ValueError(f"trunk {trunk.name}: no transport {gateway.transport!r}")


def _fits(pattern: re.Pattern[str], what: str, text: str) -> None:
    if not pattern.fullmatch(text):
        raise ValueError(f"{what}: {text!r} cannot be used")
