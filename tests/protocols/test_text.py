import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from protocols.text import clean_text


def test_line_ends_cannot_forge_a_header() -> None:
    assert clean_text("Wang\r\nX-Evil: 1") == "Wang  X-Evil: 1"


def test_direction_override_is_dropped() -> None:
    assert clean_text("abc\u202edef") == "abcdef"


def test_chinese_is_kept() -> None:
    assert clean_text("王秀英(三楼)") == "王秀英(三楼)"


@given(st.text(), st.integers(min_value=1, max_value=300))
def test_result_is_bounded_and_printable(text: str, limit: int) -> None:
    cleaned = clean_text(text, limit=limit)
    assert len(cleaned) <= limit
    assert not any(unicodedata.category(c) in {"Cc", "Cf", "Cs"} for c in cleaned)
