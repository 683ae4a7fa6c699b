"""Which addresses a webhook may have, and its signature."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import WebhookRefused
from app.jobs.webhooks import check, may_connect, sign, target_of
from app.settings import Jobs, Settings

SECRET = "correct-horse-battery-staple"
ALLOWED = ["hooks.example.org", "*.example.com", "10.0.0.7", "93.184.216.34", "::1"]


def settings(allow=ALLOWED, private=False):
    jobs = Jobs(webhook_allow=allow, webhook_secret=SECRET, webhook_allow_private=private)
    return Settings(jobs=jobs)


GOOD = {
    "https://hooks.example.org": ("hooks.example.org", 443, "/", "hooks.example.org"),
    "https://HOOKS.example.org./a/b?c=d": ("hooks.example.org", 443, "/a/b?c=d", None),
    "https://a.b.example.com:8443/x": ("a.b.example.com", 8443, "/x", "a.b.example.com:8443"),
    "https://93.184.216.34/x": ("93.184.216.34", 443, "/x", "93.184.216.34"),
}


@pytest.mark.parametrize("url", GOOD)
def test_address_of_an_allowed_host_is_taken_apart(url):
    host, port, path, authority = GOOD[url]

    target = target_of(url, settings())

    assert (target.host, target.port, target.path) == (host, port, path)
    assert authority in (target.authority, None)


REFUSED = {
    "other host": ("https://example.net/", "example.net is not in jobs.webhook_allow"),
    "host that ends alike": ("https://evilhooks.example.org/", "not in jobs.webhook_allow"),
    "parent of a suffix": ("https://example.com/", "not in jobs.webhook_allow"),
    "end of a suffix alone": ("https://evilexample.com/", "not in jobs.webhook_allow"),
    "plain http": ("http://hooks.example.org/", "must begin with https"),
    "other scheme": ("ftp://hooks.example.org/", "must begin with https"),
    "no scheme": ("hooks.example.org", "must begin with https"),
    "user name": ("https://hooks.example.org@evil.net/", "no user name"),
    "empty user name": ("https://@hooks.example.org/", "no user name"),
    "fragment": ("https://hooks.example.org/#x", "fragment"),
    "backslash": ("https://hooks.example.org\\@evil.net/", "printable"),
    "line end": ("https://hooks.exam\nple.org/", "printable"),
    "space": ("https://hooks.example.org/a b", "printable"),
    "not ASCII": ("https://hooks.exämple.org/", "printable"),
    "too long": ("https://hooks.example.org/" + "a" * 2048, "at most 2048"),
    "port that is none": ("https://hooks.example.org:99999/", "not a URL"),
    "no host": ("https:///path", "no valid host"),
    "broken brackets": ("https://[::1/", "not a URL"),
    "scope": ("https://[fe80::1%25eth0]/", "no valid host"),
    "private address": ("https://10.0.0.7/", "not a public address"),
    "loopback": ("https://[::1]/", "not a public address"),
}


@pytest.mark.parametrize(("url", "reason"), REFUSED.values(), ids=REFUSED)
def test_other_address_is_refused_with_the_reason(url, reason):
    with pytest.raises(WebhookRefused, match=reason) as refused:
        check(url, settings())

    assert list(refused.value.errors) == ["webhook"]


def test_no_host_is_allowed_by_default():
    with pytest.raises(WebhookRefused, match="not in jobs"):
        check("https://hooks.example.org/", Settings())


@pytest.mark.parametrize("url", ["https://10.0.0.7/", "http://hooks.example.org/", "http://[::1]/"])
def test_private_networks_are_for_who_allows_them(url):
    check(url, settings(private=True))


def test_link_local_address_is_refused_even_then():
    with pytest.raises(WebhookRefused, match="not a public address"):
        check("http://169.254.169.254/", settings(["169.254.169.254"], private=True))


@given(st.text(max_size=60))
def test_any_text_is_taken_or_refused(text):
    for url in (text, f"https://{text}", f"https://hooks.example.org{text}"):
        try:
            target = target_of(url, settings())
        except WebhookRefused:
            continue
        assert target.host in ALLOWED or target.host.endswith(".example.com")


NOT_PUBLIC = (
    "127.0.0.1 10.1.2.3 172.16.0.1 192.168.1.1 100.64.0.1 192.0.2.1 198.18.0.1 ::1 fc00::1 fd00::1"
    " ::ffff:10.1.2.3 64:ff9b::a01:203 2002:a01:203::1"
)
NEVER = (
    "0.0.0.0 169.254.169.254 224.0.0.1 240.0.0.1 255.255.255.255 :: fe80::1 ff02::1"
    " ::ffff:169.254.169.254 64:ff9b::a9fe:a9fe ::ffff:0.0.0.0"
)


@pytest.mark.parametrize("text", f"{NOT_PUBLIC} {NEVER}".split())
def test_address_that_is_not_public_is_not_connected_to(text):
    address = ipaddress.ip_address(text)

    assert not may_connect(address, "https", allow_private=False)
    assert may_connect(address, "https", allow_private=True) == (text not in NEVER.split())


@pytest.mark.parametrize("text", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34"])
def test_public_address_is_connected_to_by_https_alone(text):
    address = ipaddress.ip_address(text)

    assert may_connect(address, "https", allow_private=False)
    assert not may_connect(address, "http", allow_private=True)


def test_signature_is_the_hmac_of_time_and_body():
    # openssl: printf '1800000000.{"id":"x"}' | openssl dgst -sha256 -hmac $SECRET
    expected = "42228f7d0d1c2bb8750139f8c8cab9c0d36ff4c62fe7461f27c79ead36645ed3"

    assert sign(b'{"id":"x"}', SECRET, 1_800_000_000) == f"t=1800000000,v1={expected}"
