"""The address of Redis: a malformed one is refused, and nothing of it is quoted."""

import traceback

import pytest

from app.config import load
from app.errors import ConfigError

MALFORMED = {
    "slash in password": "redis://:s3cr/et@127.0.0.1:6379/0",
    "slash behind digits": "redis://:12/s3cr@127.0.0.1:6379/0",
    "hash in password": "redis://:s3cr#et@127.0.0.1:6379/0",
    "hash behind digits": "redis://:12#s3cr@127.0.0.1:6379/0",
    "question mark in password": "redis://:s3cr?et@127.0.0.1:6379/0",
    "question mark behind digits": "redis://:12?s3cr@127.0.0.1:6379/0",
    "port is a word": "redis://s3cr:notaport/0",
    "port too large": "redis://s3cr:99999/0",
    "open bracket": "redis://[::1",
    "database is a word": "redis://127.0.0.1:6379/s3cr",
    "database of a socket is a word": "unix:///s3cr.sock?db=x",
    "parameter of the wrong type": "redis://h/0?socket_timeout=s3cr",
}


@pytest.mark.parametrize("url", MALFORMED.values(), ids=MALFORMED)
def test_malformed_address_of_redis_is_refused_in_one_line_that_quotes_nothing(url):
    with pytest.raises(ConfigError, match=r"redis\.url: .*percent-encoded") as caught:
        load(None, {"MLSERVE_REDIS_URL": url})

    assert "\n" not in str(caught.value)
    # A process that is not the command line may print the whole error.
    assert "s3cr" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1",
        "redis://127.0.0.1:6379/",
        "redis://user:p%2Fa%23ss@[::1]:6379/15",
        "redis://:p@ss@h/0",
        "rediss://h:6380/0?ssl_cert_reqs=none",
        "redis://h/?db=3&password=a%26b",
        "unix:///run/redis.sock",
        "unix://:secret@/run/redis.sock?db=2",
    ],
)
def test_address_of_redis_may_have_every_part(url):
    assert load(None, {"MLSERVE_REDIS_URL": url}).settings.redis.url == url
