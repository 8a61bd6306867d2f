"""How the example reads a page: visible text only, and every amount under the period it belongs to."""

from __future__ import annotations

import gzip
from datetime import date
from pathlib import Path

import pytest
from filings.documents import UnreadableFilingError, load, parse
from filings.periods import Period, read_period
from filings.tables import Table

QUARTERS = """
<p>CONDENSED CONSOLIDATED STATEMENTS OF OPERATIONS (In millions)</p>
<table>
<tr><td></td><td colspan="6">Six months ended June 30</td><td colspan="6">Three months ended June 30</td></tr>
<tr><td></td><td colspan="3">2025</td><td colspan="3">2024</td><td colspan="3">2025</td><td colspan="3">2024</td></tr>
<tr><td>Net sales</td><td>$</td><td>100</td><td></td><td>$</td><td>90</td><td></td>
    <td>$</td><td>60</td><td></td><td>$</td><td>50</td><td></td></tr>
<tr><td>Loss</td><td colspan="2">(7</td><td>)</td><td colspan="2">—</td><td></td>
    <td colspan="2">(3</td><td>)</td><td colspan="2">1</td><td></td></tr>
</table>
"""


def table(html: str) -> Table:
    (found,) = parse(html.encode(), key="test").tables
    return found


def test_an_inline_xbrl_tag_is_read_as_its_printed_text() -> None:
    found = table(
        "<table><tr><td></td><td>2024</td></tr>"
        "<tr><td>Net sales</td><td><ix:nonFraction scale='6' name='us-gaap:Revenues'>1,234</ix:nonFraction></td></tr>"
        "</table>"
    )
    assert found.rows["Net sales"].values == ("1,234",)


def test_what_a_reader_cannot_see_is_not_read() -> None:
    document = parse(
        b"<body><div style='display: none'>hidden</div><ix:header>facts</ix:header><p>shown</p></body>", key="test"
    )
    assert document.paragraphs == ("shown",)


def test_amounts_stand_under_the_length_and_the_year_above_them() -> None:
    found = table(QUARTERS)
    assert [(c.period.months, c.period.end) for c in found.columns] == [
        (6, date(2025, 6, 30)),
        (6, date(2024, 6, 30)),
        (3, date(2025, 6, 30)),
        (3, date(2024, 6, 30)),
    ]
    assert found.rows["Net sales"].values == ("100", "90", "60", "50")


def test_a_closing_bracket_in_a_cell_of_its_own_is_no_amount() -> None:
    assert table(QUARTERS).rows["Loss"].values == ("(7", "—", "(3", "1")


def test_a_column_of_percentages_under_the_same_date_is_left_out() -> None:
    found = table(
        """<table><tr><td></td><td colspan="4">February 2, 2024</td><td colspan="4">February 3, 2023</td></tr>
        <tr><td></td><td colspan="2">Amount</td><td colspan="2">% Sales</td><td colspan="2">Amount</td>
            <td colspan="2">% Sales</td></tr>
        <tr><td>Net sales</td><td>$</td><td>86,377</td><td>100.00</td><td>%</td>
            <td>$</td><td>97,059</td><td>100.00</td><td>%</td></tr>
        <tr><td>Cost of sales</td><td colspan="2">57,533</td><td>66.61</td><td></td>
            <td colspan="2">64,802</td><td>66.77</td><td></td></tr></table>"""
    )
    assert found.rows["Cost of sales"].values == ("57,533", "64,802")


def test_two_amounts_under_one_date_are_not_chosen_between() -> None:
    found = table(
        """<table><tr><td></td><td colspan="2">2024</td><td>2023</td></tr>
        <tr><td>Net sales</td><td>10</td><td>20</td><td>30</td></tr></table>"""
    )
    assert found.rows["Net sales"].values == ("", "30")


def test_a_column_of_changes_is_no_period() -> None:
    found = table(
        "<table><tr><td></td><td>2024</td><td>2023</td><td>2024 vs. 2023</td></tr>"
        "<tr><td>Net sales</td><td>10</td><td>8</td><td>2</td></tr></table>"
    )
    assert [column.period.year for column in found.columns] == [2024, 2023]


def test_a_currency_sign_is_no_label() -> None:
    found = table(
        "<table><tr><td></td><td colspan='2'>2024</td></tr><tr><td></td><td>$</td><td>104,469</td></tr></table>"
    )
    assert [(line.label, line.values) for line in found.lines] == [("", ("104,469",))]


@pytest.mark.parametrize(
    ("heading", "side", "period"),
    [
        ("September 28, 2024", "", Period(2024, date(2024, 9, 28))),
        ("2024", "Year Ended December 31,", Period(2024, date(2024, 12, 31), 12)),
        ("Fiscal 2024", "", Period(2024, None, 12)),
        ("Thirteen Weeks Ended July 29, 2023", "", Period(2023, date(2023, 7, 29), 3)),
        ("Fiscal Second Quarter Ended June 29, 2025", "", Period(2025, date(2025, 6, 29), 3)),
        ("2024 2023", "", None),
        ("Total", "", None),
    ],
)
def test_a_heading_names_one_period_or_none(heading: str, side: str, period: Period | None) -> None:
    assert read_period(heading, side) == period


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"   \n", "is empty"),
        (gzip.compress(b"<p>text</p>" * 100, mtime=0)[:-20], "cannot be read"),
        (b"<html><body></body></html>", "shows no text"),
        (b"<div>" * 5_000 + b"x", "nested too deeply"),
    ],
)
def test_an_unreadable_filing_is_told_apart_and_says_what_to_do(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "filing.html"
    path.write_bytes(content)
    with pytest.raises(UnreadableFilingError, match=f"{says}.*; fetch the filing again"):
        load(path)


def test_a_missing_filing_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFilingError, match="fetch the filing again"):
        load(tmp_path / "nowhere.html")
