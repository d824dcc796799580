"""Pipe for tasks of event loops: ``end.aio``."""

from __future__ import annotations

import asyncio
from multiprocessing.connection import Connection

import pytest

import treadle
from tests.channels.pipe_work import echo
from tests.channels.pipes import Answer, fill, is_readable, until_waiting
from tests.sync.children import forked


async def _until_waiting(task: asyncio.Task[object]) -> None:
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()


def test_tasks_talk() -> None:
    async def main() -> None:
        here, there = treadle.Pipe()
        receiving = asyncio.create_task(there.aio.recv())
        await _until_waiting(receiving)
        await here.aio.send({"a": 1})
        assert await receiving == {"a": 1}
        for size in (0, 100, 100_000):
            await there.aio.send_bytes(bytes(size))
            assert await here.aio.recv_bytes() == bytes(size)
        await here.aio.send_bytes(b"abcdef", 2, 3)
        assert await there.aio.recv_bytes() == b"cde"

    asyncio.run(main())


def test_a_task_talks_with_a_thread_and_a_process() -> None:
    async def main() -> None:
        here, there = treadle.Pipe()
        answer = Answer(there.recv)
        await here.aio.send("to the thread")
        assert answer.get() == "to the thread"
        receiving = asyncio.create_task(here.aio.recv())
        await _until_waiting(receiving)
        Answer(there.send, "from the thread").get()
        assert await receiving == "from the thread"

        def serve(_line: Connection) -> None:
            here.close()
            echo(there)

        with forked(serve):
            there.close()
            for value in (1, "text", b"x" * 100_000):
                await here.aio.send(value)
                assert await here.aio.recv() == value
            here.close()

    asyncio.run(main())


def test_a_task_waits_for_room() -> None:
    async def main() -> None:
        here, there = treadle.Pipe()
        count = fill(here)
        sending = asyncio.create_task(here.aio.send_bytes(bytes(1 << 16)))
        await _until_waiting(sending)
        for _ in range(count):
            await there.aio.recv_bytes()
        await sending
        assert len(await there.aio.recv_bytes()) == 1 << 16

    asyncio.run(main())


def test_a_cancelled_task_takes_nothing() -> None:
    async def main() -> None:
        here, there = treadle.Pipe()
        tasks = [asyncio.create_task(there.aio.recv()) for _ in range(3)]
        await _until_waiting(tasks[0])
        tasks[0].cancel()
        await here.aio.send(1)
        tasks[1].cancel()
        await here.aio.send(2)
        got = await asyncio.gather(*tasks, return_exceptions=True)
        received = {value for value in got if isinstance(value, int)}
        while there.poll():
            received.add(await there.aio.recv())
        assert received == {1, 2}

    asyncio.run(main())


@pytest.mark.parametrize("waiting", [False, True])
def test_a_close_of_the_other_end_is_the_end(waiting: bool) -> None:
    async def main() -> None:
        here, there = treadle.Pipe()
        receiving = asyncio.create_task(here.aio.recv())
        if waiting:
            await _until_waiting(receiving)
        there.close()
        with pytest.raises(EOFError):
            await receiving
        with pytest.raises(BrokenPipeError):
            await here.aio.send(1)

    asyncio.run(main())


def test_tasks_hear_of_a_close_though_a_thread_uses_the_end() -> None:
    async def main() -> None:
        here, there = treadle.Pipe()
        receiving = asyncio.create_task(here.aio.recv())
        await _until_waiting(receiving)
        thread = Answer(here.recv)
        until_waiting(here)
        here.close()
        with pytest.raises(OSError, match="closed"):
            await receiving
        there.send("to the thread, whose call goes on")
        assert thread.get() == "to the thread, whose call goes on"

    asyncio.run(main())


def test_tasks_of_the_other_end_hear_of_a_close_that_a_thread_has_put_off() -> None:
    async def main() -> None:
        here, there = treadle.Pipe()
        thread = Answer(here.recv)
        until_waiting(here)
        receiving = asyncio.create_task(there.aio.recv())
        await _until_waiting(receiving)
        here.close()
        await _until_waiting(receiving)
        there.send("enough")
        with pytest.raises(EOFError):
            await receiving
        assert thread.get() == "enough"

    asyncio.run(main())


def test_the_death_of_the_other_process_is_the_end() -> None:
    async def main() -> None:
        here, there = treadle.Pipe()
        with forked(lambda line: (here.close(), line.recv())) as child:
            there.close()
            receiving = asyncio.create_task(here.aio.recv())
            await _until_waiting(receiving)
            child.kill()
            child.status = 0
            with pytest.raises(EOFError):
                await receiving

    asyncio.run(main())


def test_a_task_leaves_the_sign_of_an_exposed_end_right() -> None:
    async def main() -> None:
        here, there = treadle.Pipe()
        assert not is_readable(there)
        receiving = asyncio.create_task(there.aio.recv())
        await _until_waiting(receiving)
        await here.aio.send(1)
        await receiving
        assert not is_readable(there)
        await here.aio.send(2)
        assert is_readable(there)

    asyncio.run(main())
