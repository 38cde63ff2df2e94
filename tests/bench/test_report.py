import pytest

from bench.report import Table, percentile, shown, spread_ms


def test_a_table_is_markdown_and_data() -> None:
    table = Table("t", ("what", "p50_ms"), reach="≤ 1 ms", notes=["a note"])
    table.add(what="floor", p50_ms=0.1234)
    assert table.text() == (
        "### t\n\nReach: ≤ 1 ms\n\n"
        "| what  | p50_ms |\n|-------|--------|\n| floor | 0.123  |\n\n- a note\n"
    )
    assert table.data()["rows"] == [{"what": "floor", "p50_ms": 0.1234}]
    with pytest.raises(ValueError, match="no columns"):
        table.add(other=1)


def test_percentiles_are_values_that_occurred() -> None:
    values = [float(n) for n in range(1, 101)]
    assert [percentile(values, share) for share in (0, 0.5, 0.99, 1)] == [1, 50, 99, 100]
    assert percentile([7.0], 0.99) == 7.0
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_nothing_measured_is_shown_as_nothing() -> None:
    assert spread_ms([]) == {"p50_ms": None, "p99_ms": None, "max_ms": None}
    assert spread_ms([0.001, 0.003]) == {"p50_ms": 1.0, "p99_ms": 3.0, "max_ms": 3.0}


@pytest.mark.parametrize(
    ("cell", "text"), [(None, ""), (0.01234, "0.0123"), (1234.5, "1234"), (3, "3"), ("x", "x")]
)
def test_three_digits_count(cell: float | str | None, text: str) -> None:
    assert shown(cell) == text
