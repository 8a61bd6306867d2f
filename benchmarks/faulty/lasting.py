"""Faults after which nothing but the original failure is right, and calls without any fault.

Information is missing, cut off, ambiguous, or wrong and well-formed.
"""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal

from faulty.case import Case, World, fault, plain
from faulty.inputs import a_body, a_number, a_record, rename
from faulty.server import Answer

_NAMES = (
    *("Grupa Żywiec", "KGHM Polska Miedź", "Żabka Group", "Grupa Kęty", "Śnieżka", "Spółka Łódź"),
    *("Česká spořitelna", "Škoda Auto", "Plzeňský Prazdroj", "Tatra banka Košice", "Győri Keksz", "Rába Győr"),
)
_QUOTING = (
    'Shares "issued" and the registrant\'s own.',
    'The "net", after tax.',
    'Lessee\'s right: "use", not "own".',
)


@fault("lasting")
def value_missing(world: World) -> Case:
    record, truth = a_record(world)
    name = world.chance.choice(("val", "end", "form", "filed", "accn"))
    return plain("fact", {key: value for key, value in record.items() if key != name}, truth)


@fault("lasting")
def key_of_other_words(world: World) -> Case:
    # SEC's own: what company facts call `filed` and `accn` has other names in its submissions interface.
    record, truth = a_record(world)
    names = {"accn": "accessionNumber", "end": "reportDate", "filed": "filingDate", "form": "documentType"}
    name = world.chance.choice(tuple(names))
    return plain("fact", rename(record, name, names[name]), truth)


@fault("lasting")
def row_missing(world: World) -> Case:
    # Its neighbours are there, and some of them are spelled nearly alike.
    rows, truth = world.chance.choice(world.material.statements)
    name = world.chance.choice(tuple(rows))
    rest = {key: value for key, value in rows.items() if key != name}
    rest |= {"Other revenue": "17", "Cost of services": "23", "Gross margin": "44.1", "Net profit": "5"}
    return plain("income", rest, truth)


@fault("lasting")
def key_of_two_candidates(world: World) -> Case:
    record, truth = a_record(world)
    faulty = rename(record, "val", "Val")
    return plain("fact", {**faulty, "VAL": record["val"] + 1}, truth)


@fault("lasting")
def value_none(world: World) -> Case:
    record, truth = a_record(world)
    if world.chance.random() < 0.5:
        return plain("currency", {**record, "unit": None}, record["unit"].upper())
    return plain("fact", {**record, world.chance.choice(("val", "end", "filed")): None}, truth)


@fault("lasting")
def value_empty(world: World) -> Case:
    record, truth = a_record(world)
    empty = world.chance.choice(("", "n/a", "N/A", "nil", "NaN?", "pending", "#REF!"))
    return plain("fact", {**record, world.chance.choice(("val", "end", "filed")): empty}, truth)


@fault("lasting")
def number_wrong(world: World) -> Case:
    # Two digits change places: well-formed, and only the other rows can tell.
    rows, truth = world.chance.choice(world.material.statements)
    name = world.chance.choice(tuple(rows))
    digits = rows[name]
    places = [i for i in range(len(digits) - 1) if digits[i : i + 2].isdigit() and digits[i] != digits[i + 1]]
    if not places:
        return number_wrong(world)
    place = world.chance.choice(places)
    changed = digits[:place] + digits[place + 1] + digits[place] + digits[place + 2 :]
    return plain("income", {**rows, name: changed}, truth)


@fault("lasting")
def scale_of_one_row(world: World) -> Case:
    rows, truth = world.chance.choice(world.material.statements)
    name = world.chance.choice(tuple(rows))
    return plain("income", {**rows, name: f"{Decimal(rows[name]) / 1_000}"}, truth)


@fault("lasting")
def scale_unsaid(world: World) -> Case:
    # Thousands instead of units from one release to the next, all rows alike: nothing in the data says so.
    rows, truth = world.chance.choice(world.material.statements)
    return plain("income", {name: f"{Decimal(text) / 1_000:f}" for name, text in rows.items()}, truth)


@fault("lasting")
def scale_said(world: World) -> Case:
    # The word says the scale, but not which unit the service reckons in.
    value = world.chance.randint(1_000, 900_000)
    word = world.chance.choice(("million", "thousand", "mn", "k", "bn"))
    return plain("amount", f"{value:,} {word}", Decimal(value))


@fault("convention")
def scale_said_by_a_percent_sign(world: World) -> Case:
    # The sign that a formatter has added does not say whether the field is in points or a fraction; it is in points.
    share = Decimal(world.chance.randint(1, 1_000)) / 10
    return plain("share", {"share": f"{share}%"}, share)


@fault("convention")
def currency_changed(world: World) -> Case:
    # A subsidiary's feed: amounts of another currency, marked as such, where the service reckons in dollars.
    value = world.chance.randint(1_000, 9_000_000)
    text = world.chance.choice((f"€{value:,}", f"EUR {value:,}", f"£{value:,}", f"¥{value:,}", f"{value:,} CHF"))
    return plain("amount", text, None)


@fault("lasting")
def id_in_scientific_notation(world: World) -> Case:
    # What a spreadsheet makes of a long number in a narrow column: digits are gone.
    document = world.material.small_document(world.chance)
    cik = world.chance.randint(1_000_001, 1_999_999)
    truth = world.material.entity_of({**document, "cik": cik})
    return plain("entity", {**document, "cik": f"{cik:.4E}"}, truth)


@fault("lasting")
def number_in_words(world: World) -> Case:
    cell = world.chance.choice([cell for cell in world.material.cells if not cell.bare])
    return plain("amount", cell.text, None)


@fault("lasting")
def number_ambiguous(world: World) -> Case:
    value = world.chance.randint(1, 999)
    rest = world.chance.randint(0, 999)
    # A decimal comma, or a group; a group's point, or a decimal one: the next row may be the other.
    text = world.chance.choice((f"€{value}.{rest:03}", f"{value},{rest % 100:02}", f"1 {value:03}", f"{value} {rest}"))
    return plain("amount", text, None)


@fault("lasting")
def day_ambiguous(world: World) -> Case:
    day = world.chance.choice([day for day in world.material.days if day.day <= 12 and day.day != day.month])
    text = world.chance.choice((f"{day:%d/%m/%Y}", f"{day:%m/%d/%Y}", f"{day:%d-%m-%Y}"))
    return plain("day", text, None)


@fault("lasting")
def day_incomplete(world: World) -> Case:
    day = world.chance.choice(world.material.days)
    text = world.chance.choice(
        (f"{day:%B %Y}", f"{day:%d %B}", f"{day:%Y}-02-30", f"{(day - date(1899, 12, 30)).days}", f"{day:%Y}Q3")
    )
    return plain("day", text, None)


@fault("lasting")
def day_in_a_zone(world: World) -> Case:
    # Which day it was depends on where; the producer's calendar is not in the text.
    day = world.chance.choice(world.material.days)
    time = world.chance.choice(("00:00:00Z", "00:00:00+09:00", "23:30:00-05:00", "04:00:00.000Z"))
    return plain("day", f"{day}T{time}", None)


@fault("lasting")
def tail_cut(world: World) -> Case:
    value = world.material.small_document(world.chance)
    text = json.dumps(value)
    return plain("document", text[: world.chance.randint(len(text) // 2, len(text) - 1)], value)


@fault("lasting")
def bytes_cut_in_a_character(world: World) -> Case:
    text = world.material.paragraph(world.chance, accented=True)
    data = text.encode()
    inside = [i for i in range(1, len(data)) if data[i] & 0xC0 == 0x80]
    return plain("text", data[: world.chance.choice(inside)], text)


@fault("lasting")
def bytes_of_one_word(world: World) -> Case:
    # Names from Central Europe in its own code page: most of them are words in the Western one, too.
    name = world.chance.choice(_NAMES)
    return plain("text", name.encode("cp1250"), name)


@fault("lasting")
def utf_16_cut(world: World) -> Case:
    text = world.material.paragraph(world.chance, accented=True)
    return plain("text", text.encode("utf-16")[:-1], text)


@fault("lasting")
def encodings_mixed(world: World) -> Case:
    # A file that two programs have appended to.
    while True:
        first, second = (world.material.paragraph(world.chance, accented=True) for _ in range(2))
        try:
            return plain("text", first.encode() + b"\n" + second.encode("cp1252"), f"{first}\n{second}")
        except UnicodeEncodeError:
            continue


@fault("lasting")
def json_values_run_together(world: World) -> Case:
    one, other = (json.dumps(world.material.small_document(world.chance)) for _ in range(2))
    return plain("document", world.chance.choice((f"{one}{other}", f"{one}\n{other}", one.replace(",", "", 1))), None)


@fault("lasting")
def json_with_loose_quotes(world: World) -> Case:
    # Put together by hand, with the text's own quotation marks and apostrophes left as they are.
    value = world.material.small_document(world.chance)
    concept = next(iter(next(iter(value["facts"].values())).values()))
    concept["description"] = world.chance.choice(_QUOTING)
    text = json.dumps(value).replace('\\"', '"')
    return plain("document", world.chance.choice((text, text.replace('"', "'"))), value)


@fault("lasting")
def page_instead_of_json(world: World) -> Case:
    # A proxy that wants a login, an interface that is being maintained: 200, and a page for people.
    body = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Your session has ended.</body></html>"
    return Case("fetch_document", lambda: world.server.url(Answer(body=body)), None)


@fault("lasting")
def divided_by_zero(world: World) -> Case:
    return plain("growth", (str(world.chance.randint(1, 10**6)), "0"), None)


@fault("lasting")
def not_found(world: World) -> Case:
    answer = Answer(status=world.chance.choice((400, 401, 403, 404, 410)))
    return Case(world.chance.choice(("fetch", "fetch_document")), lambda: world.server.url(answer), None)


@fault("lasting", slow=True)
def unavailable_for_good(world: World) -> Case:
    answer = world.chance.choice((Answer(status=503), Answer(reset=True)))
    return Case(world.chance.choice(("fetch", "fetch_document")), lambda: world.server.url(answer), None)


@fault("lasting")
def come_back_in_an_hour(world: World) -> Case:
    answer = Answer(status=429, headers={"Retry-After": "3600"})
    return Case(world.chance.choice(("fetch", "fetch_document")), lambda: world.server.url(answer), None)


# No fault


@fault("control")
def good_call(world: World) -> Case:
    chance, material = world.chance, world.material
    record, fact = a_record(world)
    document = material.small_document(chance)
    rows, income = chance.choice(material.statements)
    paragraph = material.paragraph(chance, accented=chance.random() < 0.5)
    day = chance.choice(material.days)
    value = record["val"]
    body = a_body(world)
    cases = (
        plain("fact", record, fact),
        plain("entity", document, material.entity_of(document)),
        plain("income", rows, income),
        plain("text", paragraph.encode(), paragraph),
        plain("document", json.dumps(document), document),
        plain("day", f"{day}", day),
        plain("filing_day", f"{day}", datetime(day.year, day.month, day.day)),
        plain("amount", str(value), Decimal(value)),
        plain("growth", (str(value), "400000"), (Decimal(value) - 400_000) / 400_000),
        Case("fetch", lambda: world.server.url(Answer(body=body)), body),
        Case("fetch_document", lambda: world.server.url(Answer(body=body)), json.loads(body)),
    )
    return chance.choice(cases)


@fault("control")
def handled_by_the_application(world: World) -> Case:
    # The same failing expression as elsewhere, in a function that deals with it itself.
    text, _ = a_number(world)
    return plain("amount_or_none", text, None)
