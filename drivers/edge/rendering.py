"""Kamailio's configuration, made of ours. Pure but for `find_modules`."""

import ipaddress
import re
from collections.abc import Iterable
from pathlib import Path
from string import Template

from drivers.edge.config import EdgeConfig, Gateway, Trunk

TEMPLATE = Path(__file__).parents[2] / "docker" / "kamailio" / "kamailio.cfg"

# User agents of the tools that scan the net for SIP servers, as they name themselves.
SCANNERS = (
    "friendly-scanner",
    "friendly-request",
    "sipvicious",
    "sundayddr",
    "sipcli",
    "sip-scan",
    "sipsak",
    "iWar",
    "pplsip",
    "VaxSIPUserAgent",
    "smap",
    "sipptk",
    "CSipSimple-scan",
)


def render(config: EdgeConfig, *, token: str, template: str, module_dir: Path) -> str:
    """Return Kamailio's configuration. Raises KeyError for a place that nobody fills."""
    values = _values(config, token, module_dir)
    return re.sub(r"%%([A-Z0-9_]+)%%", lambda found: values[found[1]], template)


def render_tls(config: EdgeConfig) -> str:
    """Return the configuration of Kamailio's TLS module. Phones rarely have certificates."""
    return Template(
        "[server:default]\nmethod = TLSv1.2+\nverify_certificate = no\n"
        "require_certificate = no\nprivate_key = $key\ncertificate = $cert\n"
        "[client:default]\nmethod = TLSv1.2+\nverify_certificate = no\n"
    ).substitute(key=config.tls_key, cert=config.tls_cert)


def find_modules() -> Path:
    """Return the directory of Kamailio's modules; raises FileNotFoundError."""
    for found in sorted(Path("/usr").glob("lib*/*/kamailio/modules")):
        if (found / "http_client.so").exists():
            return found
    raise FileNotFoundError("Kamailio's modules (kamailio-utils-modules) are not installed")


def _values(config: EdgeConfig, token: str, module_dir: Path) -> dict[str, str]:
    limits, children = config.limits, config.children
    return {
        "DEBUG": str(config.debug),
        "UDP_CHILDREN": str(children.udp),
        "TCP_CHILDREN": str(children.tcp),
        "ASYNC_WORKERS": str(children.questions),
        "SOS_WORKERS": str(children.sos_questions),
        "ENABLE_TLS": "yes" if config.tls else "no",
        "TCP_LIFETIME": str(config.max_expires_s + 5),
        "TCP_MAX_CONNECTIONS": "20000",
        "LISTEN": "\n".join(_listen(config)),
        "REALM": config.realm,
        "MODULES": f"{module_dir}/",
        "TLS": _tls_lines(config),
        "RUN_DIR": str(config.run_dir),
        "LOCATION_DB": str(config.location_db),
        "DIALOG_DB": str(config.dialog_db),
        "CREDENTIALS_DB": str(config.credentials_db),
        "MIN_EXPIRES": str(config.min_expires_s),
        "DEFAULT_EXPIRES": str(config.default_expires_s),
        "MAX_EXPIRES": str(config.max_expires_s),
        "MAX_CONTACTS": str(config.max_contacts),
        "NATPING_S": str(config.natping_s),
        "NATPING_LOST_S": str(config.natping_lost_s),
        "HA1_CACHE_S": str(config.ha1_cache_s),
        "STRANGER_S": str(config.stranger_s),
        "SILENT_S": str(config.silent_s),
        "WINDOW_S": str(limits.window_s),
        "INTERNAL_ADDRESS": config.internal_address,
        "INTERNAL_PORT": str(config.internal_port),
        "SCANNERS": "|".join(SCANNERS),
        "MAX_BYTES": str(limits.max_bytes),
        "SOS_USERS": "|".join(map(re.escape, config.sos_users)),
        "SOS_PER_SOURCE": str(limits.sos_per_source),
        "REQUESTS_IN_ALL": str(limits.requests_in_all),
        "REQUESTS_PER_SOURCE": str(limits.requests_per_source),
        "SILENCE_PER_SOURCE": str(limits.silence_per_source),
        "WRONG_PASSWORDS": str(limits.wrong_passwords),
        "CALLS_PER_USER": str(limits.calls_per_user),
        "CALLS_PER_TRUNK": str(limits.calls_per_trunk),
        "SOS_PER_USER": str(limits.sos_per_user),
        "CONTROL": f"http://{config.control_address}:{config.control_port}",
        "TOKEN": f"X-Onekey-Token: {token}",
        "RETRY_S": str(config.retry_after_s),
        "STATIC_SOS": config.static_sos_uri,
        "WORKER_SILENT_MS": str(config.worker_silent_ms),
        "EXTERNAL_SOCKET": _external_socket(config),
        "TRUNK_SOURCES": _lines(_trunk_sources(config.trunks)),
        "TRUNK_GATEWAYS": _lines(_trunk_gateways(config.trunks)),
    }


def _listen(config: EdgeConfig) -> Iterable[str]:
    advertise = ""
    if config.advertised_address:
        advertise = f" advertise {config.advertised_address}:%d"
    for proto, port in _sockets(config):
        tail = advertise % port if advertise else ""
        yield f"listen={proto}:{config.bind_address}:{port}{tail}"
    yield f"listen=udp:{config.internal_address}:{config.internal_port}"


def _sockets(config: EdgeConfig) -> Iterable[tuple[str, int]]:
    yield "udp", config.port
    yield "tcp", config.port
    if config.tls:
        yield "tls", config.tls_port


def _tls_lines(config: EdgeConfig) -> str:
    if not config.tls:
        return ""
    return f'loadmodule "tls.so"\nmodparam("tls", "config", "{config.tls_config_path}")'


def _external_socket(config: EdgeConfig) -> str:
    lines = [
        f'if ($ru =~ "transport={proto}") {{ $fs = "{_socket(config, proto, port)}"; return; }}'
        for proto, port in _sockets(config)
        if proto != "udp"
    ]
    return _lines([*lines, f'$fs = "{_socket(config, "udp", config.port)}";'])


def _socket(config: EdgeConfig, proto: str, port: int) -> str:
    return f"{proto}:{config.bind_address}:{port}"


def _trunk_sources(trunks: Iterable[Trunk]) -> Iterable[str]:
    for trunk in trunks:
        for source in trunk.sources:
            network = ipaddress.ip_network(source)
            address = network.network_address
            shown = f"[{address}]" if network.version == 6 else f"{address}"
            source_is = f"src_ip=={shown}/{network.prefixlen}"
            yield f'if ({source_is}) {{ $var(trunk) = "{trunk.name}"; return; }}'


def _trunk_gateways(trunks: Iterable[Trunk]) -> Iterable[str]:
    """Yield assignments; an AVP is a stack, so the best gateway is pushed last."""
    for trunk in trunks:
        if not trunk.gateways:
            continue
        pushes = [
            f'$avp(gateway) = "{hop}|{trunk.username}|{trunk.password}|{trunk.realm}";'
            for hop in map(_hop, sorted(trunk.gateways, key=lambda gw: -gw.priority))
        ]
        yield f'if ($rd == "{trunk.name}.onekey") {{ {" ".join(pushes)} }}'


def _hop(gateway: Gateway) -> str:
    tail = "" if gateway.transport == "udp" else f";transport={gateway.transport}"
    return f"{gateway.host}:{gateway.port}{tail}"


def _lines(lines: Iterable[str]) -> str:
    return "\n    ".join(lines) or "return;"
