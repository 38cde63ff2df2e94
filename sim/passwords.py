"""Random passwords of a world's MQTT users, kept in a file that only its owner can read."""

import json
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

# 18 bytes are 144 bits and 24 characters without padding.
PASSWORD_BYTES = 18


class Passwords:
    """Passwords by user name; a world that comes back in the same directory keeps its own."""

    def __init__(self, path: Path) -> None:
        """Use the file `path`, which need not exist yet."""
        self._path = path
        self._known: dict[str, str] = {}

    def prepare(self, names: Iterable[str]) -> Mapping[str, str]:
        """Read the file, add what is missing and write it; returns the passwords of `names`.

        Raises OSError or ValueError when the file cannot be read or is no JSON object.
        """
        if self._path.exists():
            self._known.update(json.loads(self._path.read_text("utf-8")))
        wanted = {name: self[name] for name in names}
        self._path.touch(mode=0o600)
        self._path.write_text(json.dumps(self._known, indent=1) + "\n", "utf-8")
        return wanted

    def __getitem__(self, name: str) -> str:
        if name not in self._known:
            self._known[name] = secrets.token_urlsafe(PASSWORD_BYTES)
        return self._known[name]
