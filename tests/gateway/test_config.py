"""One file, one environment, every error with its path."""

import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.config import RuleConfig, Settings, WebConfig, load


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(text, "utf-8")
    return path


def faults(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        load(written(tmp_path, text))
    return [".".join(map(str, item["loc"])) for item in caught.value.errors()]


def test_defaults_are_valid_and_lie_in_the_data_directory() -> None:
    settings = load(None)
    assert settings.store_is_sqlite
    assert settings.store_url.endswith("/data/onekey.sqlite")
    assert settings.recordings_dir == Path("data/recordings")
    assert settings.prompt_dirs == (Path("data/prompts"),)


def test_the_environment_is_stronger_than_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, 'instance = "file"\n[web]\nport = 1\nfeed_queue = 77')
    monkeypatch.setenv("ONEKEY__WEB__PORT", "2")
    monkeypatch.setenv("ONEKEY__WEB__TOKEN", "geheim")
    settings = load(path)
    assert (settings.instance, settings.web.port, settings.web.feed_queue) == ("file", 2, 77)
    assert "geheim" not in repr(settings)
    assert settings.web.token is not None
    assert settings.web.token.get_secret_value() == "geheim"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[web]\nprot = 1", "web.prot"),
        ("[web]\nport = 70000", "web.port"),
        ("nonsense = 1", "nonsense"),
        ('[emergency]\nterminal_ring_s = "long"', "emergency.terminal_ring_s"),
        ('[routing.targets.a]\nuri = "http://x"', "routing.targets.a.uri"),
        ('[routing.targets.a]\nuri = "sip:a@b c"', "routing.targets.a.uri"),
        (
            '[[routing.rules]]\nname = "r"\nchain = [{targets = []}]',
            "routing.rules.0.chain.0.targets",
        ),
        ('instance = "a b"', "instance"),
    ],
)
def test_a_wrong_value_is_named_by_its_path(tmp_path: Path, text: str, where: str) -> None:
    assert faults(tmp_path, text) == [where]


@pytest.mark.parametrize("named", ['chain = [{targets = ["x"]}]', 'last_resort = "x"'])
def test_a_rule_names_targets_that_exist(tmp_path: Path, named: str) -> None:
    path = written(tmp_path, f'[[routing.rules]]\nname = "night"\n{named}')
    with pytest.raises(ValidationError, match="routing rule 'night' names unknown target 'x'"):
        load(path)


GROUPS = """
[routing.targets.duty]
uri = "sip:1@192.0.2.1"
[routing.groups.{name}]
overflow_to = "{after}"
[routing.groups.last]
overflow_to = "{last}"
"""


@pytest.mark.parametrize(
    ("name", "after", "last", "fault"),
    [
        ("first", "x", "duty", "group 'first' overflows to unknown 'x'"),
        ("first", "last", "first", "overflows in a circle"),
        ("first", "last", "last", "overflows in a circle"),
        ("duty", "", "", "'duty' is the name of a target and of a group"),
    ],
)
def test_a_group_overflows_somewhere(
    tmp_path: Path, name: str, after: str, last: str, fault: str
) -> None:
    path = written(tmp_path, GROUPS.format(name=name, after=after, last=last))
    with pytest.raises(ValidationError, match=fault):
        load(path)


def test_a_chain_may_name_a_group_but_the_last_resort_not(tmp_path: Path) -> None:
    groups = GROUPS.format(name="first", after="last", last="duty")
    rule = '[[routing.rules]]\nname = "r"\nchain = [{targets = ["first", "duty"]}]\n'
    assert load(written(tmp_path, groups + rule)).routing.groups["first"].overflow_to == "last"
    with pytest.raises(ValidationError, match="unknown target 'last' as its last resort"):
        load(written(tmp_path, f'{groups}{rule}last_resort = "last"\n'))


def test_an_open_port_needs_a_token() -> None:
    with pytest.raises(ValidationError, match=r"web\.token is mandatory"):
        WebConfig(host="0.0.0.0")  # noqa: S104  refused: that is the point
    assert WebConfig(host="::1").token is None


def test_hours_are_a_pair() -> None:
    with pytest.raises(ValidationError, match="go together"):
        RuleConfig.model_validate({"name": "r", "begins": "08:00"})


def test_settings_cannot_be_changed_behind_our_back() -> None:
    with pytest.raises(ValidationError):
        Settings().web.port = 1


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no configuration file .*missing\.toml"):
        load(tmp_path / "missing.toml")
    with pytest.raises(tomllib.TOMLDecodeError):
        load(written(tmp_path, "= 1"))


def test_two_files_do_not_mix(tmp_path: Path) -> None:
    first = load(written(tmp_path, 'instance = "one"'))
    assert load(None).instance == "gateway-1"
    assert first.instance == "one"


@pytest.mark.parametrize(
    ("url", "embedded"),
    [("sqlite:////x/y.sqlite", True), ("postgresql+psycopg://u@h/db", False)],
)
def test_which_store_is_embedded(url: str, *, embedded: bool) -> None:
    assert Settings.model_validate({"store": {"url": url}}).store_is_sqlite is embedded


def test_own_prompts_come_before_generated_ones() -> None:
    settings = Settings.model_validate(
        {"prompts": {"directory": "own"}, "recording": {"directory": "elsewhere"}}
    )
    assert settings.prompt_dirs == (Path("own"), Path("data/prompts"))
    assert settings.recordings_dir == Path("elsewhere")
