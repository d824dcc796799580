"""A program with annotations as programs have them, on the drop-ins: see test_typing.py."""

from __future__ import annotations

from typing import Any

from treadle import asyncio, queue, threading


class Account:
    lock: threading.RLock = threading.RLock()

    def __init__(self) -> None:
        self.lock_of_its_own = threading.Lock()
        self.changed: threading.Condition = threading.Condition(self.lock_of_its_own)
        self.closing: threading.Event | None = None
        self.permits: threading.Semaphore = threading.BoundedSemaphore(2)
        self.timer: threading.Timer = threading.Timer(1.0, self.close, args=("late",))

    def close(self, why: str) -> None:
        self.closing = self.closing or threading.Event()
        self.closing.set()
        with self.lock, self.changed:
            self.changed.notify_all()


def guarded(lock: threading.Lock, seconds: float) -> bool:
    if lock.acquire(timeout=seconds):
        lock.release()
    with lock:
        return lock.locked()


class Jobs(queue.Queue[str]):
    def peek(self) -> str | None:
        with self.mutex:
            return self.queue[0] if self.queue else None

    def wait(self, seconds: float) -> bool:
        with self.all_tasks_done:
            return self.all_tasks_done.wait_for(lambda: self.unfinished_tasks == 0, seconds)

    def _put(self, item: str) -> None:
        super()._put(item)
        self.not_empty.notify()

    def _qsize(self) -> int:
        return len(self.queue)


class Latest(queue.PriorityQueue[tuple[int, str]]):
    def drop(self) -> None:
        self.queue.clear()
        with self.not_full:
            self.not_full.notify_all()


class Pages(asyncio.Queue[bytes]):
    def first(self) -> Any:
        return self._queue[0]

    def put_nowait(self, item: bytes) -> None:
        super().put_nowait(item)


async def fetch(pages: asyncio.Queue[bytes], lock: asyncio.Lock) -> bytes:
    async with lock:
        try:
            return await pages.get()
        except asyncio.CancelledError:
            return b""


def main() -> None:
    guarded(threading.Lock(), 1.0)
    of_any_thread: threading.Lock = threading.Lock()
    jobs = Jobs(maxsize=8)
    jobs.put("job")
    threading.Condition(jobs.mutex)
    plain: queue.Queue[str] = jobs
    text: str = plain.get()
    pages = Pages()
    pages.put_nowait(text.encode())
    asyncio.run(fetch(pages, asyncio.Lock()))
    assert not of_any_thread.locked()
    jobs.task_done()
    assert jobs.peek() is None
    assert jobs.wait(1.0)
    Account().close("early")


if __name__ == "__main__":
    main()
