"""Replies on their way into mailboxes, while connections and Redis fail."""

import logging

import pytest
import redis

from app.mailbox import MAILBOX_TTL_S, ReplyWriter
from tests.waiting import eventually


@pytest.fixture
def writer(server):
    """As in a worker: over one connection of a pool of its own."""
    pool = redis.ConnectionPool.from_url(server.url)
    yield ReplyWriter(pool.get_connection)
    pool.disconnect()


def cut_connections(client):
    client.client_kill_filter(_type="normal", skipme=True)


def distinct(client, mailbox):
    return list(dict.fromkeys(client.lrange(mailbox, 0, -1)))


def test_replies_arrive_in_order_and_expire(writer, client):
    for reply in (b"a", b"b", b"c"):
        writer.write("box", reply)

    assert client.lrange("box", 0, -1) == [b"a", b"b", b"c"]
    assert 0 < client.ttl("box") <= MAILBOX_TTL_S


def test_reply_that_was_not_confirmed_is_written_again_over_a_new_connection(writer, client):
    client.client_pause(10_000, all=False)
    writer.write("first", b"a")
    cut_connections(client)
    client.client_unpause()

    writer.write("second", b"b")

    assert client.lrange("first", 0, -1) == [b"a"]
    assert client.lrange("second", 0, -1) == [b"b"]


def test_reply_arrives_though_redis_closed_the_idle_connection(tcp_redis):
    """What is sent into such a socket is lost silently, other than with a path."""
    pool = redis.ConnectionPool.from_url(tcp_redis.url)
    writer = ReplyWriter(pool.get_connection)
    with tcp_redis.client() as client:
        client.config_set("timeout", 1)
        writer.write("box", b"a")
        eventually(lambda: client.info("clients")["connected_clients"] == 1)
        writer.write("box", b"b")

        eventually(lambda: client.lrange("box", 0, -1) == [b"a", b"b"])
    pool.disconnect()


def test_every_reply_arrives_when_connections_are_cut_again_and_again(writer, client):
    replies = [b"%d" % number for number in range(30)]
    for reply in replies:
        writer.write("box", reply)
        cut_connections(client)

    assert distinct(client, "box") == replies


def test_write_fails_while_redis_is_down_and_then_succeeds(server, writer, client):
    writer.write("box", b"a")
    server.kill()
    with pytest.raises(redis.RedisError):
        writer.write("box", b"b")

    server.start()
    writer.write("box", b"b")

    assert distinct(client, "box") == [b"a", b"b"]


def test_reply_that_redis_refuses_is_logged_and_the_next_one_is_written(writer, client, caplog):
    client.set("not-a-list", "x")
    writer.write("not-a-list", b"a")

    with caplog.at_level(logging.ERROR):
        writer.write("box", b"b")
        writer.write("box", b"c")

    assert [record.getMessage() for record in caplog.records] == ["reply refused by Redis"]
    assert client.lrange("box", 0, -1) == [b"b", b"c"]


def test_interruption_while_answers_are_read_loses_no_reply(writer, client, monkeypatch):
    writer.write("box", b"a")

    def interrupted(**_):
        writer._connection.disconnect()
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(writer._connection, "read_response", interrupted)
        with pytest.raises(MemoryError):
            writer.write("box", b"b")
    writer.write("box", b"b")

    assert distinct(client, "box") == [b"a", b"b"]
