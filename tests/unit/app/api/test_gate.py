"""The gate: every bad body is refused with its own error, and nothing else is."""

import gc
import io
import json
import time
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.gate import BODY_ERRORS, Gate, parse_json
from app.api.schemas.predict import BatchBody, PredictBody
from app.errors import BadInput, BodyTooLarge, MalformedBody
from app.settings import Limits
from tests.bad_inputs import BAD_INPUTS


class Reader(io.BytesIO):
    """Counts what is taken from it."""

    taken = 0

    def read(self, size=-1):
        data = super().read(size)
        self.taken += len(data)
        return data


def environ(body, **extra):
    return {
        "CONTENT_TYPE": "application/json",
        "wsgi.input": Reader(body),
        "wsgi.input_terminated": True,
    } | extra


def decode(limits, given):
    gate = Gate(limits)
    return gate.decode(gate.read(given), PredictBody)


def send(client, case):
    if case.chunked:
        stream = {"input_stream": io.BytesIO(case.body)}
        flags = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
        return client.post(case.path, headers=case.headers, environ_base=flags, **stream)
    return client.open(case.path, method=case.method, data=case.body, headers=case.headers)


@pytest.mark.parametrize("case", BAD_INPUTS, ids=lambda case: case.name)
def test_bad_input_is_refused_with_its_code_and_fields(client, case):
    answer = send(client, case)

    assert (answer.status_code, answer.json["code"]) == (case.status, case.code)
    assert answer.content_type == "application/problem+json"
    assert set(answer.json.get("errors", {})) == set(case.fields)
    assert answer.json["error"] == answer.json["detail"]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b'{"text": "a\nb"}', "Invalid control character at line 1 column 12"),
        (b'{"text": "hel', "Unterminated string starting at line 1 column 10"),
        (b'{"text": "a\\x"}', "Invalid \\escape at line 1 column 12"),
        (
            b'{"text": "a",}',
            "Expecting property name enclosed in double quotes at line 1 column 14",
        ),
        (b'{"text": "a"} x', "Extra data at line 1 column 15"),
    ],
)
def test_error_in_json_is_named_with_its_place_in_a_sentence(body, problem):
    with pytest.raises(MalformedBody) as raised:
        parse_json(body)

    assert raised.value.args == (problem,)


@pytest.mark.parametrize("path", ["/predict", "/jobs"])
def test_encoding_of_a_body_is_refused_by_its_name(client, path):
    headers = {"Content-Type": "application/json", "Content-Encoding": "br"}

    answer = client.post(path, data=b"{}", headers=headers)

    assert answer.status_code == 415
    assert "'application/json with Content-Encoding: br'" in answer.json["detail"]


@pytest.mark.parametrize(
    "header",
    [
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        'Application/JSON; charset="utf-8"',
    ],
)
def test_json_in_utf8_is_accepted_however_it_is_spelled(client, header):
    answer = client.post("/predict", data=b'{"text": "good"}', content_type=header)

    assert answer.status_code == 200


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=9))
def test_parse_json_reads_what_json_writes(value):
    assert parse_json(json.dumps(value).encode()) == value


# Bodies with one member and next to it: what is looked at less than others must not be let in.
TOKENS = rb'{ } " text texts model_version top_k : [ ] , a 1 null NaN \ u0074'.split()
BYTES = b" ", b"\n", b"\x00", b"\x0b", b"\x1f", b"\x7f", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf"
piece = st.sampled_from([*TOKENS, *BYTES, "\u0085\u2028é😀".encode()])
pieces = st.lists(piece, max_size=6).map(b"".join)
# Good ones too: one that is refused is looked at whole, and proves nothing.
good = st.text("ab :,.[{é😀", min_size=1, max_size=8).map(str.encode)
shape = st.sampled_from([b'{"text":"%b"}%b', b'{"texts":["%b"]}%b', b'{"t\\u0065xt":"%b"}%b'])
one_member = st.tuples(shape, good | pieces, st.sampled_from([b"", b" "]) | pieces).map(
    lambda parts: parts[0] % parts[1:]
)


@given(one_member, st.sampled_from([PredictBody, BatchBody]))
def test_body_is_decoded_to_what_looking_at_all_of_it_gives(body, kind):
    def outcome(decode):
        try:
            return decode()
        except BODY_ERRORS as error:
            return type(error), error.args

    gate = Gate(Limits())

    assert outcome(lambda: gate.decode(body, kind)) == outcome(
        lambda: gate.check(parse_json(body), kind)
    )


class Numbers(msgspec.Struct, frozen=True):
    """A body of numbers, whose names are all the strings that it has."""

    count: int
    limit: int = 1

    def is_clean(self, limits):
        return True


@pytest.mark.parametrize("body", [b'{"count":1,"count":2}', b'{"count": 1 , "count": 2}'])
def test_name_that_comes_twice_is_refused_where_no_value_is_a_string(body):
    with pytest.raises(MalformedBody, match="the same key twice"):
        Gate(Limits()).decode(body, Numbers)


def test_two_numbers_are_read():
    assert Gate(Limits()).decode(b'{"count":1,"limit":2}', Numbers) == Numbers(1, 2)


@given(st.integers(0, 60), st.text(alphabet='[]{}"\\ a'))
def test_depth_counts_brackets_outside_strings_only(depth, noise):
    nested = "[" * depth + json.dumps(noise * 20) + "]" * depth

    if depth > 32:
        with pytest.raises(MalformedBody, match="nested deeper than 32"):
            parse_json(nested.encode())
    else:
        parse_json(nested.encode())


@given(st.binary(max_size=200) | st.text(alphabet='[]{}"\\,:1eE-.nulNaI \ud800').map(
    lambda text: text.encode("utf-8", "surrogatepass")
))  # fmt: skip
def test_parse_json_raises_nothing_but_malformed_body(body):
    with suppress(MalformedBody):
        parse_json(body)


def test_refusing_a_megabyte_of_wrong_things_is_quick(client):
    started = time.process_time()
    bodies = [
        json.dumps({f"unknown{number}": number for number in range(40_000)}).encode(),
        b'{"texts": [' + b",".join([b"1"] * 400_000) + b"]}",
        b'{"texts": [' + b",".join([b"{}"] * 300_000) + b"]}",
        b'{"text": "[' + b'\\"[' * 300_000,
    ]

    answers = [client.post("/batch-predict", data=body, content_type="application/json")
               for body in bodies]  # fmt: skip

    assert {answer.status_code for answer in answers} <= {400, 422}
    assert all(len(answer.data) < 20_000 for answer in answers)
    assert time.process_time() - started < 4


@pytest.mark.parametrize("body", [b'{"text": ""}', b'{"txt": "a"}', b"[", b'{"text": 1}'])
def test_refused_body_leaves_nothing_for_the_collector(body):
    gate = Gate(Limits())
    with suppress(BadInput):
        gate.decode(body, PredictBody)
    gc.collect()

    for _ in range(100):
        with suppress(BadInput):
            gate.decode(body, PredictBody)

    assert gc.collect() < 100


def test_gate_reads_no_more_than_the_limit_of_an_endless_body():
    endless = environ(b"x" * (64 << 20))

    with pytest.raises(BodyTooLarge, match="2048"):
        decode(Limits(max_body_bytes=2048), endless)

    assert endless["wsgi.input"].taken < 17 << 20


def test_gate_does_not_wait_for_a_body_of_a_server_that_never_ends_it():
    with pytest.raises(MalformedBody, match="empty"):
        decode(Limits(), environ(b"{}", **{"wsgi.input_terminated": False}))


@pytest.mark.parametrize("length", ["-1", "1e3", "x", "²"])
def test_wrong_content_length_is_a_bad_request(length):
    with pytest.raises(MalformedBody, match="Content-Length"):
        decode(Limits(), environ(b"{}", CONTENT_LENGTH=length))


def test_content_length_of_a_thousand_digits_is_too_large():
    with pytest.raises(BodyTooLarge):
        decode(Limits(), environ(b"{}", CONTENT_LENGTH="9" * 10_000))


def test_body_that_ends_early_is_malformed():
    with pytest.raises(MalformedBody, match="ends before"):
        decode(Limits(), environ(b'{"text": "a"}', CONTENT_LENGTH="100"))


def test_chunked_body_is_read_to_its_end():
    body = decode(Limits(), environ(b'{"text": "a"}'))

    assert body == PredictBody("a")
