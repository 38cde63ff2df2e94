"""XML of peers, read without its dangerous parts, and XML of ours, written escaped and bounded.

Reading refuses document type declarations at their first byte, and with them entities of every
kind: billion laughs, external files, parameter entities (OWASP: XML External Entity Prevention).
"""

from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from protocols.errors import DecodeError, DecodeReason
from protocols.text import clean_text

# Deeper than any format of ours (a PIDF-LO has 9 levels), far below what recursion could hurt.
MAX_DEPTH: Final = 32
MAX_ELEMENTS: Final = 500


@dataclass(slots=True)
class Element:
    """One element: local name, namespace ("" for none), attributes by local name, direct text."""

    name: str
    namespace: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    text: str = ""
    children: list["Element"] = field(default_factory=list)

    def child(self, name: str) -> "Element | None":
        """Return the first child of that local name."""
        return next((child for child in self.children if child.name == name), None)

    def descend(self, name: str) -> "Element | None":
        """Return the first descendant of that local name, in document order."""
        for child in self.children:
            found = child if child.name == name else child.descend(name)
            if found is not None:
                return found
        return None


class _Reader:
    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[Element] = []
        self._count = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if len(self._open) >= MAX_DEPTH:
            raise DecodeError(DecodeReason.TOO_LARGE, f"nested deeper than {MAX_DEPTH}")
        if self._count > MAX_ELEMENTS:
            raise DecodeError(DecodeReason.TOO_LARGE, f"more than {MAX_ELEMENTS} elements")
        namespace, name = _split(tag)
        own = {_split(key)[1]: value for key, value in attributes.items()}
        element = Element(name, namespace, own)
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)

    def end(self, _tag: str) -> None:
        self._open.pop()

    def data(self, text: str) -> None:
        self._open[-1].text += text


def parse(document: bytes, *, limit: int) -> Element:
    """Return the root of `document`, at most `limit` bytes; raises DecodeError and nothing else."""
    if len(document) > limit:
        raise DecodeError(DecodeReason.TOO_LARGE, f"{len(document)} bytes")
    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    reader = _Reader()
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.data
    try:
        parser.Parse(document, True)  # noqa: FBT003 - expat's positional "this is all"
    except (expat.ExpatError, ValueError, LookupError) as error:  # the latter: unknown encoding
        raise DecodeError(DecodeReason.WRONG_SHAPE, f"not XML: {clean_text(str(error))}") from error
    if reader.root is None:
        raise DecodeError(DecodeReason.WRONG_SHAPE, "not XML: no element")
    return reader.root


def _refuse_doctype(*_args: object) -> None:
    raise DecodeError(DecodeReason.WRONG_SHAPE, "a document type declaration is not allowed")


def _split(tag: str) -> tuple[str, str]:
    namespace, _, name = tag.rpartition("}")
    return namespace, name


def text(value: str, *, limit: int = 200) -> str:
    """Return `value` as the text of an element: cleaned, cut to `limit` characters, escaped."""
    return escape(clean_text(value, limit=limit))


def element(name: str, content: str = "", **attributes: str) -> str:
    """Return an element; `content` is markup already. Attribute names: `a_b` is written `a:b`."""
    written = "".join(
        f" {key.replace('_', ':')}={quoteattr(clean_text(value))}"
        for key, value in attributes.items()
    )
    return f"<{name}{written}>{content}</{name}>" if content else f"<{name}{written}/>"


def optional(name: str, value: str, *, limit: int = 200) -> str:
    """Return an element with `value` as its text, or nothing when no text is left of it."""
    content = text(value, limit=limit)
    return element(name, content) if content else ""


def document(root: str) -> bytes:
    """Return a whole document in UTF-8 from the markup of its root."""
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + root.encode()
