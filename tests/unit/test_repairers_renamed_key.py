"""The renamed-key repairer finds the one key that means the missing one; anything less certain declines."""

import csv
import os
import subprocess
import sys
from collections import ChainMap, Counter, OrderedDict, UserDict, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from pydantic import ValidationError

from healspan.remediation.repairers import Failure, Loss, Repaired, repairer
from healspan.remediation.repairers.renamed_key import RenamedKeyParameters

TRUTH = Path(__file__).parents[3] / "shared/data/filings/truth.csv"
RENAMED = repairer("renamed_key")
STATEMENT = [
    "Net sales",
    "Cost of sales",
    "Gross profit",
    "Selling, general and administrative",
    "Operating income (loss)",
    "Cash and cash equivalents (Note 4)",
    "Accounts receivable, net",
    "Total current assets",
    "Total assets",
    "Total current liabilities",
    "Total non-current liabilities",
    "Total liabilities",
    "Total stockholders' equity",
    "Basic earnings per share",
    "Diluted earnings per share",
]
PAYLOAD = [
    "order_id",
    "customer_id",
    "created_at",
    "shipping_address",
    "billing_address",
    "unit_price",
    "total_price",
    "net_amount",
    "tax_amount",
    "first_name",
    "is_active",
    "address_line_1",
    "address_line_2",
    "employer_id",
    "contract_id",
    "eur_usd",
]


def find(asked: object, among: Mapping[Any, Any] | Iterable[str], **parameters: Any) -> Repaired | None:
    mapping = among if isinstance(among, (Mapping, UserDict)) else dict.fromkeys(among, 0)
    return find_in(mapping, asked, **parameters)


def find_in(owner: object, asked: object, **parameters: Any) -> Repaired | None:
    failure = Failure("subscript", owner, asked, KeyError(asked), RenamedKeyParameters(**parameters))
    return RENAMED.repair(failure)


@pytest.mark.parametrize(
    ("asked", "present"),
    [
        ("userName", "user_name"),
        ("user_name", "UserName"),
        ("user_name", "username"),
        ("userID", "user_id"),
        ("HTTPStatusCode", "http-status-code"),
        ("id", "_id"),
        ("Total Current Assets", "TOTAL CURRENT ASSETS"),
        ("Total current assets", "Total\u00a0current \u200bassets:"),
        ("Non-current assets", "Noncurrent assets"),
        ("Selling & administrative", "Selling and administrative"),
        ("Operating income (loss)", "Operating income/(loss)"),
        ("Stockholders' equity", "Stockholders’ equity"),
        ("address1", "address_1"),
        ("café", "CAFE\u0301"),
    ],
)
def test_the_same_name_written_otherwise_is_found_without_loss(asked: str, present: str) -> None:
    assert find(asked, [present, "something else"]) == Repaired(present, Loss.NONE)
    assert find(present, [asked, "something else"], accept="none") == Repaired(asked, Loss.NONE)


@pytest.mark.parametrize(
    ("asked", "present"),
    [
        ("qty", "quantity"),
        ("maxTempAddr", "maximum_temp_address"),
        ("colour", "color"),
        ("organisation_id", "organizationId"),
        ("recieved_at", "received_at"),
        ("adress", "address"),
    ],
)
def test_the_same_words_are_found_as_normalised(asked: str, present: str) -> None:
    for missing, found in ((asked, present), (present, asked)):
        assert find(missing, [found, "status"]) == Repaired(found, Loss.NORMALISED)
        assert find(missing, [found, "status"], accept="none") is None


@pytest.mark.parametrize(
    ("asked", "present"),
    [
        ("Total current asset", "Total current assets"),
        ("Gross profits", "Gross profit"),
        ("Cash and cash equivalents", "Cash and cash equivalents (Note 4)"),
        ("Cash & cash equivalents (Notes 1 and 2)", "Cash and cash equivalents (Note 4)"),
        ("The cost of sales", "Cost of sales"),
    ],
)
def test_labels_of_a_statement_are_found_among_their_neighbours(asked: str, present: str) -> None:
    assert find(asked, STATEMENT) == Repaired(present, Loss.NORMALISED)


@pytest.mark.data
def test_no_label_of_any_filing_finds_a_row_of_another_metric() -> None:
    """Every label asked of every other filing's rows: what is found must be tagged as the same metric."""
    if not TRUTH.exists():
        pytest.skip("the filings are not here: put the data folder at ../shared/data beside the project")
    rows_of: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    metrics_of: dict[str, set[str]] = defaultdict(set)
    with TRUTH.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            label = row["row_text"].split("|")[0].strip()
            if any(each.isalpha() for each in label):
                rows_of[row["file"]][label].add(row["metric"])
                metrics_of[label].add(row["metric"])
    found = 0
    for rows in rows_of.values():
        for label, metrics in metrics_of.items():
            repaired = None if label in rows else find(label, dict(rows))
            if repaired is not None:
                found += 1
                assert rows[str(repaired.value)] & metrics, (label, repaired.value)
    assert found >= 1_000


def test_a_footnote_letter_behind_a_label_is_ignored_but_never_swapped() -> None:
    assert find("Cost of sales", ["Cost of sales(a)", "Net sales"]) == Repaired("Cost of sales(a)", Loss.NORMALISED)
    assert find("Interest rate(a)", ["Interest rate(b)", "Net sales"]) is None


@pytest.mark.parametrize(
    "asked",
    [
        "Sales",
        "Total net sales",
        "Net revenue",
        "Cost of net sales",
        "Cost of products sold",
        "Gross loss",
        "Gross margin",
        "Operating income",
        "Income from operations",
        "Current assets",
        "Total noncurrent assets",
        "Total other assets",
        "Total liabilities and equity",
        "Total current liability and assets",
        "Accounts payable, net",
        "Accounts receivable",
        "Earnings per share",
        "Basic and diluted earnings per share",
        "Total assets (%)",
        "Liabilities total",
        "Restricted cash and cash equivalents",
    ],
)
def test_a_label_with_another_qualifier_declines(asked: str) -> None:
    assert find(asked, STATEMENT) is None


@pytest.mark.parametrize(
    "asked",
    [
        "id",
        "order",
        "order_ids",
        "user_id",
        "customer",
        "updated_at",
        "created_by",
        "created",
        "address",
        "price",
        "net_price",
        "amount",
        "gross_amount",
        "last_name",
        "name",
        "inactive",
        "is_inactive",
        "is_not_active",
        "address_line_3",
        "address_line",
        "employee_id",
        "employed_id",
        "contact_id",
        "usd_eur",
        "eur_aud",
        "tax_amount_2",
        "-tax_amount_2",
    ],
)
def test_a_payload_key_that_may_mean_something_else_declines(asked: str) -> None:
    assert find(asked, PAYLOAD) is None


@pytest.mark.parametrize(
    ("asked", "present"),
    [
        ("latitude", "altitude"),
        ("billing_country", "billing_county"),
        ("payer", "payee"),
        ("lessor_name", "lessee_name"),
        ("message", "massage"),
        ("customer", "costumer"),
        ("filed_at", "filled_at"),
        ("casual", "causal"),
        ("coma", "comma"),
        ("planned", "planed"),
        ("princess", "princes"),
        ("form", "from"),
        ("discrete", "discreet"),
        ("reverse", "reserve"),
        ("user", "users"),
        ("item", "items"),
        ("interval_1m", "interval_1M"),
        ("power_mW", "power_MW"),
        ("item_1_23", "item_12_3"),
        ("v1.1", "v11"),
        ("lag_-1", "lag_1"),
        ("t-1", "t1"),
        ("temperature ≥ 5", "temperature ≤ 5"),
        ("growth", "growth %"),
        ("C", "c"),
        ("2024-01-02", "2024_01_02"),
        ("1,234", "1234"),
        ("कि", "की"),
        ("", " "),
        ("date_created", "created_date"),
        ("quantity", "quality"),
        ("min_price", "max_price"),
        ("debit", "credit"),
        ("include_tax", "exclude_tax"),
        ("with tax", "without tax"),
        ("paid_at", "unpaid_at"),
    ],
)
def test_names_that_look_alike_and_differ_in_meaning_decline(asked: str, present: str) -> None:
    for missing, found in ((asked, present), (present, asked)):
        assert find(missing, [found, "Status of it"], cutoff=80) is None
        assert find(missing, [found]) is None


def test_two_keys_that_are_the_same_name_decline() -> None:
    assert find("userName", ["user_name", "USERNAME"]) is None


def test_two_keys_that_mean_the_same_decline() -> None:
    assert find("qty", ["quantity", "Quantity"]) is None
    assert find("recieved_at", ["received_at", "receivedAt"]) is None


def test_a_nearly_as_similar_key_declines_even_where_it_would_not_be_chosen() -> None:
    asked = "received_transactions_total_net_1"
    close = asked.replace("received", "recieved")
    assert find(asked, [close, "id"]) == Repaired(close, Loss.NORMALISED)
    assert find(asked, [close, "received_transactions_total_net_2", "id"]) is None


def test_two_candidates_decline_even_where_one_is_clearly_closer() -> None:
    assert find("recieved_qty", ["recieved_quantity"]) == Repaired("recieved_quantity", Loss.NORMALISED)
    assert find("recieved_qty", ["received_quantity"]) == Repaired("received_quantity", Loss.NORMALISED)
    assert find("recieved_qty", ["recieved_quantity", "received_quantity"]) is None


def test_a_slip_must_be_as_similar_as_the_cutoff_says() -> None:
    assert find("adress", ["address"], cutoff=92) == Repaired("address", Loss.NORMALISED)
    assert find("adress", ["address"], cutoff=93) is None


def test_a_cutoff_of_100_tolerates_no_slip() -> None:
    assert find("recieved_at", ["received_at"], cutoff=100) is None
    assert find("qty", ["quantity"], cutoff=100) == Repaired("quantity", Loss.NORMALISED)


@pytest.mark.parametrize("present", [["Revenues", "Net sales"], ["Net sales", "Revenues"]])
def test_of_the_aliases_the_first_that_is_present_wins(present: list[str]) -> None:
    found = find("Total revenue", present, aliases=("Turnover", "net sales", "Revenues"))
    assert found == Repaired("Net sales", Loss.NORMALISED)


def test_the_same_name_wins_over_an_alias() -> None:
    found = find("Total revenue", ["Net sales", "TOTAL REVENUE"], aliases=("Net sales",))
    assert found == Repaired("TOTAL REVENUE", Loss.NONE)


def test_two_keys_for_one_alias_decline_even_where_a_later_alias_is_clear() -> None:
    present = ["Net sales", "NET SALES", "Revenues"]
    assert find("Total revenue", present, aliases=("Net sales", "Revenues")) is None


def test_with_aliases_nothing_else_is_guessed() -> None:
    assert find("recieved_at", ["received_at"], aliases=("arrived_at",)) is None


@pytest.mark.parametrize("alias", ["", "  ", "--", "x" * 161])
def test_an_alias_that_names_nothing_is_refused(alias: str) -> None:
    with pytest.raises(ValidationError, match="alias"):
        RenamedKeyParameters(aliases=(alias,))


@pytest.mark.parametrize("cutoff", [79.9, 100.1])
def test_a_cutoff_that_guesses_is_refused(cutoff: float) -> None:
    with pytest.raises(ValidationError):
        RenamedKeyParameters(cutoff=cutoff)


@pytest.mark.parametrize(
    "mapping",
    [
        {"user_name": 1},
        OrderedDict(user_name=1),
        defaultdict(None, user_name=1),
        MappingProxyType({"user_name": 1}),
        {"user_name": 1, 5: 2, None: 3, ("a", "b"): 4},
    ],
)
def test_knows_the_built_in_mappings(mapping: Mapping[Any, Any]) -> None:
    before = list(mapping.items())
    assert find("userName", mapping) == Repaired("user_name", Loss.NONE)
    assert list(mapping.items()) == before


class Custom(dict[str, int]):
    def __iter__(self) -> Iterator[str]:
        raise AssertionError("a user's mapping must not be asked")

    __len__ = __getitem__ = keys = __contains__ = __iter__  # type: ignore[assignment]


class Field(StrEnum):
    USER = "user_name"


@pytest.mark.parametrize(
    "mapping",
    [
        Custom(user_name=1),
        MappingProxyType(Custom(user_name=1)),
        UserDict(user_name=1),
        ChainMap({"user_name": 1}),
        Counter(user_name=1),
        defaultdict(int, user_name=1),
        {Field.USER: 1},
        {f"user_{n}": n for n in range(1_001)} | {"user_name": 1},
        {f"{'x' * 150}_{n}": n for n in range(300)} | {"user_name": 1},
    ],
    ids=lambda mapping: type(mapping).__name__,
)
def test_declines_mappings_that_answer_in_their_own_way(mapping: Any) -> None:
    assert find("userName", mapping) is None


def test_runs_no_code_of_keys_that_are_not_text() -> None:
    asked: list[object] = []

    class Key:
        def __hash__(self) -> int:
            return hash("userName")

        def __eq__(self, other: object) -> bool:
            asked.append(other)
            return False

        def __str__(self) -> str:
            raise AssertionError

        __repr__ = __str__

    assert find("userName", {Key(): 1, "user_name": 2}) == Repaired("user_name", Loss.NONE)
    assert asked == []


def test_a_key_of_an_enumeration_may_be_asked_for() -> None:
    assert find(Field.USER, ["userName"]) == Repaired("userName", Loss.NONE)


@pytest.mark.parametrize("asked", [5, None, b"user_name", ("user_name",), "x" * 161])
def test_declines_keys_that_are_no_short_text(asked: object) -> None:
    assert find(asked, ["user_name", "5", "x" * 160]) is None


def test_a_key_longer_than_any_name_is_not_looked_at() -> None:
    assert find("user_name", ["user" + "\u200b" * 200 + "name"]) is None


def test_a_key_that_is_present_is_never_replaced() -> None:
    assert find("user_name", ["user_name", "userName"], aliases=("userName",)) is None


@pytest.mark.parametrize(
    "error",
    [
        KeyError(),
        KeyError("other"),
        KeyError("userName", 1),
        KeyError(object()),
        IndexError("userName"),
        UnicodeError(),
    ],
)
def test_declines_an_error_that_is_not_this_miss(error: BaseException) -> None:
    failure = Failure("subscript", {"user_name": 1}, "userName", error, RenamedKeyParameters())
    assert RENAMED.repair(failure) is None


def test_declines_calls() -> None:
    failure = Failure("call", {"user_name": 1}, "userName", KeyError("userName"), RenamedKeyParameters())
    assert RENAMED.repair(failure) is None


def test_a_column_that_begins_with_a_mark_or_stands_between_spaces_is_the_same_name() -> None:
    for column in ("\ufeffid", "ï»¿id", " id ", "id\t"):
        assert find("id", {column: 1, "name": 2}) == Repaired(column, Loss.NONE)


def test_knows_the_environment_and_none_that_only_looks_like_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALSPAN_TEST_DATABASE_URL", "x")
    assert find("healspan-test-database-url", os.environ) == Repaired("HEALSPAN_TEST_DATABASE_URL", Loss.NONE)
    copy = os._Environ(dict(os.environ), str, str, str, str)
    assert find("healspan-test-database-url", copy) is None


def test_knows_the_columns_of_a_frame_and_the_labels_of_a_series() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"User Name": [1], "qty": [2]})
    for target in (frame, frame.iloc[0]):
        assert find_in(target, "user_name") == Repaired("User Name", Loss.NONE)
        assert find_in(target, "quantity") == Repaired("qty", Loss.NORMALISED)
        assert find_in(target, "amount") is None

    class Frame(pandas.DataFrame):  # type: ignore[misc, name-defined]
        pass

    twice = pandas.DataFrame([[1, 2]], columns=["User Name", "User Name"])
    levels = pandas.DataFrame({("User Name", "first"): [1]})
    numbers = pandas.DataFrame([[1, 2]])
    for declined in (Frame(frame), twice, levels, numbers, pandas.Index(["User Name"])):
        assert find_in(declined, "user_name") is None


def test_pandas_is_never_imported_for_it() -> None:
    program = (
        "import sys; from healspan.remediation.repairers import Failure, repairer; one = repairer('renamed_key');"
        "print(one.repair(Failure('subscript', [], 'a', KeyError('a'), one.parameters())), 'pandas' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["None", "False"]
