"""The algebra of the number repairer: total, exact, idempotent, silent where nothing is wrong."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from healspan.remediation.boundary import Boundary
from healspan.remediation.conventions import open_in
from healspan.remediation.repairers import Failure, Loss, Repaired, repairer
from healspan.remediation.repairers.number import NumberParameters

NUMBER = repairer("number")
OPEN = NumberParameters(currency="any", percent="ratio")
"""Leaves open what only the owner of the data can say."""
TARGETS: list[Any] = [float, int, Decimal, Fraction]

parameters = st.builds(
    NumberParameters,
    accept=st.sampled_from([Loss.NONE, Loss.NORMALISED]),
    decimal_mark=st.sampled_from([None, ".", ","]),
    currency=st.sampled_from(["USD", "EUR", "CAD", "¥", "any"]),
    percent=st.sampled_from(["ratio", "points", "decline"]),
    dash=st.sampled_from(["zero", "decline"]),
)
glyphs = "0123456789.,'()[]%$€£-–—−+* \u00a0\u202f\u200b\u202eUSDEeRsx_/٣１½²‰\ud800"
texts = st.text(max_size=70) | st.text(glyphs, max_size=70)

decimals = st.decimals(min_value=0, max_value=10**12, allow_nan=False, allow_infinity=False, places=2) | st.integers(
    0, 10**15
).map(Decimal)
signed = st.tuples(st.booleans(), decimals)


def read(text: object, target: object = Decimal, given: NumberParameters | None = None) -> Repaired | None:
    return NUMBER.repair(Failure("call", target, text, ValueError(), given or OPEN))


def number(repaired: Repaired | None) -> Decimal:
    assert repaired is not None
    assert isinstance(repaired.value, str)
    return Decimal(repaired.value)


def grouped(value: Decimal, group: str = ",", mark: str = ".") -> str:
    return f"{value:,f}".replace(",", "\0").replace(".", mark).replace("\0", group)


def unreadable(text: str, target: Any) -> bool:
    try:
        target(text)
    except (ValueError, ArithmeticError):
        return True
    return False


@given(texts, st.sampled_from(TARGETS), parameters)
@example("(" * 64, float, NumberParameters())
@example("$ " * 32, float, NumberParameters())
def test_whatever_the_text_the_callee_reads_what_it_is_given(text: str, target: Any, given: NumberParameters) -> None:
    repaired = read(text, target, given)
    if repaired is not None:
        assert isinstance(repaired.value, str)
        target(repaired.value)
        assert repaired.loss in (Loss.NONE, given.accept)


@given(st.one_of(st.none(), st.binary(), st.integers(), st.lists(st.text()), st.floats()), parameters)
def test_total_on_other_arguments(argument: object, given: NumberParameters) -> None:
    assert read(argument, float, given) is None


@given(texts, st.sampled_from(TARGETS), parameters)
def test_idempotent(text: str, target: Any, given: NumberParameters) -> None:
    repaired = read(text, target, given)
    if repaired is not None:
        assert read(repaired.value, target, given) is None


@given(
    st.one_of(texts, st.floats().map(str), st.floats().map("{:e}".format), st.integers().map("{:_}".format)),
    st.sampled_from([float, int, Decimal]),
    parameters,
)
def test_never_touches_what_the_callee_reads_itself(text: str, target: Any, given: NumberParameters) -> None:
    if not unreadable(text, target):
        assert read(text, target, given) is None


@given(signed, st.sampled_from([",", "'", "’", "\u00a0", "\u202f"]))
def test_a_grouped_number_reads_back_exactly(value: tuple[bool, Decimal], group: str) -> None:
    negative, magnitude = value
    assume(magnitude >= 1000)
    text = ("-" if negative else "") + grouped(magnitude, group)
    assert number(read(text)) == (-magnitude if negative else magnitude)


@given(
    st.booleans(),
    st.integers(100_000, 10**14).map(lambda cents: Decimal(cents).scaleb(-2)),
    st.sampled_from([".", "'", "\u00a0", "\u202f"]),
)
def test_a_number_with_a_decimal_comma_reads_back_exactly(negative: bool, magnitude: Decimal, group: str) -> None:
    text = ("-" if negative else "") + grouped(magnitude, group, ",")
    assert read(text) == Repaired(f"{'-' if negative else ''}{magnitude:f}", Loss.NONE)


@given(
    signed,
    st.sampled_from(["({})", "(${})", "$({})", "$ ({})", "-{}", "-${}", "$-{}", "−€{}", "({}) USD", "(\u200b{})"]),
)
def test_every_notation_of_a_sign_is_kept(value: tuple[bool, Decimal], form: str) -> None:
    negative, magnitude = value
    shown = grouped(magnitude)
    text = form.format(shown) if negative else f"${shown}"
    if unreadable(text, Decimal):
        assert number(read(text)) == (-magnitude if negative else magnitude)


@given(decimals, st.sampled_from(["$", "€", "£", "¥", "₹", "US$", "C$", "USD ", "EUR", "Rs. ", "CHF\u00a0"]))
def test_every_currency_reads_as_the_same_number(magnitude: Decimal, currency: str) -> None:
    shown = grouped(magnitude)
    assert number(read(f"{currency}{shown}")) == magnitude
    assert number(read(f"{shown} {currency.strip()}")) == magnitude


@given(texts, st.sampled_from(TARGETS), st.sampled_from(["USD", "EUR", "CAD", "JPY", "¥"]))
def test_a_currency_only_ever_makes_it_decline(text: str, target: Any, currency: str) -> None:
    repaired = read(text, target, OPEN.model_copy(update={"currency": currency}))
    assert repaired is None or repaired == read(text, target)


signs = st.sampled_from(["", "$", "US$", "C$", "€", "â‚¬", "￡", "¥", "₨", "Rs. ", "CHF", "C\u200b$", "(€", "-¥"])


@given(signs, decimals, st.sampled_from(["", "%", " ％", "٪", " €", "USD", " CAD", ")", " *"]))
def test_what_is_declined_for_its_sign_is_seen_to_be_open(before: str, magnitude: Decimal, behind: str) -> None:
    text = f"{before}{grouped(magnitude)}{behind}"
    for currency in ("USD", "EUR", "CAD", "JPY", "INR"):
        boundary = Boundary("amounts", None, "app:read", currency=currency)
        declined = read(text) != read(text, given=NumberParameters(currency=currency))
        assert not declined or open_in(text, boundary) is not None


@given(decimals, st.sampled_from(["€", "£", "¥", "₹", "C$", "EUR", "Rs. ", "CHF "]))
def test_another_currency_than_the_fix_was_made_for_is_never_read(magnitude: Decimal, currency: str) -> None:
    shown, dollars = grouped(magnitude), NumberParameters()
    for text in (f"{currency}{shown}", f"({currency}{shown})", f"-{currency}{shown}", f"{shown} {currency.strip()}"):
        assert read(text, given=dollars) is None


@given(decimals, st.sampled_from(["*", "**", " †", "(1)", "[12]", "(a)", " (b)", "(1)(2)"]))
def test_a_footnote_mark_changes_nothing_but_the_loss(magnitude: Decimal, mark: str) -> None:
    repaired = read(grouped(magnitude) + mark)
    assert number(repaired) == magnitude
    assert repaired is not None
    assert repaired.loss is Loss.NORMALISED


@given(st.integers(0, 10**9), st.integers(0, 6))
def test_a_percentage_is_exactly_a_hundredth_as_ratio_and_itself_as_points(digits: int, places: int) -> None:
    shown = Decimal(digits).scaleb(-places)
    text = f"{shown:f}%"
    assert number(read(text)) * 100 == shown
    assert number(read(text, given=NumberParameters(percent="points"))) == shown
    assert number(read(f"({shown:f})%")) * 100 == -shown


@given(decimals)
def test_an_unclosed_parenthesis_reads_as_the_closed_one(magnitude: Decimal) -> None:
    closed, opened = read(f"({grouped(magnitude)})"), read(f"({grouped(magnitude)}")
    assert opened is not None
    assert closed is not None
    assert opened.value == closed.value
    assert opened.loss is Loss.NORMALISED


@given(st.integers(0, 999), st.text("0123456789", min_size=1, max_size=2))
def test_a_comma_that_groups_nothing_is_ambiguous(whole: int, fraction: str) -> None:
    assert read(f"{whole},{fraction}") is None
    comma = read(f"{whole},{fraction}", given=NumberParameters(decimal_mark=","))
    assert number(comma) == Decimal(f"{whole}.{fraction}")


@given(decimals, decimals, st.sampled_from([" ", " - ", "-", "–", "/", ";", " to ", "\n"]))
def test_two_numbers_are_never_read_as_one(one: Decimal, other: Decimal, between: str) -> None:
    assert read(f"{grouped(one)}{between}{grouped(other)}") is None


@given(decimals, st.sampled_from(["million", "bn", "k", "M", "x", "bps", "‰", "¢", "pence", "e3", "²"]))
def test_a_word_or_unit_that_scales_is_never_dropped(magnitude: Decimal, unit: str) -> None:
    for text in (f"${grouped(magnitude)}{unit}", f"${grouped(magnitude)} {unit}"):
        assert read(text) is None


@pytest.mark.parametrize("length", [1, 32, 64])
@given(data=st.data())
def test_longer_text_declines(length: int, data: st.DataObject) -> None:
    text = data.draw(st.text(glyphs, min_size=64 + length, max_size=64 + length))
    assert read(text) is None
