"""JSON of a hostile sender: a value, or a ValueError, and never more work than it is worth."""

import base64
import json

import pytest

from bakehouse.host.untrusted_json import read_untrusted, short_words

NONSENSE = {
    "nothing": b"",
    "no JSON": b"nonsense",
    "two values": b"{} {}",
    "no UTF-8": b'"\xff\xfe\xfd"',
    "UTF-16 cut off": b"\xff\xfe{",
    "a number of many digits": b"1" * 5000,
    "lists in lists": b"[" * 200_000,
    "objects in objects": b'{"a":' * 200_000,
    "closed, and deep enough to print badly": b"[" * 400 + b"]" * 400,
    "deep among shallow": b'[1, {"a": ' + b"[" * 40 + b"]" * 40 + b"}, 2]",
    "very many values": b"[" + b"{}," * 40_000 + b"{}]",
    "very many escapes": b'"' + b"\\n" * 70_000 + b'"',
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_of_every_form_is_a_value_error(name: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_untrusted(NONSENSE[name], structure_bytes=65536)


def test_a_message_may_be_large_by_its_base64_alone() -> None:
    output = base64.b64encode(bytes(range(256)) * 4096).decode()
    message = json.dumps({"return": {"exited": True, "out-data": output}}).encode()
    assert read_untrusted(message, structure_bytes=1024)["return"]["out-data"] == output


def test_what_an_agent_says_is_read_as_it_is() -> None:
    message = {"return": [{"name": "é€😀", "nested": [[{}]], "n": -1.5}, None, True]}
    assert read_untrusted(json.dumps(message).encode(), structure_bytes=1024) == message


def test_words_for_people_are_short_and_printable() -> None:
    assert short_words("cannot freeze /srv/é: busy") == "cannot freeze /srv/é: busy"
    assert short_words("one\ntwo\x1b[2J\0\ud800") == "one?two?[2J??"
    assert short_words(["x" * 1000]) == "['" + "x" * 498
