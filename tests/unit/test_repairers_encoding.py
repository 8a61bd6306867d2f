"""The encoding repairer decodes what the bytes show, and declines where two encodings would do."""

import codecs
import json
from typing import Any

import pytest
from pydantic import ValidationError

from healspan.remediation.repairers import ABSENT, Failure, Loss, Repaired, repairer
from healspan.remediation.repairers.encoding import EncodingParameters, detect

ENCODING = repairer("encoding")

SENTENCES = {
    "fr": "Le café était fermé à Noël, déjà; où êtes-vous allés cet été, à la forêt ou à l’île? Ça coûte 5 € — cher.",
    "de": "Die Müller GmbH aus Köln verkauft Bücher über Äpfel, Öl und Straßenbau; die Größe zählt. „Schön“, sagte er.",
    "es": "El niño comió piñas en la montaña, ¿verdad? El año pasado llegó a Málaga, París y León. ¡Qué pena! Así es.",
    "pt": "A situação em São Paulo não é fácil; há informações sobre a exportação de maçãs e pães. Você verá o avô.",
    "it": "La città è più bella che mai; perché non c’è nessuno? Così sarà l’università, però non può già finire.",
    "da": "Søren Kierkegård læste på øen; æblerne var røde og blå. Får får får? Nej, får får lam på grøn mark.",
    "sv": "Räksmörgås på ön; Malmö är större än Åmål. Jag älskar grön färg och blå ögon hos små får.",
    "nl": "Het coördinatieteam heeft geëvalueerd; de zeeën zijn blauw, één idee, vóór België en Italië.",
    "is": "Það er gott veður á Íslandi; þú átt að fara út í kvöld með ömmu þinni. Ólafur býr í Reykjavík.",
    "pl": "Zażółć gęślą jaźń, proszę bardzo; wielki świat jest piękny, ale łatwo się zgubić w Łodzi. Niech żyje życie.",
    "cs": "Příliš žluťoučký kůň úpěl ďábelské ódy; řeka teče do moře. Škoda, že se to nepovedlo, řekl Jiří.",
    "hu": "Árvíztűrő tükörfúrógép; a magyar nyelv gyönyörű. Őszintén szólva jó ötlet volt, köszönöm szépen.",
    "ro": "Bună ziua, mă numesc Ion şi locuiesc în Bucureşti; toată ţara este frumoasă şi plină de pădure.",
    "tr": "Şişli’de güneşli bir gün; çağrı geldi, ağaçlar yeşil. İstanbul’un ışıkları çok güzel, değil mi?",
    "hr": "Šuma je čista; žaba i ćuk žive u đurđevku. Nečija kuća je lijepa, što može biti.",
    "lt": "Ąžuolas yra gražus; šiandien šviečia saulė, įdomu ką žmonės veikia. Ačiū už viską.",
    "ru": "Привет, мир! Это простой текст на русском языке, чтобы проверить определение.",
    "el": "Καλημέρα κόσμε! Αυτό είναι ένα απλό κείμενο στα ελληνικά για δοκιμή.",
    "ja": "こんに ちは 世界、 テスト です。 日本語の 文章。",
    "zh": "你好 世界， 这是 一个 测试 文本。 价格 上涨 了",
    "ko": "안녕하세요 세계, 이것은 테스트입니다.",
    "en": "The Company’s “net sales” increased – mainly in Europe — by 5 %. Apple® and Brand™; £5, don’t or 7€… ©2024",
}
IN_USE = {
    **dict.fromkeys(("fr", "de", "es", "pt", "it", "da", "sv", "nl", "is", "en"), ("cp1252", "iso8859-15")),
    **dict.fromkeys(("pl", "cs", "hu", "ro", "hr"), ("cp1250", "iso8859-2")),
    "tr": ("cp1254",),
    "lt": ("cp1257", "iso8859-13"),
    "ru": ("cp1251", "koi8-r", "cp866", "iso8859-5"),
    "el": ("cp1253", "iso8859-7"),
    "ja": ("shift_jis", "euc_jp"),
    "zh": ("gb18030",),
    "ko": ("euc_kr",),
}
RARE = {
    **dict.fromkeys(("fr", "de", "es", "pt", "it", "da", "sv", "nl", "is", "en"), ("mac-roman", "cp850")),
    **dict.fromkeys(("pl", "cs", "hu", "ro", "hr"), ("mac-latin2", "cp852")),
    "zh": ("big5",),
}


def windows(text: str, words: int) -> list[str]:
    parts = text.split(" ")
    return [" ".join(parts[at : at + words]) + " x" for at in range(len(parts) - words + 1)]


def guesses(encodings: dict[str, tuple[str, ...]], words: int) -> list[tuple[str, str, str | None]]:
    """Return language, text and what was made of its bytes, for all windows of so many words."""
    found = []
    for language, names in encodings.items():
        for name in names:
            for text in windows(SENTENCES[language], words):
                try:
                    text.encode(name).decode()
                except UnicodeEncodeError:
                    continue
                except UnicodeDecodeError as error:
                    detected = detect(text.encode(name), error)
                    found.append((language, text, None if detected is None else detected[1]))
    return found


@pytest.mark.parametrize("words", [1, 2, 3, 5, 8, 14])
def test_no_text_in_an_encoding_in_use_is_ever_read_wrongly(words: int) -> None:
    wrong = [(text, got) for _, text, got in guesses(IN_USE, words) if got not in (None, text)]
    assert wrong == []


@pytest.mark.parametrize("words", [5, 8, 14])
def test_no_few_words_in_a_rare_encoding_are_read_wrongly(words: int) -> None:
    wrong = [(text, got) for _, text, got in guesses(RARE, words) if got not in (None, text)]
    assert wrong == []


@pytest.mark.parametrize(("words", "least"), [(3, 0.4), (8, 0.6), (14, 0.7)])
def test_the_longer_a_western_text_the_more_often_it_is_read(words: int, least: float) -> None:
    western = {language: ("cp1252",) for language, names in IN_USE.items() if names[0] == "cp1252"}
    got = [result is not None for _, _, result in guesses(western, words)]
    assert sum(got) >= least * len(got)


def fail(function: Any, *arguments: Any) -> UnicodeDecodeError:
    with pytest.raises(UnicodeDecodeError) as raised:
        function(*arguments)
    return raised.value


def attempt(function: Any, *arguments: Any, **parameters: Any) -> Repaired | None:
    error = fail(function, *arguments)
    argument = arguments[0] if arguments else ABSENT
    return ENCODING.repair(Failure("call", function, argument, error, EncodingParameters(**parameters), arguments[1:]))


def read(function: Any, *arguments: Any, **parameters: Any) -> tuple[Any, Loss] | None:
    repaired = attempt(function, *arguments, **parameters)
    return None if repaired is None else (function(repaired.value, *arguments[1:]), repaired.loss)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("naïve".encode("utf-16"), "naïve"),
        (codecs.BOM_UTF16_BE + "naïve".encode("utf-16-be"), "naïve"),
        ("naïve".encode("utf-32"), "naïve"),
    ],
)
def test_a_byte_order_mark_shows_it_without_loss(data: bytes, text: str) -> None:
    assert read(data.decode) == read(data.decode, "utf-8") == (text, Loss.NONE)
    assert read(str, data, "utf-8") == (text, Loss.NONE)


def test_well_formed_utf_8_shows_itself_without_loss() -> None:
    data = "naïve €".encode()
    assert read(data.decode, "ascii") == ("naïve €", Loss.NONE)
    assert read("Í €".encode().decode, "cp1252") == ("Í €", Loss.NONE)
    assert read("\ufeffnaïve".encode().decode, "ascii") == ("naïve", Loss.NONE)


def test_windows_1252_is_read_by_each_callee_as_normalised() -> None:
    text = "“Où êtes-vous, ça brûle à Noël?”"
    data = text.encode("cp1252")
    assert (
        read(data.decode)
        == read(data.decode, "utf-8")
        == read(data.decode, "UTF8", "strict")
        == (text, Loss.NORMALISED)
    )
    assert read(str, data, "utf-8") == read(str, data, "utf-8", "strict") == (text, Loss.NORMALISED)
    assert read(json.loads, json.dumps([text], ensure_ascii=False).encode("cp1252")) == ([text], Loss.NORMALISED)
    assert attempt(data.decode, "utf-8", accept="none") is None


def test_bytes_that_the_named_encoding_cannot_hold_decline() -> None:
    assert attempt(str, "naïve €".encode(), "ascii") is None


@pytest.mark.parametrize(
    "data",
    [
        b"caf\xc3",
        b"caf\xe9",
        "naïve ".encode() + b"caf\xe9 x",
        b"ni\xf1o x",
        b"S\xf8rensen x",
        b"\x80\x81\x82\x83",
        b"\x89PNG\r\n\x1a\n\x00\x00",
        b"\x1f\x8b\x08\x00",
        b"caf\xe9 x\x00",
        b"\xff\xfea",
        "Привет, мир".encode("cp1251"),
        b"\xe9" * 200_001,
        "文 x".encode("shift_jis"),
        "日 x".encode("shift_jis"),
        b"a\xe9 " * 50_001,
    ],
)
def test_declines_what_is_cut_mixed_binary_or_short_of_evidence(data: bytes) -> None:
    assert attempt(data.decode, "utf-8") is None


def test_declared_encodings_settle_it_in_their_order_and_nothing_is_guessed() -> None:
    russian = "Привет, мир"
    assert read(russian.encode("cp1251").decode, encodings=("cp1251",)) == (russian, Loss.NORMALISED)
    assert read(russian.encode("koi8-r").decode, encodings=("shift_jis", "koi8-r")) == (russian, Loss.NORMALISED)
    assert read(b"ni\xf1o x".decode, encodings=("latin-1",)) == ("niño x", Loss.NORMALISED)
    assert attempt("“Où êtes-vous, ça brûle à Noël?”".encode("cp1252").decode, encodings=("iso2022_jp",)) is None
    assert attempt(("naïve ".encode() + b"caf\xc3").decode, encodings=("cp1252",)) is None


@pytest.mark.parametrize("name", ["rot13", "unicode_escape", "utf-7", "idna", "hex", "no such", "punycode", "x\x00"])
def test_what_is_no_encoding_of_text_cannot_be_declared(name: str) -> None:
    with pytest.raises(ValidationError, match="encoding"):
        EncodingParameters(encodings=(name,))


class Bytes(bytes):
    pass


@pytest.mark.parametrize(
    ("target", "argument", "rest"),
    [
        (Bytes(b"\xff").decode, "utf-8", ()),
        (bytearray(b"\xff").decode, "utf-8", ()),
        (b"\xff\xfea\x00".decode, "utf-8", ("ignore",)),
        (b"\xff\xfea\x00".decode, ABSENT, ("utf-8",)),
        (b"\xff\xfea\x00".decode, "no such", ()),
        (b"\xff\xfea\x00".split, ABSENT, ()),
        (bytes.decode, b"\xff\xfea\x00", ()),
        (str, Bytes(b"\xff\xfea\x00"), ("utf-8",)),
        (str, b"\xff\xfea\x00", ()),
        (print, b"\xff\xfea\x00", ("utf-8",)),
        (json.loads, b"\xff\xfea\x00", (dict,)),
    ],
)
def test_declines_callees_and_arguments_that_it_does_not_know(
    target: Any, argument: Any, rest: tuple[Any, ...]
) -> None:
    error = fail(b"\xff".decode)
    assert ENCODING.repair(Failure("call", target, argument, error, EncodingParameters(), rest)) is None


def test_applies_to_its_own_error_only() -> None:
    assert not ENCODING.applies("call", ValueError())
    assert not ENCODING.applies("subscript", fail(b"\xff".decode))
