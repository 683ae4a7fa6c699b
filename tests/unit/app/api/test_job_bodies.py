"""What `POST /jobs` takes, and how it says what is wrong."""

import gzip
import io
import json

import pytest

from app.api.services import services_of
from app.jobs.chunks import Chunks
from app.settings import Jobs

NDJSON, JSON = "application/x-ndjson", "application/json"
GZIP = {"Content-Encoding": "gzip"}
GOOD = b'{"text": "a good day"}'


def post(client, data, kind=NDJSON, headers=None, query=""):
    return client.post(f"/jobs{query}", data=data, content_type=kind, headers=headers)


def ndjson(*lines):
    return b"\n".join(json.dumps(line).encode() for line in lines)


def texts_of(client, job_id):
    """What a worker would get, of a job of one chunk."""
    chunks = Chunks(services_of(client.application).jobs.ledger)
    return chunks.texts(chunks.claim(job_id, 0, "w1", 10))


def is_untouched(redis_client):
    return redis_client.keys("mlserve:job*") == []


def test_lines_are_texts(job_client):
    text = 'naïve "café" 🎉\twith a\nbreak'
    body = ndjson({"text": text}, {"custom_id": "7", "text": "b"}, {"custom_id": None, "text": "c"})

    answer = post(job_client, body)

    assert answer.status_code == 202
    assert texts_of(job_client, answer.json["id"]) == [text, "b", "c"]


@pytest.mark.parametrize(
    "body",
    [GOOD + b"\n\n  \n" + GOOD, GOOD + b"\r\n" + GOOD + b"\r\n", b"\n" + GOOD + b"\n" + GOOD],
    ids=["blank lines", "CR LF", "blank at first"],
)
def test_blank_lines_and_line_ends_do_not_matter(job_client, body):
    assert post(job_client, body).json["request_counts"]["total"] == 2


def test_options_of_ndjson_are_query_parameters(job_client):
    query = {"model_version": "v2", "metadata": '{"batch": "7"}'}

    answer = job_client.post("/jobs", data=GOOD, content_type=NDJSON, query_string=query)

    assert answer.json["metadata"] == {"batch": "7"}
    assert answer.json["model_version"] == "sentiment-v2"


@pytest.mark.parametrize(
    "compressed",
    [
        gzip.compress(GOOD + b"\n" + GOOD),
        gzip.compress(GOOD + b"\n") + gzip.compress(GOOD),
        gzip.compress(ndjson(*[{"text": f"{at} " * 1000} for at in range(2)])),
    ],
    ids=["one member", "two members", "longer than a piece"],
)
def test_gzip_is_inflated(job_client, compressed):
    answer = post(job_client, compressed, headers=GZIP)

    assert answer.json["request_counts"]["total"] == 2


def test_json_may_be_gzip_too(job_client):
    body = gzip.compress(b'{"texts": ["a", "b"]}')

    assert post(job_client, body, JSON, GZIP).json["request_counts"]["total"] == 2


def test_body_without_a_length_is_read_to_its_end(job_client):
    stream = io.BytesIO(b"\n".join([GOOD] * 5000))

    answer = job_client.post("/jobs", input_stream=stream, content_type=NDJSON,
                               environ_overrides={"wsgi.input_terminated": True})  # fmt: skip

    assert answer.json["request_counts"]["total"] == 5000


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"text": ""}', "text: Must not be blank."),
        (b'{"text": "  "}', "text: Must not be blank."),
        (b'{"text": "a\\u0000"}', "text: Contains a control character (U+0000) at position 1."),
        (b'{"text": "\\ud800"}', "text: Contains a lone surrogate (U+D800) at position 0."),
        (b'{"text": "%s"}' % (b"a" * 10_001), "text: Has 10001 characters; the limit is 10000."),
        (b'{"text": 7}', "text: Not a valid string."),
        (b'{"custom_id": "a"}', "text: Missing data for required field."),
        (b'{"text": "a", "custom_id": 7}', "custom_id: Not a valid string."),
        (b'{"text": "a", "custom_id": "\\ud800"}', "custom_id: Contains a lone surrogate."),
        (b'{"text": "a", "custom_id": "%s"}' % (b"a" * 129), "custom_id: Longer than"),
        (b'{"text": "a", "label": "b"}', "label: Unknown field."),
        (b'["a"]', "body: Invalid input type."),
        (b'{"text": "%s"}' % (b"a" * 130_000), "Has more than 122560 bytes."),
    ],
)
def test_line_that_is_wrong_is_named_and_nothing_is_accepted(
    job_client, redis_client, line, message
):
    answer = post(job_client, b"\n".join([*[GOOD] * 199, line, GOOD]))

    assert (answer.status_code, answer.json["code"]) == (422, "invalid_fields")
    assert list(answer.json["errors"]) == ["line 200"]
    assert answer.json["errors"]["line 200"][0].startswith(message)
    assert is_untouched(redis_client)


@pytest.mark.parametrize(
    "line",
    [b"{", b"a", b'{"text": "a"} b', b'{"text": "a", "text": "b"}', b'{"text": "\xff"}',
     b'{"text": "a\x01"}', b'{"text": NaN}', b"\xef\xbb\xbf" + GOOD],
)  # fmt: skip
def test_line_that_is_no_json_is_named(job_client, redis_client, line):
    answer = post(job_client, b"\n".join([*[GOOD] * 2, line]))

    assert (answer.status_code, answer.json["code"]) == (400, "malformed_body")
    assert "line 3: " in answer.json["detail"]
    assert is_untouched(redis_client)


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({"texts": ["a"] * 150 + [" ", 7]}, {"texts.150": "Must not be blank.",
                                             "texts.151": "Not a valid string."}),
        ({"texts": "a"}, {"texts": "Not a valid list."}),
        ({}, {"texts": "Missing data for required field."}),
        (["a"], {"body": "Not an object."}),
        ({"texts": ["a"], "model_version": "../v1"},
         {"model_version": "Must be the name of a model, a version, or both."}),
        ({"texts": ["a"], "metadata": {"a": 7}}, {"metadata.a": "Not a valid string."}),
        ({"texts": ["a"], "metadata": {"a": {"b": 1}}}, {"metadata.a": "Not a valid string."}),
        ({"texts": ["a"], "metadata": {"a": 7, "b" * 65: "c"}},
         {"metadata.a": "Not a valid string.",
          "metadata.(a name that is not shown)": "Length must be between 1 and 64."}),
        ({"texts": ["a"], "metadata": {"value": 7}}, {"metadata.value": "Not a valid string."}),
        ({"texts": ["a"], "metadata": {f"{at}": "" for at in range(17)}},
         {"metadata": "Longer than maximum length 16."}),
        ({"texts": ["a"], "metadata": {"a": "\ud800"}}, {"metadata": "Contains a lone surrogate."}),
        ({"texts": ["a"], "webhook": 7}, {"webhook": "Not a valid string."}),
        ({"texts": ["a"], "labels": []}, {"labels": "Unknown field."}),
    ],
    ids=lambda value: "" if isinstance(value, dict) and "texts" in value else None,
)  # fmt: skip
def test_json_that_is_wrong_names_each_field(job_client, redis_client, body, errors):
    answer = post(job_client, json.dumps(body), JSON)

    assert (answer.status_code, answer.json["code"]) == (422, "invalid_fields")
    assert answer.json["errors"] == {field: [message] for field, message in errors.items()}
    assert is_untouched(redis_client)


def test_pair_of_metadata_that_is_wrong_on_both_sides_is_named_once(job_client):
    body = {"texts": ["a"], "metadata": {"": 7}, "value": 7}

    assert post(job_client, json.dumps(body), JSON).json["errors"] == {
        "metadata.(a name that is not shown)": [
            "Length must be between 1 and 64.",
            "Not a valid string.",
        ],
        "value": ["Unknown field."],
    }


@pytest.mark.parametrize(
    ("query", "field"),
    [("?metadata=7", "metadata"), ("?metadata={", "metadata"), ("?texts=a", "texts"),
     ("?model_version=..", "model_version")],
)  # fmt: skip
def test_query_parameter_that_is_wrong_is_named(job_client, query, field):
    answer = post(job_client, GOOD, query=query)

    assert (answer.status_code, list(answer.json["errors"])) == (422, [field])


@pytest.mark.parametrize(
    ("data", "kind", "headers"),
    [
        (GOOD, "text/csv", {}),
        (GOOD, None, {}),
        (GOOD, f"{NDJSON}; charset=latin-1", {}),
        (GOOD, NDJSON, {"Content-Encoding": "br"}),
    ],
)
def test_other_kinds_of_bodies_are_refused(job_client, data, kind, headers):
    answer = post(job_client, data, kind, headers)

    assert (answer.status_code, answer.json["code"]) == (415, "unsupported_media_type")
    assert "application/x-ndjson" in answer.json["detail"]


@pytest.mark.parametrize(
    ("data", "kind"), [(b"", NDJSON), (b"\n\n", NDJSON), (b'{"texts": []}', JSON)]
)
def test_job_without_texts_is_refused(job_client, redis_client, data, kind):
    answer = post(job_client, data, kind)

    assert (answer.status_code, answer.json["code"]) == (422, "job_empty")
    assert is_untouched(redis_client)


@pytest.mark.parametrize(
    "compressed",
    [GOOD, gzip.compress(GOOD * 100)[:-9], gzip.compress(GOOD)[:5], gzip.compress(GOOD) + b"junk"],
    ids=["not gzip", "cut off", "cut off in its head", "junk behind it"],
)
def test_damaged_gzip_is_refused(job_client, redis_client, compressed):
    answer = post(job_client, compressed, headers=GZIP)

    assert (answer.status_code, answer.json["code"]) == (400, "malformed_body")
    assert is_untouched(redis_client)


def test_gzip_inflates_to_no_more_than_a_job_may_have(small_client, redis_client):
    client = small_client(jobs=Jobs(max_bytes=1 << 20))
    bomb = gzip.compress(b"\n" * (64 << 20))

    answer = post(client, bomb, headers=GZIP)

    assert (answer.status_code, answer.json["code"]) == (413, "job_too_large")
    assert "1048576 bytes" in answer.json["detail"]
    assert is_untouched(redis_client)


def test_gzip_that_holds_nothing_comes_to_an_end(small_client, redis_client):
    client = small_client(jobs=Jobs(max_bytes=1 << 20))

    answer = post(client, gzip.compress(b"") * 60_000, headers=GZIP)

    assert (answer.status_code, answer.json["code"]) == (413, "job_too_large")
    assert is_untouched(redis_client)


@pytest.mark.parametrize("headers", [{}, GZIP], ids=["plain", "gzip"])
def test_large_json_is_refused_with_the_way_out(job_client, redis_client, headers):
    body = json.dumps({"texts": ["a good day"] * 100_000}).encode()

    answer = post(job_client, gzip.compress(body) if headers else body, JSON, headers)

    assert (answer.status_code, answer.json["code"]) == (413, "json_too_large")
    assert "application/x-ndjson" in answer.json["detail"]
    assert is_untouched(redis_client)


def test_body_that_is_cut_off_leaves_nothing(job_client, redis_client):
    body = io.BytesIO(b"\n".join([GOOD] * 300))

    answer = job_client.post(
        "/jobs",
        content_type=NDJSON,
        environ_overrides={"wsgi.input": body, "CONTENT_LENGTH": "9999"},
    )

    assert (answer.status_code, answer.json["code"]) == (400, "malformed_body")
    assert is_untouched(redis_client)


def test_body_is_never_in_memory_as_a_whole(job_client):
    class Pieces:
        """A body of 20,000 lines that notes how much is asked for at once."""

        def __init__(self):
            self.left, self.largest = 20_000, 0

        def read(self, size):
            self.largest = max(self.largest, size)
            lines = min(self.left, size // (len(GOOD) + 1))
            self.left -= lines
            return (GOOD + b"\n") * lines

    body = Pieces()

    answer = job_client.post("/jobs", content_type=NDJSON, environ_overrides={
        "wsgi.input": body, "wsgi.input_terminated": True})  # fmt: skip

    assert answer.json["request_counts"]["total"] == 20_000
    assert body.largest <= 1 << 16
