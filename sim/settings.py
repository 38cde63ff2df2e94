"""The gateway's configuration and list of terminals for a simulated world. Pure."""

import csv
import io
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sim.options import WorldOptions, terminal_id
from sim.ports import RTP_PER_WORKER, Ports
from sim.toml_text import merged, toml_text

CSV_COLUMNS = (
    "id",
    "kind",
    "model",
    "driver",
    "sip_uri",
    "site",
    "subscriber",
    "label",
    "language",
    "training",
)
# Every key a terminal may have: in a demonstration all of them reach the same agents.
RULE = "everything"


def gateway_toml(
    options: WorldOptions,
    ports: Ports,
    *,
    data_dir: Path,
    run_dir: Path,
    prompts: Path,
    password_file: Path,
    mqtt_user: str,
) -> str:
    """Return the gateway's configuration; `options.extra_toml` is merged into it at the end."""
    settings: dict[str, Any] = {
        "instance": "gateway-1",
        "data_dir": data_dir,
        "store": {"url": options.store_url} if options.store_url else {},
        "web": {"host": "127.0.0.1", "port": ports.web},
        "drivers": {
            "mqtt": {
                "host": "127.0.0.1",
                "port": ports.mqtt,
                "username": mqtt_user,
                "password_file": password_file,
            }
        },
        "telephony": _telephony(options, ports, run_dir),
        "prompts": {"generated": prompts},
        "log": {"format": "console"},
        "routing": _routing(options, ports),
    }
    return toml_text(merged(settings, tomllib.loads(options.extra_toml)))


def terminals_csv(options: WorldOptions, ports: Ports) -> str:
    """Return the list of terminals for `gateway terminals import`."""
    text = io.StringIO()
    rows = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n")
    rows.writeheader()
    for index in range(options.terminals):
        rows.writerow(_terminal(options, ports, index))
    return text.getvalue()


def agent_uri(options: WorldOptions, ports: Ports, index: int) -> str:
    """Return the SIP URI of agent `index`, counted from 0."""
    port = ports.phone_sip(options.voices + index)
    return options.agents[index].uri or _uri(options.names[index], options.bind_address, port)


def _terminal(options: WorldOptions, ports: Ports, index: int) -> Mapping[str, str]:
    name = terminal_id(index + 1)
    voice = index < options.voices
    return {
        "id": name,
        "kind": options.terminal_kind,
        "model": "sim-pendant",
        "driver": "mqtt",
        "sip_uri": _uri(name, options.bind_address, ports.phone_sip(index)) if voice else "",
        "site": "",
        "subscriber": f"S-{index + 1:04d}",
        "label": f"模拟终端 {name}",
        "language": "zh-CN",
        "training": "false",
    }


def _telephony(options: WorldOptions, ports: Ports, run_dir: Path) -> Mapping[str, Any]:
    return {
        "min_workers": options.min_workers,
        "spare_workers": options.spare_workers,
        "max_workers": options.max_workers,
        "sip": {
            "run_dir": run_dir,
            "bind_address": options.bind_address,
            "sip_port_base": ports.worker_sip,
            "rtp_port_base": ports.worker_rtp,
            "rtp_ports_per_worker": RTP_PER_WORKER,
        },
    }


def _routing(options: WorldOptions, ports: Ports) -> Mapping[str, Any]:
    targets = {
        name: {"uri": agent_uri(options, ports, index), "label": name, "ring_s": spec.ring_s}
        for index, (name, spec) in enumerate(zip(options.names, options.agents, strict=True))
    }
    chain = [{"targets": list(stage.targets), "mode": stage.mode} for stage in options.stages()]
    rule = {"name": RULE, "flow": "emergency", "chain": chain, "last_resort": options.last_resort}
    return {"targets": targets, "rules": [rule]}


def _uri(user: str, address: str, port: int) -> str:
    return f"sip:{user}@{address}:{port}"
