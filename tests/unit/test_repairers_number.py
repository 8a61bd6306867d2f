"""The number repairer reads one number in the notations of people and filings, and declines all else."""

import csv
import gzip
from collections import Counter
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from healspan.remediation.repairers import Failure, Loss, Repaired, repairer
from healspan.remediation.repairers.number import NumberParameters

CELLS = Path(__file__).parents[3] / "shared/data/filings/number_formats.csv.gz"
NUMBER = repairer("number")


def read(text: object, target: object = float, rest: tuple[object, ...] = (), **parameters: Any) -> Repaired | None:
    """Read a text by a fix that leaves open what only the owner of the data can say, unless told otherwise."""
    given = NumberParameters(**{"currency": "any", "percent": "ratio", **parameters})
    return NUMBER.repair(Failure("call", target, text, ValueError(), given, rest=rest))


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("$1,234", "1234"),
        ("1,234,567.89", "1234567.89"),
        ("USD 1,234", "1234"),
        ("USD1,234", "1234"),
        ("1.234,56 €", "1234.56"),
        ("1.234.567,89", "1234567.89"),
        ("1.234.567", "1234567"),
        ("1'234.50", "1234.50"),
        ("1’234.50 CHF", "1234.50"),
        ("1\u00a0234,50", "1234.50"),
        ("1\u202f234\u202f567", "1234567"),
        ("$1,234.00 USD", "1234.00"),
        ("US$ 5", "5"),
        ("Rs. 1,234", "1234"),
        ("$.50", "0.50"),
        ("+1,234", "1234"),
        ("1\u200b,234", "1234"),
        ("１，２３４", "1234"),
        ("๑,๒๓๔", "1234"),
        ("1’234’567.5", "1234567.5"),
        ("١٬٢٣٤٫٥", "1234.5"),
    ],
)
def test_reads_another_notation_without_loss(text: str, plain: str) -> None:
    assert read(text) == Repaired(plain, Loss.NONE)


@pytest.mark.parametrize(
    "text",
    [
        "(1,234)",
        "($1,234)",
        "$(1,234)",
        "$ (1,234)",
        "(1,234) USD",
        "-$1,234",
        "$-1,234",
        "-1,234",
        "\u22121,234",
    ],
)
def test_keeps_the_sign_wherever_it_is_written(text: str) -> None:
    assert read(text) == Repaired("-1234", Loss.NONE)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("—", "0"),
        ("-", "0"),
        ("$—", "0"),
        ("$ -", "0"),
        ("—%", "0"),
        ("— €", "0"),
        ("(9", "-9"),
        ("($22.5", "-22.5"),
        ("(9)", "-9"),
        ("(42)", "-42"),
        ("–5", "-5"),
        ("1,234*", "1234"),
        ("27(1)", "27"),
        ("1,234 (a)", "1234"),
        ("(1,234)(1)(2)", "-1234"),
        ("12,34,567", "1234567"),
        ("12%", "0.12"),
        ("5%", "0.05"),
        (".5%", "0.005"),
        ("(1.2)%", "-0.012"),
        ("(1.2%)", "-0.012"),
        ("4.65%(c)", "0.0465"),
        ("1,234.50-", "-1234.50"),
        ("USD 1,234-", "-1234"),
        ("1,234- €", "-1234"),
        ("â‚¬1,234", "1234"),
        ("1Â\u00a0234", "1234"),
        ("ï»¿42", "42"),
        ("â€”", "0"),
    ],
)
def test_says_so_where_a_convention_decided(text: str, plain: str) -> None:
    assert read(text) == Repaired(plain, Loss.NORMALISED)


@pytest.mark.parametrize("text", ["—", "(9", "(9)", "–5", "1,234*", "12%", "12,34,567"])
def test_a_fix_that_accepts_no_loss_never_applies_a_convention(text: str) -> None:
    assert read(text, accept="none") is None
    assert read("$1,234", accept="none") == Repaired("1234", Loss.NONE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "n/a",
        "none",
        "nil",
        "(a)",
        "$",
        "%",
        "()",
        "1.2 billion",
        "1.2 million",
        "$1.2bn",
        "1,234 kg",
        "5M",
        "TEUR 5",
        "50¢",
        "5²",
        "1/2 %",
        "$1e5",
        "10-K",
        "1 234",
        "1 2",
        "12 (3)",
        "22.7-22.9%",
        "$10 - $40",
        "2022 - 2,257",
        "192.168.1.1",
        "1.2.3",
        "1,234.56.78",
        "1,2345",
        "1,23",
        "01,234",
        ",5",
        "x" * 65,
        "$" + "1" * 64,
    ],
)
def test_declines_what_is_not_one_number(text: str) -> None:
    assert read(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "- 5",
        "5-",
        "-1,234-",
        "(1,234-)",
        "1,234-%",
        "1,234-*",
        "1,234-1,300",
        "1,234 CR",
        "1,234 DR",
        "-(5)",
        "(-5)",
        "-$-5",
        "—5",
        "5)",
        "-$",
        "$5%",
        "€5 USD",
        "$5 €",
        "(5%)%",
        "(5)%%",
        "(9(1)",
        "(9*",
        "\u202e$123",
    ],
)
def test_declines_a_sign_or_unit_that_can_be_read_two_ways(text: str) -> None:
    assert read(text) is None


@pytest.mark.parametrize("text", ["12,5", "0,5", "0,123", "1234,567", "€1.234", "(1.234)", "$12.345"])
def test_declines_a_decimal_mark_that_nothing_settles(text: str) -> None:
    assert read(text) is None


@pytest.mark.parametrize(
    ("text", "comma", "point"),
    [
        ("1,234 ", "1.234", "1234"),
        ("12,5", "12.5", None),
        ("€1.234", "1234", "1.234"),
        ("1.234,56", "1234.56", None),
        ("$1,234.56", None, "1234.56"),
        ("(1.234)", "-1234", "-1.234"),
    ],
)
def test_a_declared_decimal_mark_settles_it(text: str, comma: str | None, point: str | None) -> None:
    for mark, plain in ((",", comma), (".", point)):
        repaired = read(text, decimal_mark=mark)
        assert (repaired and repaired.value) == plain


def test_percent_can_be_declared_as_points_or_refused() -> None:
    assert read("(1.2)%", percent="points") == Repaired("-1.2", Loss.NORMALISED)
    assert read("(1.2)%", percent="decline") is None


def test_a_dash_can_be_refused() -> None:
    assert read("—", dash="decline") is None


def test_an_integer_takes_a_fraction_of_zeros_and_no_other() -> None:
    assert read("12.0", int) == Repaired("12", Loss.NONE)
    assert read("$1,234.00", int) == Repaired("1234", Loss.NONE)
    assert read("12.5", int) is None


def test_an_integer_declines_a_ratio_even_where_it_is_whole() -> None:
    assert read("85%", int) is None
    assert read("100%", int) is None
    assert read("85%", int, percent="points") == Repaired("85", Loss.NORMALISED)


def test_a_fix_that_does_not_say_what_a_percent_sign_means_declines_it() -> None:
    assert NUMBER.repair(Failure("call", float, "12%", ValueError(), NumberParameters())) is None


@pytest.mark.parametrize("text", ["1,234", "$1,234", "US$ (1,234)", "USD 1,234", "1,234 $", "$1,234 USD", "＄1,234"])
def test_a_fix_that_says_no_currency_reads_dollars(text: str) -> None:
    repaired = NUMBER.repair(Failure("call", float, text, ValueError(), NumberParameters()))
    assert repaired is not None
    assert str(repaired.value).lstrip("-") == "1234"


@pytest.mark.parametrize(
    "text",
    [
        "€1,234",
        "1,234 €",
        "EUR 1,234",
        "£1,234",
        "¥1,234",
        "1,234 CHF",
        "C$1,234",
        "$1,234 CAD",
        "(€1,234)",
        "Rs. 1,234",
    ],
)
def test_a_fix_that_says_no_currency_declines_what_is_no_dollar(text: str) -> None:
    assert read(text) is not None
    assert NUMBER.repair(Failure("call", float, text, ValueError(), NumberParameters())) is None


@pytest.mark.parametrize(
    ("currency", "fitting", "other"),
    [
        ("EUR", ["€1,234", "1.234,50 EUR", "1,234"], ["$1,234", "£1,234", "CHF 1,234"]),
        ("CAD", ["$1,234", "C$1,234", "CA$1,234", "CAD 1,234", "$1,234 CAD"], ["US$1,234", "A$1,234", "$1,234 USD"]),
        ("JPY", ["¥1,234", "￥1,234", "JPY 1,234"], ["CNY 1,234", "RMB 1,234", "$1,234"]),
        ("CNY", ["¥1,234", "RMB 1,234", "CNY 1,234"], ["JPY 1,234", "CNH 1,234"]),
        ("Rs", ["Rs 1,234", "Rs. 1,234"], ["₹1,234", "$1,234"]),
        ("Rs.", ["Rs 1,234", "Rs. 1,234"], ["₹1,234", "$1,234"]),
        ("INR", ["₹1,234", "Rs 1,234", "Rs. 1,234"], ["PKR 1,234", "$1,234"]),
        ("¥", ["¥1,234", "1,234 ¥"], ["JPY 1,234", "€1,234", "$1,234"]),
        ("₿", ["₿1,234"], ["$1,234", "฿1,234"]),
    ],
)
def test_an_amount_is_read_where_its_sign_may_stand_for_the_currency(
    currency: str, fitting: list[str], other: list[str]
) -> None:
    assert [text for text in fitting if read(text, currency=currency) is None] == []
    assert [text for text in other if read(text, currency=currency) is not None] == []


def test_nil_is_nil_in_every_currency() -> None:
    assert read("— €", currency="USD") == Repaired("0", Loss.NORMALISED)


@pytest.mark.parametrize("currency", ["", "euro", "EURO", "eur", "1", "$$", "any "])
def test_a_currency_that_is_none_is_refused(currency: str) -> None:
    with pytest.raises(ValueError, match="names no currency"):
        NumberParameters(currency=currency)


def test_declines_a_call_with_further_arguments_as_they_change_the_notation() -> None:
    assert read("1,234", int, rest=(16,)) is None


@pytest.mark.parametrize("target", [float, Decimal, Fraction])
def test_the_callee_reads_what_it_is_given(target: Any) -> None:
    repaired = read("($1,234.50)", target)
    assert repaired is not None
    assert target(repaired.value) == target("-1234.5")


def test_knows_the_error_of_decimal() -> None:
    failure = Failure("call", Decimal, "$1", InvalidOperation(), NumberParameters())
    assert NUMBER.repair(failure) == Repaired("1", Loss.NONE)


class Money(float):
    pass


class Stranger:
    def __eq__(self, other: object) -> bool:
        raise AssertionError("a callee must not be compared")

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize("target", [Money, Stranger(), complex, str, bool, len, None])
def test_declines_callees_that_it_does_not_know(target: object) -> None:
    assert read("$1,234", target) is None


def test_reads_text_nodes_of_parsers_without_running_their_code() -> None:
    class Node(str):
        __slots__ = ()

        def __str__(self) -> str:
            raise AssertionError

        __len__ = __iter__ = __getitem__ = __str__  # type: ignore[assignment]

    assert read(Node("$1,234")) == Repaired("1234", Loss.NONE)


@pytest.mark.parametrize("argument", [None, 5, b"$1,234", ["$1"], object()])
def test_declines_arguments_that_are_no_text(argument: object) -> None:
    assert read(argument) is None


@pytest.mark.parametrize("error", [TypeError(), KeyError(), OverflowError()])
def test_declines_other_errors(error: BaseException) -> None:
    assert NUMBER.repair(Failure("call", float, "$1", error, NumberParameters())) is None


def test_declines_subscripts() -> None:
    assert NUMBER.repair(Failure("subscript", float, "$1", ValueError(), NumberParameters())) is None


@pytest.mark.data
@pytest.mark.parametrize("percent", ["ratio", "points"])
def test_reads_every_filing_cell_that_shows_one_number_and_none_wrongly(percent: str) -> None:
    """A cell shows value / 10**scale, or with a percent sign the value itself as a ratio.

    The sign of a cost is shown as its statement shows it, and tagged as its element defines it: only the
    magnitude is compared to the tag, and the sign to what the cell shows.
    """
    if not CELLS.exists():
        pytest.skip("the filings are not here: put the data folder at ../shared/data beside the project")
    with gzip.open(CELLS, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    tally: Counter[str] = Counter()
    for row in rows:
        text = row["cell_text"]
        try:
            got = Decimal(str(float(text)))
        except ValueError:
            repaired = read(text, percent=percent)
            if repaired is None:
                tally["declined"] += 1
                single = sum(map(str.isdigit, text)) and not any(each.isalpha() for each in text)
                assert not single or len([run for run in text if run in "-–+"]) == 1, ascii(text)
                continue
            got = Decimal(str(repaired.value))
            tally["repaired"] += 1
        scale = 0 if "%" in text and percent == "ratio" else int(row["scale"])
        truth = float(row["value"]) / 10**scale
        assert float(abs(got)) == pytest.approx(abs(truth), rel=1e-9, abs=1e-12), ascii(text)
        assert (got < 0) == (text.lstrip("$ ").startswith(("(", "-")) and got != 0), ascii(text)
        tally["sign differs"] += got * Decimal(row["value"]) < 0
    assert tally["repaired"] >= 700, tally
