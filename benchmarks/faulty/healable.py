"""Faults after which a reader of the faulty input alone is certain of the value, one at a time and two at once."""

from __future__ import annotations

import json
import re
from datetime import date, datetime

from faulty.case import Case, World, fault, plain
from faulty.inputs import a_body, a_day, a_number, a_record, rename, restyle, some_json
from faulty.material import fact_of
from faulty.notations import DAYS, INVISIBLE, LABELS, SURE_DAYS, pascal, trailing_comma
from faulty.server import Answer
from faulty.service import TIMEOUT

_DIGITS = re.compile(r"-?\d+(\.\d+)?")


@fault("healable")
def key_restyled(world: World) -> Case:
    record, truth = a_record(world)
    name = world.chance.choice(("val", "end", "form", "filed", "accn"))
    return plain("fact", rename(record, name, restyle(world, name)), truth)


@fault("healable")
def key_restyled_camel(world: World) -> Case:
    document = world.material.small_document(world.chance)
    renamed = rename(document, "entityName", restyle(world, "entityName"))
    return plain("entity", renamed, world.material.entity_of(document))


@fault("healable")
def key_invisible(world: World) -> Case:
    record, truth = a_record(world)
    name = world.chance.choice(("val", "end", "form", "filed", "accn"))
    return plain("fact", rename(record, name, world.chance.choice(INVISIBLE).format(name)), truth)


@fault("healable")
def row_label(world: World) -> Case:
    rows, truth = world.chance.choice(world.material.statements)
    name = world.chance.choice(tuple(rows))
    return plain("income", rename(rows, name, world.chance.choice(LABELS)(name)), truth)


# Numbers


@fault("healable")
def number_notation(world: World) -> Case:
    text, truth = a_number(world)
    return plain("amount", text, truth)


@fault("healable")
def number_cell(world: World) -> Case:
    cells = [cell for cell in world.material.cells if cell.bare and not _DIGITS.fullmatch(cell.text)]
    cell = world.chance.choice(cells)
    return plain("amount", cell.text, cell.value)


@fault("healable")
def number_as_float(world: World) -> Case:
    # A column of ids with a gap went through pandas, which makes it one of floats.
    document = world.material.small_document(world.chance)
    return plain("entity", {**document, "cik": f"{int(document['cik'])}.0"}, world.material.entity_of(document))


@fault("healable")
def number_in_record(world: World) -> Case:
    record, _ = a_record(world)
    # JSON of services that keep their amounts as text, formatted for a page.
    text = world.chance.choice(("${:,}", "{:,}", "USD {:,}", "{:,}.00")).format(abs(record["val"]))
    return plain("fact", {**record, "val": text}, fact_of({**record, "val": abs(record["val"])}))


# Dates


@fault("healable")
def day_notation(world: World) -> Case:
    text, day = a_day(world)
    return plain("day", text, day)


@fault("healable")
def day_as_midnight(world: World) -> Case:
    day = world.chance.choice(world.material.days)
    # Serialisers that know moments only: Newtonsoft, java.sql.Timestamp, pandas.
    return plain("day", world.chance.choice((f"{day}T00:00:00", f"{day} 00:00:00", f"{day}T00:00:00.000")), day)


@fault("healable")
def day_for_strptime(world: World) -> Case:
    day = world.chance.choice(world.material.days)
    name = world.chance.choice(SURE_DAYS)
    return plain("filing_day", DAYS[name](day), datetime(day.year, day.month, day.day))


# Encodings


@fault("healable")
def windows_1252(world: World) -> Case:
    # Word and Outlook on Western Windows; still the commonest wrong encoding of the web.
    while True:
        text = world.material.paragraph(world.chance, accented=True)
        try:
            return plain("text", text.encode("cp1252"), text)
        except UnicodeEncodeError:
            continue


@fault("healable")
def utf_16(world: World) -> Case:
    # "Unicode text" in Excel, PowerShell's redirection before version 6; both write a byte order mark.
    text = world.material.paragraph(world.chance, accented=world.chance.random() < 0.5)
    return plain("text", text.encode("utf-16"), text)


# JSON


@fault("healable")
def json_notation(world: World) -> Case:
    text, value = some_json(world)
    return plain("document", text, value)


@fault("healable")
def json_bytes_not_utf_8(world: World) -> Case:
    # Databases in Latin-1 behind a service that dumps with ensure_ascii=False.
    value = world.material.small_document(world.chance)
    concept = next(iter(next(iter(value["facts"].values())).values()))
    while True:
        concept["description"] = world.material.paragraph(world.chance, accented=True)
        try:
            data = json.dumps(value, ensure_ascii=False).encode("cp1252")
        except UnicodeEncodeError:
            continue
        return plain("document", data, value)


# The network


def _transfer(world: World, *answers: Answer, text: str | None = None) -> Case:
    """Fetch with one of the service's two clients: answers that fail, then the body."""
    body = a_body(world)
    good = Answer(body=body if text is None else text.encode())
    function = world.chance.choice(("fetch", "fetch_document"))
    truth = json.loads(body) if function == "fetch_document" else body
    return Case(function, lambda: world.server.url(*answers, good), truth)


@fault("healable")
def connection_reset(world: World) -> Case:
    # A balancer drops a backend during its deployment.
    return _transfer(world, *[Answer(reset=True)] * world.chance.randint(1, 2))


@fault("healable")
def service_unavailable(world: World) -> Case:
    # nginx and the clouds' gateways, while a backend restarts.
    return _transfer(world, *[Answer(status=world.chance.choice((502, 503, 504)))] * world.chance.randint(1, 2))


@fault("healable", slow=True)
def too_many_requests(world: World) -> Case:
    # SEC's own limit is ten requests a second; RFC 6585 says 429, RFC 9110 how long.
    return _transfer(world, Answer(status=429, headers={"Retry-After": "1"}))


@fault("healable", slow=True)
def timed_out(world: World) -> Case:
    return _transfer(world, Answer(delay=2 * TIMEOUT))


@fault("healable")
def body_cut_once(world: World) -> Case:
    # A proxy that gives up in the middle; Content-Length tells.
    return _transfer(world, Answer(body=a_body(world), cut=True))


@fault("healable")
def json_over_http(world: World) -> Case:
    text, value = some_json(world)
    return Case("fetch_document", lambda: world.server.url(Answer(body=text.encode())), value)


# Two at once


@fault("compound")
def key_and_number(world: World) -> Case:
    record, _ = a_record(world)
    value = abs(record["val"])
    faulty = rename({**record, "val": f"${value:,}"}, "val", restyle(world, "val"))
    return plain("fact", faulty, fact_of({**record, "val": value}))


@fault("compound")
def key_and_day(world: World) -> Case:
    record, truth = a_record(world)
    day = date.fromisoformat(record["end"])
    faulty = rename({**record, "end": DAYS["filing cover"](day)}, "end", restyle(world, "end"))
    return plain("fact", faulty, truth)


@fault("compound")
def two_keys(world: World) -> Case:
    # A new version of an interface renames more than one field.
    record, truth = a_record(world)
    style = world.chance.choice((pascal, str.upper))
    first, second = world.chance.sample(("val", "end", "form", "filed", "accn"), 2)
    return plain("fact", rename(rename(record, first, style(first)), second, style(second)), truth)


@fault("compound")
def number_and_day(world: World) -> Case:
    record, _ = a_record(world)
    value, day = abs(record["val"]), date.fromisoformat(record["filed"])
    faulty = {**record, "val": f"{value:,}", "filed": DAYS["filing cover"](day)}
    return plain("fact", faulty, fact_of({**record, "val": value}))


@fault("compound")
def two_labels(world: World) -> Case:
    rows, truth = world.chance.choice(world.material.statements)
    style = world.chance.choice(LABELS)
    first, second = world.chance.sample(tuple(rows), 2)
    return plain("income", rename(rename(rows, first, style(first)), second, style(second)), truth)


@fault("compound")
def encoding_and_json(world: World) -> Case:
    value = world.material.small_document(world.chance)
    text = trailing_comma(json.dumps(value), world.chance)
    return plain("document", text.encode("utf-16"), value)


@fault("compound")
def unavailable_and_json(world: World) -> Case:
    value = world.material.small_document(world.chance)
    body = trailing_comma(json.dumps(value), world.chance).encode()
    return Case("fetch_document", lambda: world.server.url(Answer(status=503), Answer(body=body)), value)
