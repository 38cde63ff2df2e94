import json
from pathlib import Path

from sim.passwords import Passwords


def test_they_are_random_private_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    first = Passwords(path).prepare(["a", "b"])
    assert len(set(first.values())) == 2
    assert min(map(len, first.values())) >= 20
    assert path.stat().st_mode & 0o777 == 0o600
    again = Passwords(path).prepare(["a", "c"])
    assert again["a"] == first["a"]
    assert set(json.loads(path.read_text("utf-8"))) == {"a", "b", "c"}


def test_two_worlds_have_different_ones(tmp_path: Path) -> None:
    assert Passwords(tmp_path / "1")["a"] != Passwords(tmp_path / "2")["a"]
