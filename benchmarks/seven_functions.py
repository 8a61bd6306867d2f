"""Seven functions that fail, each on one input, as services fail: the same text for every healer that is compared.

It imports nothing but the standard library, and catches nothing.
"""

import json


class Source:
    """A connection that breaks twice."""

    def __init__(self):
        self.asked = 0

    def read(self):
        """Break, break, answer."""
        self.asked += 1
        if self.asked < 3:
            raise ConnectionError("connection reset by peer")
        return "the third time"


def renamed_key(payload):
    return payload["user_name"]


def number(text):
    return float(text)


def attribute_of_none(user):
    return user.email


def document(text):
    return json.loads(text)


def division(total, count):
    return total / count


def connection(source):
    return source.read()


def latin_1(data):
    return data.decode("utf-8")


GERMAN = "Größere Änderungen für alle Verträge müssen schriftlich bestätigt werden."

# By letter: the function, what makes its arguments, and the right value; nothing is right where none can be known.
FUNCTIONS = {
    "a": (renamed_key, lambda: ({"userName": "ann", "age": 41},), "ann"),
    "b": (number, lambda: ("$1,234",), 1234.0),
    "c": (attribute_of_none, lambda: (None,), None),
    "d": (document, lambda: ('{"items": [1, 2, 3,], "total": 6,}',), {"items": [1, 2, 3], "total": 6}),
    "e": (division, lambda: (1, 0), None),
    "f": (connection, lambda: (Source(),), "the third time"),
    "g": (latin_1, lambda: (GERMAN.encode("latin-1"),), GERMAN),
}
ORIGINAL = {
    "a": "KeyError",
    "b": "ValueError",
    "c": "AttributeError",
    "d": "JSONDecodeError",
    "e": "ZeroDivisionError",
    "f": "ConnectionError",
    "g": "UnicodeDecodeError",
}
