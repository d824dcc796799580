# queues.pxi: the public queues: the face of a store (stores.pxi).
#
# The classes repeat each other's shortest methods on purpose: CPython specialises a call only where the method belongs to
# the exact class.

cdef class Queue:
    """Queue(maxsize=0, *, shared=True, name=None, persist=False, maxbytes=0, label=None)\n--\n
    A first-in, first-out queue between threads and processes.

    A shared one passes items by value. A put happens entirely or not at all, whoever is killed. An item that was got by
    ``get`` is gone; one held by ``lease`` comes back if its holder dies. Numbers, str, bytes, None and tuples of them are
    written natively, everything else is pickled, by the caller of ``put``, to whom the errors of it belong.

    A private one (``shared=False``) passes references, of any objects, between the threads of one process.

    maxsize: how many items wait at most; 0 is no limit. maxbytes: how many bytes they may occupy, if shared; 0 is no limit
    (an item larger than that passes alone). name, persist: as those of Lock; what is in a persistent queue outlives the
    programs, but not the machine's next start. label: what reports call it; by default the name, or the module and line
    that made it.

    >>> import treadle
    >>> queue = treadle.Queue()
    >>> queue.put(("square", 7))
    >>> queue.get()
    ('square', 7)
    """

    cdef _Store store
    cdef list retired  # stores of before a second __init__: calls may be inside
    cdef object __weakref__

    def __init__(self, maxsize=0, *, shared=True, name=None, persist=False, maxbytes=0, label=None):
        self._make(maxsize, shared, maxbytes, label, name, persist)

    cdef int _make(self, maxsize, bint shared, maxbytes, label, name=None, bint persist=False) except -1:
        cdef _Naming named = _named(name, persist, shared)
        cdef bytes text = _label_of(label, name)
        maxsize = max(_whole(maxsize), 0)
        maxbytes = _whole(maxbytes)
        if maxbytes < 0:
            raise ValueError(f"maxbytes must be 0 (no limit) or more, not {maxbytes}")
        if maxbytes != 0 and not shared:
            raise ValueError("a private queue holds references, which have no size: it has no maxbytes")
        self._set_store(self._new_store(maxsize, shared, maxbytes, text, named))
        return 0

    cdef int _set_store(self, _Store store) except -1:
        if self.store is not None:
            if self.retired is None:
                self.retired = []
            self.retired.append(self.store)
        self.store = store
        return 0

    cdef _Store _new_store(self, uint64_t maxsize, bint shared, uint64_t maxbytes, bytes label, _Naming named):
        if not shared:
            return _local_store(maxsize, False, label)
        return _ring_store(maxsize, maxbytes, label, named, self._described(maxsize, maxbytes))

    cdef str _described(self, uint64_t maxsize, uint64_t maxbytes):
        """What whoever opens a queue by name must ask for as well."""
        return f"{self._kind()}({maxsize}, maxbytes={maxbytes})"

    cdef _Store _attached_store(self, bytes ticket):
        return _attached_ring_store(ticket)

    cdef inline int _made(self) except -1:
        if self.store is None:
            raise RuntimeError("Queue.__init__() was not called")
        return 0

    # ---- Putting

    def put(self, item, block=True, timeout=None):
        """Puts an item; waits while the queue is full.

        timeout: in seconds, None waits for ever. Raises Full (it took too long, or block is false), ShutDown,
        ArenaFullError (at once: it does not wait for memory), and whatever pickling the item raises; then nothing was
        put.

        >>> import treadle
        >>> treadle.Queue().put({"any": "value"})
        """
        self._made()
        self.store.put(item, FOREVER if block is True and timeout is None else _queue_timeout(block, timeout))

    def put_nowait(self, item):
        """Puts an item if there is room: ``put(item, block=False)``.

        >>> import treadle
        >>> queue = treadle.Queue(maxsize=1)
        >>> queue.put_nowait(1)
        >>> queue.put_nowait(2)
        Traceback (most recent call last):
        ...
        queue.Full
        """
        self.put(item, False)

    def put_many(self, items, timeout=None):
        """Puts all items, in order, with less effort than one by one.

        All are encoded before the first is put, so that one that cannot be pickled leaves the queue as it was. Each
        item is put entirely or not at all; the batch is not one unit: on Full or ShutDown those before it are in the
        queue. timeout: in seconds, for all of them; None waits for ever. Raises as ``put``.

        >>> import treadle
        >>> queue = treadle.Queue()
        >>> queue.put_many(range(3))
        >>> queue.qsize()
        3
        """
        self._made()
        self.store.put_many(items, _optional_timeout(timeout))

    # ---- Getting

    def get(self, block=True, timeout=None, *, copy=True):
        """Takes an item; waits while the queue is empty.

        timeout: in seconds, None waits for ever. copy: whether the large buffers of an item (NumPy arrays, ...) are
        copied out of shared memory; if not, they are views of it, which live as long as they are used. Raises Empty (it
        took too long, or block is false), ShutDown once the queue is shut down and nothing more can come, and ItemError
        if the item cannot be rebuilt; then that item is gone.

        If the rebuilding is interrupted (by Ctrl-C) or finds no memory, the item is not lost: it is out of the queue, but
        the next ``get`` or ``get_many`` of this object returns it (if it fails so every time, as an item does that raises
        SystemExit by itself, it is gone, with an ItemError). An Exception that a signal's handler raises just then cannot be
        told from one of the item's own.

        >>> import treadle
        >>> treadle.Queue().get(timeout=0.01)
        Traceback (most recent call last):
        ...
        _queue.Empty
        """
        self._made()
        return self.store.get(FOREVER if block is True and timeout is None else _queue_timeout(block, timeout), copy)

    def get_nowait(self):
        """Takes an item if there is one: ``get(block=False)``.

        >>> import treadle
        >>> queue = treadle.Queue()
        >>> queue.put(1)
        >>> queue.get_nowait()
        1
        """
        return self.get(False)

    def get_many(self, max_items, timeout=None):
        """Takes at least one item and at most max_items: waits for the first, then takes what is there.

        timeout: in seconds, None waits for ever. Raises ValueError if max_items is less than one, and as ``get``: an item
        that cannot be rebuilt ends the batch before it, and raises its ItemError in the next call.

        >>> import treadle
        >>> queue = treadle.Queue()
        >>> queue.put_many("abc")
        >>> queue.get_many(10)
        ['a', 'b', 'c']
        """
        self._made()
        cdef int64_t ns = _optional_timeout(timeout)
        max_items = _whole(max_items)
        if max_items < 1:
            raise ValueError(f"max_items must be one or more, not {max_items}")
        return self.store.get_many(min(max_items, 1 << 20), ns)

    def __iter__(self):
        """Yields items as they come, until the queue is shut down and empty.

        >>> import treadle
        >>> queue = treadle.Queue()
        >>> queue.put_many("ab")
        >>> queue.shutdown()
        >>> list(queue)
        ['a', 'b']
        """
        return self

    def __next__(self):
        try:
            return self.get()
        except ShutDown:
            raise StopIteration from None

    # ---- Leases

    def lease(self, timeout=None, *, copy=True):
        """Takes an item on lease: it is gone only once it is acknowledged, and comes back if this process dies.

        Returns a ``Lease``, which is a context manager: the item is acknowledged when the block ends well, and given
        back when it raises. timeout: in seconds, None waits for ever. copy: as of ``get``; whoever writes into the item
        without a copy changes what is delivered again. Raises as ``get``; where that keeps an item, this gives it back
        to the queue.

        After a shutdown, ``get`` and ``lease`` still wait while other threads, of any process, hold leases, since their
        items may come back. A thread that holds a lease itself does not wait for others': two would wait for each other.
        A lease counts as held by the thread that took it, whoever settles it.

        >>> import treadle
        >>> queue = treadle.Queue()
        >>> queue.put("job")
        >>> with queue.lease() as lease:
        ...     lease.item, lease.deliveries
        ('job', 1)
        >>> queue.empty()
        True
        """
        self._made()
        return _lease(self, self.store.claim(_optional_timeout(timeout), copy))

    # ---- Tasks

    def task_done(self):
        """Says that an item that was got is done with. Raises ValueError if more are done than were put.

        An acknowledged lease counts as done by itself, and an item out on lease by nothing else: so ``join`` does not return
        before the last lease is settled, and where only leased items are left, this raises.

        >>> import treadle
        >>> treadle.Queue().task_done()
        Traceback (most recent call last):
        ...
        ValueError: task_done() called too many times
        """
        self._made()
        if self.store.done() != DONE:
            raise self._too_many_done()

    cdef object _too_many_done(self):
        cdef QueueFigures figures
        self.store.figures(&figures)
        hint = "; an item on lease counts as done by its ack(), or the end of its with block" if figures.leased else ""
        return ValueError(f"task_done() called too many times{hint}")

    def join(self, timeout=None):
        """Waits until every item that was put is done with; returns whether that is so.

        timeout: in seconds, None waits for ever.

        >>> import treadle
        >>> queue = treadle.Queue()
        >>> queue.put(1)
        >>> queue.join(timeout=0.01)
        False
        """
        self._made()
        cdef int result = self.store.join(_optional_timeout(timeout))
        if result == INTERRUPTED:
            _interrupted()
        return result == DONE

    def shutdown(self, immediate=False):
        """Ends the queue: put raises ShutDown from now on, and get once the queue is empty.

        immediate: throw away what is in it, too; get raises ShutDown at once, and join returns.

        >>> import treadle
        >>> queue = treadle.Queue()
        >>> queue.shutdown()
        >>> try:
        ...     queue.put(1)
        ... except treadle.ShutDown:
        ...     "no more"
        'no more'
        """
        self._made()
        self.store.shut_down(immediate)

    # ---- For tasks

    @property
    def aio(self):
        """The same queue for tasks of event loops: a ``treadle.aio.Queue``.

        >>> import asyncio, treadle
        >>> queue = treadle.Queue()
        >>> async def main():
        ...     await queue.aio.put("hello")
        ...     return await queue.aio.get()
        >>> asyncio.run(main())
        'hello'
        """
        return _aio().Queue(self)

    def _put_now(self, item):
        self._made()
        return self.store.put_now(item)

    def _get_now(self, bint copy):
        self._made()
        return self.store.get_now(copy)

    def _putting_one(self, item, timeout):
        """As _putting, without a list."""
        self._made()
        _queue_timeout(True, timeout)
        cdef _PutWaiter waiter = _PutWaiter.__new__(_PutWaiter)
        waiter._set_timeout(timeout)
        waiter.store = self.store
        waiter.one = True
        waiter.prepared = self.store.prepare_one(item)
        return waiter

    def _putting(self, list items, timeout):
        """What gives, awaited, True when all are in; or the time is up, PENDING. `items` is the caller's no longer."""
        self._made()
        _queue_timeout(True, timeout)
        cdef _PutWaiter waiter = _PutWaiter.__new__(_PutWaiter)
        waiter._set_timeout(timeout)
        waiter.store = self.store
        waiter.prepared = self.store.prepare(items)
        return waiter

    def _getting(self, bint copy, timeout):
        """What gives, awaited, an item; or the time is up, PENDING."""
        self._made()
        _queue_timeout(True, timeout)
        cdef _GetWaiter waiter = _GetWaiter.__new__(_GetWaiter)
        waiter._set_timeout(timeout)
        waiter.store = self.store
        waiter.copy = copy
        return waiter

    def _attempt_get_many(self, uint32_t wanted, Waiter waiter not None):
        self._made()
        return self.store.attempt_get_many(wanted, waiter)

    def _attempt_lease(self, Waiter waiter not None):
        self._made()
        claim = self.store.attempt_claim(waiter)
        return _PENDING if claim is _PENDING else _lease(self, claim)

    def _attempt_join(self, Waiter waiter not None):
        self._made()
        return self.store.attempt_join(waiter)

    # ---- Looking

    def qsize(self):
        """Returns how many items wait, at this instant; what is out on lease is not counted.

        >>> import treadle
        >>> treadle.Queue().qsize()
        0
        """
        self._made()
        return self.store.size()

    def empty(self):
        """Returns whether no item waits, at this instant; false right after a put.

        >>> import treadle
        >>> treadle.Queue().empty()
        True
        """
        self._made()
        return self.store.size() == 0

    def full(self):
        """Returns whether the queue has no room, at this instant.

        >>> import treadle
        >>> treadle.Queue().full()
        False
        """
        self._made()
        return self.store.full()

    @property
    def maxsize(self):
        """How many items wait at most; 0 is no limit.

        >>> import treadle
        >>> treadle.Queue(8).maxsize
        8
        """
        self._made()
        cdef QueueFigures figures
        self.store.figures(&figures)
        return figures.max_items

    @property
    def maxbytes(self):
        """How many bytes the waiting items may occupy; 0 is no limit.

        >>> import treadle
        >>> treadle.Queue(maxbytes=1 << 20).maxbytes
        1048576
        """
        self._made()
        cdef QueueFigures figures
        self.store.figures(&figures)
        return figures.max_bytes

    @property
    def is_shutdown(self):
        """Whether the queue was shut down.

        >>> import treadle
        >>> treadle.Queue().is_shutdown
        False
        """
        self._made()
        cdef QueueFigures figures
        self.store.figures(&figures)
        return bool(figures.shut)

    @property
    def label(self):
        """What reports call it.

        >>> import treadle
        >>> treadle.Queue(label="jobs").label
        'jobs'
        """
        self._made()
        return self.store.label()

    @property
    def shared(self):
        """Whether the state lies in shared memory, for all processes.

        >>> import treadle
        >>> treadle.Queue().shared
        True
        """
        self._made()
        return self.store.handle.mapping != NULL

    @property
    def name(self):
        """By what name other programs find it, or None.

        >>> import treadle
        >>> treadle.Queue(name="books to print").name
        'books to print'
        """
        self._made()
        return _name_of(self.store.handle)

    def statistics(self):
        """Returns a ``QueueStatistics``.

        >>> import treadle
        >>> treadle.Queue().statistics().puts
        0
        """
        self._made()
        cdef QueueFigures figures
        self.store.figures(&figures)
        return _records().QueueStatistics(
            label=self.store.label(),
            shared=self.store.handle.mapping != NULL,
            qsize=figures.size,
            maxsize=figures.max_items,
            bytes=figures.bytes,
            maxbytes=figures.max_bytes,
            puts=figures.puts,
            gets=figures.taken,
            unfinished=figures.unfinished,
            leased=figures.leased,
            redelivered=figures.redelivered,
            waiting=count_waiting(self.store.handle),
            is_shutdown=bool(figures.shut),
        )

    def __repr__(self):
        self._made()
        cdef QueueFigures figures
        self.store.figures(&figures)
        of = f"/{figures.max_items}" if figures.max_items else ""
        storage = "shared" if self.store.handle.mapping != NULL else "private"
        state = " shut down" if figures.shut else ""
        return f"<treadle.{self._kind()} {self.store.label()!r}, {storage}: qsize={figures.size}{of}{state}>"

    cdef str _kind(self):
        return "Queue"

    def __reduce__(self):
        self._made()
        if self.store.handle.mapping == NULL:
            raise TypeError(f"cannot pickle a private treadle.{self._kind()}; make it with shared=True")
        return _reduced(self, _rebuild_queue, (_ticket_of(self.store.handle, self.store),))

    __class_getitem__ = classmethod(type(list[int]))  # types.GenericAlias


def _rebuild_queue(of, ticket):
    cdef Queue queue = of.__new__(of)
    queue.store = queue._attached_store(ticket)
    return queue


cdef int64_t _queue_timeout(block, timeout) except? -2:
    if not block:
        return 0
    if timeout is None:
        return FOREVER
    if timeout < 0:
        raise ValueError("'timeout' must be a non-negative number")
    return _nanoseconds(timeout)


cdef class LifoQueue(Queue):
    """LifoQueue(maxsize=0, *, shared=True, name=None, persist=False, maxbytes=0, label=None)\n--\n
    A stack: a ``Queue`` that gives out first what was put last. What comes back from a lease is as old as it was.

    >>> import treadle
    >>> stack = treadle.LifoQueue(shared=False)
    >>> stack.put_many("abc")
    >>> stack.get()
    'c'
    """

    def __init__(self, maxsize=0, *, shared=True, name=None, persist=False, maxbytes=0, label=None):
        self._make(maxsize, shared, maxbytes, label, name, persist)

    cdef _Store _new_store(self, uint64_t maxsize, bint shared, uint64_t maxbytes, bytes label, _Naming named):
        if not shared:
            return _local_store(maxsize, True, label)
        return _ordered_store(False, maxsize, maxbytes, label, named, self._described(maxsize, maxbytes))

    cdef _Store _attached_store(self, bytes ticket):
        return _attached_ordered_store(False, ticket)

    cdef str _kind(self):
        return "LifoQueue"

    def put(self, item, block=True, timeout=None):
        """Puts an item: as ``Queue.put``.

        >>> import treadle
        >>> treadle.LifoQueue(shared=False).put(1)
        """
        self._made()
        self.store.put(item, FOREVER if block is True and timeout is None else _queue_timeout(block, timeout))

    def get(self, block=True, timeout=None, *, copy=True):
        """Takes the item that was put last: as ``Queue.get``.

        >>> import treadle
        >>> stack = treadle.LifoQueue(shared=False)
        >>> stack.put(1)
        >>> stack.get()
        1
        """
        self._made()
        return self.store.get(FOREVER if block is True and timeout is None else _queue_timeout(block, timeout), copy)


cdef class PriorityQueue(Queue):
    """PriorityQueue(maxsize=0, *, shared=True, name=None, persist=False, maxbytes=0, label=None)\n--\n
    A ``Queue`` that gives out the least item first.

    A shared one orders None, numbers, bytes, str and tuples of them as Python does (and where Python cannot, in the order of
    this list); equal items come out as they came. A tuple with elements that have no order goes by those before the first of
    them, so that ``(priority, anything)`` can be put. Other items raise TypeError, and integers beyond all floats
    OverflowError; then nothing was put. What comes back from a lease has the place that it had.

    A private one compares the items as Python does (``<``). A comparison that raises leaves the queue as it was; it must
    not use the queue itself (RuntimeError).

    >>> import treadle
    >>> jobs = treadle.PriorityQueue()
    >>> jobs.put_many([(2, ["sweep"]), (1, {"page": 1}), (1, {"page": 2})])
    >>> jobs.get_many(3)
    [(1, {'page': 1}), (1, {'page': 2}), (2, ['sweep'])]
    >>> queue = treadle.PriorityQueue(shared=False)
    >>> queue.put_many([3, 1, 2])
    >>> queue.get()
    1
    """

    def __init__(self, maxsize=0, *, shared=True, name=None, persist=False, maxbytes=0, label=None):
        self._make(maxsize, shared, maxbytes, label, name, persist)

    cdef _Store _new_store(self, uint64_t maxsize, bint shared, uint64_t maxbytes, bytes label, _Naming named):
        if not shared:
            return _heap_store(maxsize, label)
        return _ordered_store(True, maxsize, maxbytes, label, named, self._described(maxsize, maxbytes))

    cdef _Store _attached_store(self, bytes ticket):
        return _attached_ordered_store(True, ticket)

    cdef str _kind(self):
        return "PriorityQueue"

    def put(self, item, block=True, timeout=None):
        """Puts an item: as ``Queue.put``.

        >>> import treadle
        >>> treadle.PriorityQueue(shared=False).put(1)
        """
        self._made()
        self.store.put(item, FOREVER if block is True and timeout is None else _queue_timeout(block, timeout))

    def get(self, block=True, timeout=None, *, copy=True):
        """Takes the least item: as ``Queue.get``.

        >>> import treadle
        >>> queue = treadle.PriorityQueue(shared=False)
        >>> queue.put(1)
        >>> queue.get()
        1
        """
        self._made()
        return self.store.get(FOREVER if block is True and timeout is None else _queue_timeout(block, timeout), copy)


cdef class SimpleQueue(Queue):
    """SimpleQueue(*, shared=True, name=None, persist=False, label=None)\n--\n
    A ``Queue`` without a bound.

    A private one may be put into from anywhere, as ``queue.SimpleQueue``: also from a finalizer, or a handler of signals,
    that runs in the midst of another call of it.

    >>> import treadle
    >>> queue = treadle.SimpleQueue(shared=False)
    >>> queue.put([1, 2])
    >>> queue.get()
    [1, 2]
    """

    def __init__(self, *, shared=True, name=None, persist=False, label=None):
        self._make(0, shared, 0, label, name, persist)

    cdef str _kind(self):
        return "SimpleQueue"

    def put(self, item, block=True, timeout=None):
        """Puts an item; never waits. block and timeout: for the sake of ``Queue.put``.

        >>> import treadle
        >>> treadle.SimpleQueue(shared=False).put(1)
        """
        self._made()
        self.store.put(item, FOREVER)

    def get(self, block=True, timeout=None, *, copy=True):
        """Takes an item: as ``Queue.get``.

        >>> import treadle
        >>> queue = treadle.SimpleQueue(shared=False)
        >>> queue.put(1)
        >>> queue.get()
        1
        """
        self._made()
        return self.store.get(FOREVER if block is True and timeout is None else _queue_timeout(block, timeout), copy)
