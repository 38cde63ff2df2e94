import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from drivers.edge.config import EdgeConfig, Gateway, Trunk
from drivers.edge.database import prepare
from drivers.edge.rendering import TEMPLATE, find_modules, render, render_tls
from tests.drivers.edge.certificate import self_signed

CITY = Trunk(
    name="city",
    sources=("192.0.2.0/24", "2001:db8::/32"),
    gateways=(Gateway(host="192.0.2.9", priority=20), Gateway(host="192.0.2.8", transport="tcp")),
    username="u",
    password="p",
    realm="r",
)


def text_of(config: EdgeConfig) -> str:
    return render(
        config, token="t", template=TEMPLATE.read_text("utf-8"), module_dir=find_modules()
    )


def accepted(config: EdgeConfig) -> str:
    config.run_dir.mkdir(exist_ok=True)
    prepare(config.location_db, config.dialog_db, config.credentials_db)
    config.config_path.write_text(text_of(config), "utf-8")
    if config.tls:
        config.tls_config_path.write_text(render_tls(config), "utf-8")
    check = subprocess.run(
        ["/usr/sbin/kamailio", "-c", "-f", str(config.config_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert check.returncode == 0, check.stderr
    return check.stderr


def test_kamailio_accepts_the_default_configuration(tmp_path: Path) -> None:
    accepted(EdgeConfig(run_dir=tmp_path / "e"))


def test_kamailio_accepts_trunks_tls_and_an_advertised_address(tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path)
    config = EdgeConfig(
        run_dir=tmp_path / "e",
        trunks=(CITY, Trunk(name="other")),
        tls_cert=cert,
        tls_key=key,
        advertised_address="203.0.113.7",
        static_sos_uri="sip:4001@city.onekey",
    )
    accepted(config)


def test_the_best_gateway_is_pushed_last_because_an_avp_is_a_stack(tmp_path: Path) -> None:
    text = text_of(EdgeConfig(run_dir=tmp_path, trunks=(CITY,)))
    worse, better = text.index("192.0.2.9:5060|u|p|r"), text.index("192.0.2.8:5060;transport=tcp|u")
    assert worse < better


def test_a_place_that_nobody_fills_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="NOBODY"):
        render(EdgeConfig(run_dir=tmp_path), token="t", template="%%NOBODY%%", module_dir=tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"internal_address": "192.0.2.1"},
        {"bind_address": "everywhere"},
        {"realm": 'x"; exit'},
        {"static_sos_uri": 'sip:a@b"; route(X)'},
        {"static_sos_uri": "tel:120"},
        {"sos_users": ("so s",)},
        {"tls_cert": Path("/cert.pem")},
        {"trunks": (replace(CITY, name="City 1"),)},
        {"trunks": (replace(CITY, sources=("192.0.2.1/24",)),)},
        {"trunks": (replace(CITY, password='"$x'),)},
        {"trunks": (replace(CITY, gateways=(Gateway(host="a b"),)),)},
        {"trunks": (replace(CITY, gateways=(Gateway(host="a", transport="sctp"),)),)},
    ],
)
def test_what_would_break_the_configuration_is_refused(
    tmp_path: Path, wrong: dict[str, object]
) -> None:
    with pytest.raises(ValueError, match=r"."):
        EdgeConfig(run_dir=tmp_path, **wrong)  # type: ignore[arg-type] # wrong on purpose
