"""The alarm: a coroutine that waits for other threads."""

import asyncio
import gc
import threading
import time
import weakref

import pytest

from app.inference.alarm import MAX_AT_ONCE, Alarm


class CountingLoop(asyncio.SelectorEventLoop):
    """Knows how often other threads woke it."""

    wakeups = 0

    def call_soon_threadsafe(self, callback, *args, context=None):
        self.wakeups += 1
        return super().call_soon_threadsafe(callback, *args, context=context)


def run(main):
    """Run a coroutine on a loop that counts; its result and how often the loop was woken."""
    with asyncio.Runner(loop_factory=CountingLoop) as runner:
        return runner.run(main), runner.get_loop().wakeups


def in_thread(call):
    thread = threading.Thread(target=call)
    thread.start()
    return thread


async def waited_s(alarm, timeout_s):
    started = time.monotonic()
    await alarm.wait(timeout_s)
    return time.monotonic() - started


def test_alarm_set_by_another_thread_ends_the_wait():
    async def main():
        alarm = Alarm()
        in_thread(alarm.set)
        return await waited_s(alarm, 30)

    assert run(main())[0] < 10


def test_alarm_that_is_set_already_needs_no_wait():
    async def main():
        alarm = Alarm()
        thread = in_thread(alarm.set)
        await asyncio.to_thread(thread.join)
        return await waited_s(alarm, 30)

    assert run(main())[0] < 10


@pytest.mark.parametrize("timeout_s", [0.02, 0.0, -1.0])
def test_wait_ends_when_the_time_is_up(timeout_s):
    async def main():
        return await waited_s(Alarm(), timeout_s)

    assert max(timeout_s, 0.0) * 0.9 <= run(main())[0] < 10


def test_waits_share_a_timer():
    async def main():
        for _ in range(3):
            alarms = [Alarm() for _ in range(100)]
            waits = asyncio.gather(*(alarm.wait(3600) for alarm in alarms))
            in_thread(lambda alarms=alarms: [alarm.set() for alarm in alarms])
            await waits
        return len(asyncio.get_running_loop()._scheduled)

    assert run(main())[0] == 1


def test_many_alarms_are_set_with_one_wake_up():
    async def main():
        alarms = [Alarm() for _ in range(100)]

        def set_all():
            for alarm in alarms:
                alarm.set()

        waits = asyncio.gather(*(alarm.wait(30) for alarm in alarms))
        # The loop stands still meanwhile, as it does while it serves another request.
        in_thread(set_all).join()
        await waits

    assert run(main())[1] == 1


def test_loop_looks_at_what_came_meanwhile_before_all_are_answered():
    async def main():
        alarms = [Alarm() for _ in range(5 * MAX_AT_ONCE)]
        waits = [asyncio.create_task(alarm.wait(30)) for alarm in alarms]
        await asyncio.sleep(0)
        in_thread(lambda: [alarm.set() for alarm in alarms]).join()
        answered = []
        for _ in range(3):
            await asyncio.sleep(0)
            answered.append(sum(task.done() for task in waits))
        await asyncio.gather(*waits)
        return answered

    answered, wakeups = run(main())

    assert answered[0] <= MAX_AT_ONCE
    assert 0 < answered[2] <= 3 * MAX_AT_ONCE
    assert wakeups == 1


def test_loop_is_woken_again_after_it_was_woken():
    async def main():
        for _ in range(3):
            alarm = Alarm()
            in_thread(alarm.set)
            await alarm.wait(30)

    assert run(main())[1] == 3


def test_no_alarm_is_lost_however_many_threads_set_them():
    async def main():
        alarms = [[Alarm() for _ in range(500)] for _ in range(4)]
        waits = asyncio.gather(*(alarm.wait(30) for group in alarms for alarm in group))
        for group in alarms:
            in_thread(lambda group=group: [alarm.set() for alarm in group])
        started = time.monotonic()
        await waits
        return time.monotonic() - started

    assert run(main())[0] < 10


def test_alarm_that_nobody_waits_for_any_more_keeps_no_other_from_being_set():
    """Set twice, or after the time was up."""

    async def main():
        late, other = Alarm(), Alarm()
        await late.wait(0)
        for alarm in (late, late, other):
            alarm.set()
        return await waited_s(other, 30)

    assert run(main())[0] < 10


def test_cancelled_wait_is_cancelled_and_may_be_set_later():
    async def main():
        alarm = Alarm()
        task = asyncio.create_task(alarm.wait(30))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        alarm.set()
        await asyncio.sleep(0)
        return task.cancelled()

    assert run(main())[0]


async def make_alarm():
    return Alarm()


def test_alarm_of_a_loop_that_is_closed_does_no_harm_and_keeps_nothing():
    alarm, _ = run(make_alarm())

    for _ in range(3):
        alarm.set()

    assert not alarm._waits.wakeups._done


def test_loops_that_are_closed_are_let_go_of():
    """Through Flask each request has a loop of its own."""
    loops = []

    async def main():
        loops.append(weakref.ref(asyncio.get_running_loop()))
        alarm = Alarm()
        in_thread(alarm.set)
        await alarm.wait(30)

    for _ in range(5):
        run(main())
    gc.collect()

    # The last one may be held by its thread.
    assert [loop() for loop in loops[:-1]] == [None] * 4
