"""Numbers as text."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigmabench.harness.core import words as text


@pytest.mark.parametrize(
    ("values", "decimals", "short", "long"),
    [
        ((0.0143, 0.0145, 0.0147), 4, "0.0145(2)", "0.0145 ± 0.0002"),
        ((99.5, 99.7), 2, "99.60(14)", "99.60 ± 0.14"),
        ((99.6, 99.6, 99.6), 2, "99.60(<1)", "99.60 ± <0.01"),
        ((0.0145, 0.01451), 4, "0.0145(<1)", "0.0145 ± <0.0001"),
        ((0.25,), 2, "0.25", "0.25"),
        ((None, 0.25), 2, "0.25", "0.25"),
        ((None, None), 2, "–", "–"),
        ((), 2, "–", "–"),
        (None, 2, "–", "–"),
    ],
)
def test_mean_and_deviation(values, decimals, short, long):
    assert text.concise(values, decimals) == short
    assert text.spread(values, decimals) == long


@pytest.mark.parametrize("missing", [None, math.nan, math.inf])
def test_what_is_missing_is_a_dash(missing):
    written = [
        text.fixed(missing, 2),
        text.signed(missing, 2),
        text.significant(missing),
        text.times(missing),
        text.milliseconds(missing),
    ]
    assert set(written) == {"–"}
    assert text.percent(None) == "–"


def test_differences_have_a_sign_and_no_negative_zero():
    shown = [text.signed(value, 1) for value in (-0.04, 0.04, -0.06, 1234.5)]
    assert shown == ["+0.0", "+0.0", "−0.1", "+1,234.5"]


@given(st.floats(1e-3, 1e9))
def test_significant_keeps_three_digits(value):
    written = text.significant(value)
    assert "e" not in written
    assert float(written.replace(",", "")) == pytest.approx(value, rel=5.001e-3)


def test_decimals_stand_under_each_other():
    aligned = text.align(["99.60(14)", "99.50(2)", "–", "1.00"])
    assert [cell.find(".") - len(cell) for cell in aligned[:2]] == [-7, -7]
    assert aligned[3] == "1.00    "


def test_merge_shows_the_range_of_numbers_but_leaves_names_alone():
    texts = [
        "layer conv1 keeps 0.45 of σ in INT8_SIGMA4",
        "layer conv2 keeps 0.90 of σ in INT8_SIGMA4",
        "layer conv1 keeps 0.85 of σ in INT8_SIGMA4",
        "layer conv1 keeps 0.5 of σ in INT8_SIGMA2",
    ]
    assert text.merge(texts) == [
        ("layer conv1 keeps 0.45–0.85 of σ in INT8_SIGMA4", [0, 2]),
        ("layer conv2 keeps 0.90 of σ in INT8_SIGMA4", [1]),
        ("layer conv1 keeps 0.5 of σ in INT8_SIGMA2", [3]),
    ]


def test_merge_takes_a_sign_for_no_number():
    texts = ["layer # 3 x", "layer 2 3 x", "layer # 5 x"]
    assert text.merge(texts) == [("layer # 3–5 x", [0, 2]), ("layer 2 3 x", [1])]


def test_the_first_few_and_how_many_more():
    assert text.first(["a", "b", "c"]) == "a; b; c"
    assert text.first(["a", "b", "c", "d", "e"]) == "a; b; c and 2 more"
    assert text.first([]) == ""


@given(st.lists(st.text("# 1.2xσ", max_size=9) | st.text(max_size=20), max_size=20))
def test_merge_loses_no_text(texts):
    merged = text.merge(texts)
    assert sorted(i for _, which in merged for i in which) == list(range(len(texts)))
    assert all(texts[which[0]] == words for words, which in merged if len(which) == 1)


@pytest.mark.parametrize(
    ("values", "unit"), [([], "B"), ([999], "B"), ([1000], "kB"), ([1, 2e6], "MB"), ([3e9], "GB")]
)
def test_byte_unit_suits_the_largest(values, unit):
    assert text.byte_unit(values)[0] == unit
