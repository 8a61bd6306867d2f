"""The contracts of the example: which answers are believed, and which are refused though they look right."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from filings.checks import COGS_CHECKS, CURRENT_ASSETS_CHECKS, CURRENT_LIABILITIES_CHECKS, REVENUE_CHECKS
from filings.documents import parse
from filings.records import Figure, Metric, NotDisclosed, Place
from filings.statements import Filing
from filings.strategies import cogs_not_disclosed, revenue_by_label, revenue_not_in_document, revenue_under_heading
from filings.structure import adds_up, amount, is_part_of_a_total

CHECKS = {
    "revenue": REVENUE_CHECKS,
    "cogs": COGS_CHECKS,
    "current_assets": CURRENT_ASSETS_CHECKS,
    "current_liabilities": CURRENT_LIABILITIES_CHECKS,
}

COVER = "<p>FORM 10-K</p><p>For the fiscal year ended December 31, 2024</p>"

TAIL = (
    ("Selling, general and administrative", "20"),
    ("Operating income", "20"),
    ("Interest expense", "2"),
    ("Income before income taxes", "18"),
    ("Provision for income taxes", "4"),
    ("Net income", "14"),
    ("Basic earnings per share", "1.40"),
    ("Diluted earnings per share", "1.39"),
)
SOLD = (
    ("Products", "70"),
    ("Services", "30"),
    ("Total net sales", "100"),
    ("Cost of sales", "60"),
    ("Gross profit", "40"),
)
BALANCE = (
    ("Cash and cash equivalents", "10"),
    ("Inventories", "25"),
    ("Total current assets", "35"),
    ("Property and equipment, net", "45"),
    ("Goodwill", "20"),
    ("Total assets", "100"),
    ("Accounts payable", "12"),
    ("Accrued liabilities", "9"),
    ("Total current liabilities", "21"),
    ("Long-term debt", "30"),
    ("Total liabilities", "51"),
    ("Common stock", "5"),
    ("Retained earnings", "44"),
    ("Total liabilities and stockholders' equity", "100"),
)


def statement(
    title: str, *lines: tuple[str, ...], unit: str = "(In millions)", years: tuple[str, ...] = ("2024", "2023")
) -> str:
    heading = "".join(f"<td>{year}</td>" for year in years)
    rows = "".join(
        f"<tr><td>{label}</td>" + f"<td>{value}</td>" + f"<td>{value and 1}</td>" * (len(years) - 1) + "</tr>"
        for label, value in lines
    )
    return f"<p>{title}</p><p>{unit}</p><table><tr><td>Year Ended December 31,</td>{heading}</tr>{rows}</table>"


def income(
    *lines: tuple[str, ...], title: str = "CONSOLIDATED STATEMENTS OF INCOME", unit: str = "(In millions)"
) -> str:
    return statement(title, *lines, *TAIL, unit=unit)


def filing(*parts: str, cover: str = COVER) -> Filing:
    return Filing(parse((cover + "".join(parts)).encode(), key="test"))


def figure(asked: Filing, metric: Metric, label: str, *, table: int = 0, column: int = 0) -> Figure:
    lines = asked.document.tables[table].lines
    line = next(i for i, row in enumerate(lines) if row.label == label)
    printed = amount(lines[line].values[column])
    assert printed is not None
    return Figure(
        metric=metric,
        value=abs(printed) * 10**6,
        unit=10**6,
        label=label,
        place=Place(table=table, line=line, column=column),
    )


def refused_by(answer: Figure | NotDisclosed, asked: Filing) -> str | None:
    """The first check that says no."""

    def says(check: Callable[..., bool]) -> bool:
        try:
            return check(answer, {"filing": asked})
        except LookupError:
            return False

    return next((check.__name__ for check in CHECKS[answer.metric] if not says(check)), None)


@pytest.mark.parametrize(
    ("metric", "label", "lines"),
    [
        ("revenue", "Total net sales", SOLD),
        ("revenue", "Revenue", (("Revenue", "100"), ("Cost of revenue", "60"), ("Gross profit", "40"))),
        (
            "revenue",
            "",
            (("Revenues:", ""), ("Products", "70"), ("Services", "30"), ("", "100"), ("Costs and expenses", "60")),
        ),
        ("cogs", "Cost of sales", SOLD),
        ("cogs", "Cost of revenue", (("Revenue", "100"), ("Cost of revenue", "(60)"), ("Gross profit", "40"))),
        ("cogs", "Cost of revenues", (("Revenues", "100"), ("Cost of revenues", "60"), ("Research", "9"))),
    ],
)
def test_the_line_that_the_arithmetic_bears_out_is_believed(
    metric: Metric, label: str, lines: tuple[tuple[str, str], ...]
) -> None:
    asked = filing(income(*lines))
    table = asked.document.tables[0]
    line = max(i for i, row in enumerate(table.lines[: len(lines)]) if row.label == label and row.values)
    answer = figure(asked, metric, label).model_copy(update={"place": Place(table=0, line=line, column=0)})
    printed = amount(table.lines[line].values[0])
    assert printed is not None
    answer = answer.model_copy(update={"value": abs(printed) * 10**6})
    assert refused_by(answer, asked) is None


@pytest.mark.parametrize(
    ("metric", "label", "lines", "check"),
    [
        (
            "revenue",
            "Product sales",
            (("Product sales", "70"), ("Service sales", "30"), ("Total sales", "100")),
            "tops_the_statement",
        ),
        (
            "revenue",
            "Revenue",
            (("Revenue", "70"), ("Revenue from related parties", "30"), ("Cost of revenue", "60")),
            "no_revenue_follows",
        ),
        (
            "revenue",
            "Net sales",
            (("Net sales", "90"), ("Cost of sales", "60"), ("Gross profit", "40")),
            "gross_profit_agrees",
        ),
        ("revenue", "Net income", SOLD, "is_named_so"),
        (
            "cogs",
            "Cost of products",
            (("Sales", "100"), ("Cost of products", "40"), ("Cost of services", "20")),
            "is_the_whole_cost",
        ),
        (
            "cogs",
            "Total costs and expenses",
            (
                ("Revenues", "100"),
                ("Cost of revenues", "60"),
                ("Research", "15"),
                ("Total costs and expenses", "75"),
                ("Income from operations", "25"),
            ),
            "is_the_whole_cost",
        ),
        (
            "cogs",
            "Cost of sales",
            (("Net sales", "100"), ("Cost of sales", "55"), ("Gross profit", "40")),
            "gross_profit_agrees",
        ),
    ],
)
def test_a_line_that_only_looks_right_is_refused(
    metric: Metric, label: str, lines: tuple[tuple[str, str], ...], check: str
) -> None:
    asked = filing(income(*lines))
    assert refused_by(figure(asked, metric, label), asked) == check


def test_last_years_column_is_refused() -> None:
    asked = filing(income(*SOLD))
    assert refused_by(figure(asked, "revenue", "Total net sales", column=1), asked) == "is_printed_in_the_statement"


def test_last_years_column_is_refused_even_where_it_prints_the_same() -> None:
    lines = (*SOLD[:2], ("Total net sales", "1"), *SOLD[3:])
    asked = filing(income(*lines))
    assert refused_by(figure(asked, "revenue", "Total net sales", column=1), asked) == "is_printed_in_the_statement"


def test_revenue_in_brackets_is_refused() -> None:
    asked = filing(income(("Revenue", "(100)"), ("Cost of revenue", "60")))
    negative = figure(asked, "revenue", "Revenue").model_copy(update={"value": Decimal(-(10**8))})
    assert refused_by(negative, asked) == "is_positive"


def test_an_older_statement_of_the_same_shape_is_refused() -> None:
    asked = filing(income(*SOLD), cover=COVER.replace("2024", "2026"))
    assert refused_by(figure(asked, "revenue", "Total net sales"), asked) == "is_printed_in_the_statement"


def test_another_unit_than_the_heading_declares_is_refused() -> None:
    asked = filing(income(*SOLD, unit="(In thousands)"))
    assert refused_by(figure(asked, "revenue", "Total net sales"), asked) == "is_printed_in_the_statement"


def test_the_statement_of_the_parent_alone_is_refused() -> None:
    asked = filing(income(*SOLD, title="CONDENSED STATEMENTS OF INCOME OF THE PARENT COMPANY ONLY"))
    assert refused_by(figure(asked, "revenue", "Total net sales"), asked) == "is_printed_in_the_statement"


def test_a_figure_from_running_text_is_refused_unless_a_statement_prints_it() -> None:
    prose = Figure(metric="revenue", value=Decimal(10**8), unit=10**6, label="revenue was $100 million")
    assert refused_by(prose, filing(income(*SOLD))) == "is_printed_in_the_statement"


def test_a_later_statement_under_the_same_title_does_not_speak_against_the_groups() -> None:
    other = tuple((label, "7" if label == "Total net sales" else value) for label, value in SOLD)
    asked = filing(income(*SOLD), income(*other))
    assert refused_by(figure(asked, "revenue", "Total net sales"), asked) is None
    assert refused_by(figure(asked, "revenue", "Total net sales", table=1), asked) is not None


@pytest.mark.parametrize(
    ("metric", "label"),
    [("current_assets", "Total current assets"), ("current_liabilities", "Total current liabilities")],
)
def test_balances_that_add_up_are_believed(metric: Metric, label: str) -> None:
    asked = filing(statement("CONSOLIDATED BALANCE SHEETS", *BALANCE))
    assert refused_by(figure(asked, metric, label), asked) is None


@pytest.mark.parametrize(
    ("metric", "label", "change"),
    [
        ("current_assets", "Total assets", {}),
        ("current_assets", "Total current assets", {"Total current assets": "39"}),
        ("current_assets", "Total current assets", {"Total assets": "34"}),
        ("current_liabilities", "Total liabilities", {}),
        ("current_liabilities", "Total current liabilities", {"Total current liabilities": "27"}),
    ],
)
def test_balances_that_do_not_add_up_are_refused(metric: Metric, label: str, change: dict[str, str]) -> None:
    lines = tuple((name, change.get(name, value)) for name, value in BALANCE)
    asked = filing(statement("CONSOLIDATED BALANCE SHEETS", *lines))
    assert refused_by(figure(asked, metric, label), asked) is not None


def test_absence_is_believed_where_the_statement_tells_no_such_line() -> None:
    bank = income(("Interest income", "90"), ("Interest paid", "50"), ("Net interest income", "40"))
    asked = filing(bank)
    assert refused_by(cogs_not_disclosed(asked), asked) is None


def test_absence_is_not_claimed_where_any_table_speaks_of_it() -> None:
    with pytest.raises(LookupError, match="may be disclosed after all"):
        cogs_not_disclosed(filing(income(("Sales", "100"), ("Cost of sales", "60"))))


def test_absence_is_not_claimed_where_no_statement_is_found() -> None:
    with pytest.raises(LookupError, match="no statement"):
        cogs_not_disclosed(filing("<p>The statements are incorporated by reference.</p>"))


def test_an_absence_that_a_line_contradicts_is_refused() -> None:
    asked = filing(income(*SOLD))
    assert refused_by(NotDisclosed(metric="cogs", reason="made up"), asked) is not None


ELSEWHERE = "<p>The consolidated financial statements in the annual report are incorporated herein by reference.</p>"


def test_a_statement_elsewhere_is_told_where_the_document_refers_to_it() -> None:
    asked = filing(ELSEWHERE)
    assert refused_by(revenue_not_in_document(asked), asked) is None


@pytest.mark.parametrize("parts", [(), (ELSEWHERE, income(*SOLD))])
def test_a_statement_elsewhere_is_not_claimed_without_a_reference_or_beside_a_statement(parts: tuple[str, ...]) -> None:
    with pytest.raises(LookupError):
        revenue_not_in_document(filing(*parts))


def test_a_family_of_labels_finds_a_line_of_another_name() -> None:
    asked = filing(income(("Sales to customers", "100"), ("Cost of products sold", "60"), ("Gross profit", "40")))
    with pytest.raises(LookupError):
        revenue_by_label(asked)
    assert revenue_by_label(asked, labels=("Sales to customers",)).value == 10**8


def test_a_total_without_a_label_is_found_under_its_heading() -> None:
    asked = filing(
        income(("Net sales", ""), ("Products", "70"), ("Services", "30"), ("", "100"), ("Cost of sales", "60"))
    )
    answer = revenue_under_heading(asked)
    assert (answer.value, refused_by(answer, asked)) == (10**8, None)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,234", 1234),
        ("$1,234", 1234),
        ("(1,234)", -1234),
        ("(1,234", -1234),
        ("—", 0),
        ("$—", 0),
        ("n/a", None),
        ("", None),
    ],
)
def test_printed_amounts(text: str, value: int | None) -> None:
    assert amount(text) == (None if value is None else Decimal(value))


def numbers(*values: int | None) -> list[Decimal | None]:
    return [None if value is None else Decimal(value) for value in values]


def test_subtotals_are_folded_before_a_total_is_proven() -> None:
    assert adds_up(numbers(3, 4, 7, 10), Decimal(17))
    assert not adds_up(numbers(3, 4, 7, 10), Decimal(27))


def test_a_part_is_known_through_the_subtotals_above_it() -> None:
    values = numbers(100, 20, 120, 30, 150)
    assert is_part_of_a_total(values, 0)
    assert is_part_of_a_total(values, 2)
    assert not is_part_of_a_total(values, 4)


def test_revenue_is_no_part_of_the_profit_it_leaves() -> None:
    assert not is_part_of_a_total(numbers(100, 60, 40), 0)
