from pathlib import Path

import pytest
from pydantic import ValidationError

from drivers.mqtt.config import MqttConfig, TlsConfig
from drivers.mqtt.driver import create


def test_an_empty_section_is_a_local_broker() -> None:
    config = MqttConfig.model_validate({})
    assert (config.host, config.port, config.tls) == ("127.0.0.1", 1883, None)


def test_the_password_does_not_show() -> None:
    config = MqttConfig.model_validate({"username": "gate", "password": "hush"})
    assert config.secret() == "hush"
    assert "hush" not in repr(config)


def test_a_password_file_is_read_at_each_use(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("one\n", "utf-8")
    config = MqttConfig.model_validate({"password_file": path})
    assert config.secret() == "one"
    path.write_text("two\n", "utf-8")
    assert config.secret() == "two"


@pytest.mark.parametrize(
    "section",
    [
        {"prot": 1883},
        {"port": 0},
        {"password": "x", "password_file": "/y"},
        {"client_id_prefix": "a/b"},
        {"receive_maximum": 0},
        {"backoff_min_s": 5, "backoff_max_s": 1},
        {"tls": {"verify": False}},
    ],
    ids=str,
)
def test_mistakes_are_found_at_the_start(section: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        create(section)


def test_tls_verifies_the_broker() -> None:
    context = TlsConfig().context()
    assert context.check_hostname
    with pytest.raises(OSError, match="No such file"):
        create({"tls": {"ca_file": "/no/such/ca.pem"}})
