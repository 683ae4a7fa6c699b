"""Harness. Single texts on a fixed schedule, whether or not answers come; each answer is kept.

One event loop and plain HTTP/1.1, so that the load takes little of the cores that it shares.
"""

import asyncio
import json
import time
from typing import NamedTuple

from benchmarks.texts import Texts

TIMEOUT_S = 10.0


class Answer(NamedTuple):
    """The answer to one text; `status` 0 where none came. Times are monotonic seconds."""

    number: int
    status: int
    body: bytes
    due_at: float
    took_s: float


class Schedule(NamedTuple):
    """`rate` requests a second over `connections`, for `seconds`, texts from `first` on."""

    port: int
    rate: float
    connections: int
    seconds: float
    first: int


def run(schedule: Schedule, texts: Texts) -> list[Answer]:
    """All answers, in the order of their texts."""
    return asyncio.run(_run(schedule, texts))


async def _run(schedule: Schedule, texts: Texts) -> list[Answer]:
    answers: list[Answer] = []
    begin = time.monotonic() + 0.1
    callers = (_call(schedule, texts, n, begin, answers) for n in range(schedule.connections))
    await asyncio.gather(*callers)
    return sorted(answers)


async def _call(
    schedule: Schedule, texts: Texts, caller: int, begin: float, answers: list[Answer]
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", schedule.port)
    total = int(schedule.rate * schedule.seconds)
    try:
        for place in range(caller, total, schedule.connections):
            due_at = begin + place / schedule.rate
            await asyncio.sleep(max(0.0, due_at - time.monotonic()))
            number = schedule.first + place
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    status, body = await ask(reader, writer, texts.at(number))
            except (OSError, EOFError, ValueError):
                status, body = 0, b""
                reader, writer = await asyncio.open_connection("127.0.0.1", schedule.port)
            answers.append(Answer(number, status, body, due_at, time.monotonic() - due_at))
    finally:
        writer.close()


async def ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: str
) -> tuple[int, bytes]:
    """Status and body of the answer to one text; raises `OSError`, `EOFError` or `ValueError`."""
    body = json.dumps({"text": text}).encode()
    head = f"POST /predict HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n"
    writer.write(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
    lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
    length = next(line for line in lines if line.startswith(b"content-length:"))
    return int(lines[0].split()[1]), await reader.readexactly(int(length[15:]))
