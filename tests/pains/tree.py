"""What the processes of a tree do that is killed as a whole."""

import treadle


def hold_and_wait(queue: treadle.Queue, ready: treadle.Queue) -> None:
    """Has memory, objects and a thread of its own in the arena, and waits for ever."""
    lock, event = treadle.Lock(), treadle.Event()
    lock.acquire()
    with queue.lease() as lease:
        queue.put(lease.item)
        ready.put("ready")
        event.wait()
