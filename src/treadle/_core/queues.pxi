# queues.pxi: Queue.

cdef enum:
    BATCH_BYTES = 65536  # frames copied at a time by get_many and put_many


@cython.no_gc_clear  # what a finalizer may still call needs the leftovers
cdef class Queue:
    """Queue(maxsize=0, *, maxbytes=0, label=None)\n--\n
    A first-in, first-out queue between threads and processes, which passes items by value.

    A put happens entirely or not at all, whoever is killed. An item that was got by ``get`` is gone; one held by
    ``lease`` comes back if its holder dies.

    maxsize: how many items wait at most; 0 is no limit. maxbytes: how many bytes they may occupy; 0 is no limit (an
    item larger than that passes alone). label: what reports call it; by default the module and line that made it.

    Numbers, str, bytes, None and tuples of them are written natively, everything else is pickled, by the caller of
    ``put``, to whom the errors of it belong.

    >>> import treadle
    >>> queue = treadle.Queue()
    >>> queue.put(("square", 7))
    >>> queue.get()
    ('square', 7)
    """

    cdef Handle handle
    cdef _Leftovers leftovers
    cdef object __weakref__

    def __cinit__(self, *args, **kwargs):
        self.leftovers = _Leftovers.__new__(_Leftovers)

    def __init__(self, maxsize=0, *, maxbytes=0, label=None):
        cdef bytes text = _label(label)
        cdef Mapping* mapping
        cdef Handle made
        maxsize = _whole(maxsize)
        maxbytes = _whole(maxbytes)
        if maxbytes < 0:
            raise ValueError(f"maxbytes must be 0 (no limit) or more, not {maxbytes}")
        mapping = _home()
        if not make_queue(mapping, _token_in(mapping), max(maxsize, 0), maxbytes, text, made):
            raise _arena_full("a queue")
        drop_object(self.handle)  # __init__ may be called again
        self.handle = made
        self.leftovers.clear()

    def __dealloc__(self):
        drop_object(self.handle)

    cdef inline int _made(self) except -1:
        if self.handle.mapping == NULL:
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
        cdef char frame[LARGEST_FRAME_BYTES]
        cdef char* start = frame
        cdef list holds = None
        cdef Writer writer = Writer(start + FRAME_HEADER, 0, LARGEST_FRAME)
        # The common case, without a list made: see _encode_frame for the rest.
        if _encode(item, &writer, 0) == NATIVE:
            write_frame_header(self.handle.mapping, writer.size, 0, frame)
        else:
            holds = []
            _encode_frame(self.handle.mapping, item, frame, holds)
        self._put_frames(frame, 1, _queue_timeout(block, timeout))

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
        cdef char frame[LARGEST_FRAME_BYTES]
        cdef char* frames = NULL
        cdef uint64_t size = 0, room = 0
        cdef uint32_t bytes, count = 0
        cdef char* larger
        cdef list holds = []
        try:
            for item in items:
                bytes = _encode_frame(self.handle.mapping, item, frame, holds)
                if size + bytes > room:
                    room = max(2 * room, BATCH_BYTES)
                    larger = <char*>realloc(frames, room)
                    if larger == NULL:
                        raise MemoryError
                    frames = larger
                memcpy(frames + size, frame, bytes)
                size += bytes
                count += 1
            if count != 0:
                self._put_frames(frames, count, _optional_timeout(timeout))
        finally:
            free(frames)

    cdef _put_frames(self, const char* frames, uint32_t count, int64_t timeout):
        cdef Token token = _token(self.handle)
        cdef Taken accepted
        cdef int result
        cdef double deadline = 0
        if timeout != FOREVER and timeout != 0 and count > 1:
            deadline = time.monotonic() + timeout / 1e9
        while True:
            result = queue_put(self.handle, token, frames, count, timeout, &accepted)
            if result != DONE:
                self._put_failed(result)
            count -= accepted.items
            if count == 0:
                return
            frames += accepted.bytes
            if deadline != 0:
                timeout = _nanoseconds(max(deadline - time.monotonic(), 0.0))

    cdef _put_failed(self, int result):
        if result == TIMEOUT:
            raise Full
        if result == SHUT:
            raise ShutDown
        if result == INTERRUPTED:
            _interrupted()
        raise _arena_full("another item")

    # ---- Getting

    def get(self, block=True, timeout=None, *, copy=True):
        """Takes an item; waits while the queue is empty.

        timeout: in seconds, None waits for ever. copy: whether the large buffers of an item (NumPy arrays, ...) are
        copied out of shared memory; if not, they are views of it, which live as long as they are used. Raises Empty (it
        took too long, or block is false), ShutDown once the queue is shut down and nothing more can come, and ItemError
        if the item cannot be rebuilt; then that item is gone.

        If the rebuilding is interrupted (by Ctrl-C) or finds no memory, the item is not lost: it is out of the queue, but
        the next ``get`` or ``get_many`` of this object returns it (without memory a second time it is gone). An Exception
        that a signal's handler raises just then cannot be told from one of the item's own.

        >>> import treadle
        >>> treadle.Queue().get(timeout=0.01)
        Traceback (most recent call last):
        ...
        _queue.Empty
        """
        self._made()
        cdef char frame[LARGEST_FRAME_BYTES]
        cdef Taken got
        cdef int64_t ns = _queue_timeout(block, timeout)
        cdef _MessageMemory memory
        cdef _Kept kept
        cdef int result
        if self.leftovers.items is not None:
            kept = self.leftovers.pop()
            if kept is not None:
                return self.leftovers.value_of(self.handle, kept, copy)
        result = queue_get(self.handle, _token(self.handle), 1, frame, LARGEST_FRAME_BYTES, ns, &got)
        if result != DONE:
            self._get_failed(result)
        memory = _memory_of_frame(self.handle.mapping, frame, got.slot)
        try:
            return _rebuild_frame(self.handle, frame, memory, copy)
        except ItemError:
            raise
        except BaseException as error:  # an interrupt, or no memory: the item is as good as it was
            kept = _kept_frame(frame, memory)
            kept.starved = isinstance(error, MemoryError)
            self.leftovers.add([kept])
            raise

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
        cdef Token token = _token(self.handle)
        cdef int64_t ns = _optional_timeout(timeout)
        cdef Taken got
        cdef int result
        cdef uint32_t wanted
        cdef char* frames
        cdef list items
        max_items = _whole(max_items)
        if max_items < 1:
            raise ValueError(f"max_items must be one or more, not {max_items}")
        wanted = min(max_items, 1 << 20)
        items = self.leftovers.next_values(self.handle, wanted)
        if items:
            return items
        frames = <char*>malloc(BATCH_BYTES)
        if frames == NULL:
            raise MemoryError
        try:
            while wanted != 0:
                result = queue_get(self.handle, token, wanted, frames, BATCH_BYTES, ns, &got)
                if result != DONE:
                    if items:
                        break
                    self._get_failed(result)
                wanted -= got.items
                ns = 0
                if not self._rebuild_many(frames, got, items):
                    break
        finally:
            free(frames)
        return items

    cdef bint _rebuild_many(self, const char* at, const Taken& got, list items) except -1:
        """Appends the values of frames that were taken to `items`; false: one of them ends the batch.

        Whatever cannot be returned is kept: with an error the frames behind it, with an interrupt all.
        """
        cdef uint32_t left = got.items
        cdef _MessageMemory memory = _memory_of_frame(self.handle.mapping, at, got.slot)
        cdef bint interrupted = True
        try:
            while left != 0:
                items.append(_rebuild_frame(self.handle, at, memory, True))
                left -= 1
                at += FRAME_HEADER + padded(frame_at(at).size)
            interrupted = False
        except ItemError as error:
            interrupted = False
            rest = [_kept_error(error)] if items else []
            left -= 1
            at += FRAME_HEADER + padded(frame_at(at).size)
            self.leftovers.add(rest + _kept_frames(at, left, memory))
            if not items:
                raise
            return False
        finally:
            if interrupted:
                self.leftovers.add([_kept_value(item) for item in items] + _kept_frames(at, left, memory))
        return True

    cdef _get_failed(self, int result):
        if result == TIMEOUT:
            raise Empty
        if result == SHUT:
            raise ShutDown
        if result == INTERRUPTED:
            _interrupted()
        raise _arena_full("a reference to an item")

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

    def lease(self, timeout=None):
        """Takes an item on lease: it is gone only once it is acknowledged, and comes back if this process dies.

        Returns a ``Lease``, which is a context manager: the item is acknowledged when the block ends well, and given
        back when it raises. timeout: in seconds, None waits for ever. Raises as ``get``; where that keeps an item, this
        gives it back to the queue.

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
        cdef char frame[LARGEST_FRAME_BYTES]
        cdef Taken got
        cdef Lease lease = Lease.__new__(Lease)
        cdef int result = queue_lease(
            self.handle, _token(self.handle), frame, _optional_timeout(timeout), &lease.name, &got
        )
        if result != DONE:
            self._get_failed(result)
        lease._queue = self
        lease.pid = os.getpid()
        lease.open = True
        lease._deliveries = frame_at(frame).deliveries + 1
        try:
            memory = _memory_of_frame(self.handle.mapping, frame, got.slot)
            lease._item = _rebuild_frame(self.handle, frame, memory, True)
        except ItemError:
            lease._settle(True)  # it would fail with everybody else, too
            raise
        except BaseException:
            lease._settle(False)
            raise
        return lease

    # ---- Tasks

    def task_done(self):
        """Says that an item that was got is done with. Raises ValueError if more are done than were put.

        An acknowledged lease counts as done by itself.

        >>> import treadle
        >>> treadle.Queue().task_done()
        Traceback (most recent call last):
        ...
        ValueError: task_done() called too many times
        """
        self._made()
        if queue_done(self.handle, _token(self.handle), 1) != DONE:
            raise ValueError("task_done() called too many times")

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
        cdef int result = queue_join(self.handle, _token(self.handle), _optional_timeout(timeout))
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
        cdef char frame[LARGEST_FRAME_BYTES]
        cdef Taken got
        cdef int result
        queue_shut_down(self.handle, immediate)
        if immediate:
            self.leftovers.clear()
        while immediate:
            result = queue_discard(self.handle, _token(self.handle), frame, &got)
            if result != DONE:
                return
            if got.slot != NO_SLOT:
                drop_slot(self.handle.mapping, got.slot)

    # ---- Looking

    def qsize(self):
        """Returns how many items wait, at this instant; what is out on lease is not counted.

        >>> import treadle
        >>> treadle.Queue().qsize()
        0
        """
        self._made()
        return queue_size(self.handle)

    def empty(self):
        """Returns whether no item waits, at this instant; false right after a put.

        >>> import treadle
        >>> treadle.Queue().empty()
        True
        """
        self._made()
        return queue_size(self.handle) == 0

    def full(self):
        """Returns whether the queue has no room, at this instant.

        >>> import treadle
        >>> treadle.Queue().full()
        False
        """
        self._made()
        return queue_full(self.handle)

    @property
    def maxsize(self):
        """How many items wait at most; 0 is no limit.

        >>> import treadle
        >>> treadle.Queue(8).maxsize
        8
        """
        self._made()
        cdef QueueFigures figures
        queue_figures(self.handle, figures)
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
        queue_figures(self.handle, figures)
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
        queue_figures(self.handle, figures)
        return bool(figures.shut)

    @property
    def label(self):
        """What reports call it.

        >>> import treadle
        >>> treadle.Queue(label="jobs").label
        'jobs'
        """
        self._made()
        return self._label()

    cdef str _label(self):
        return _text(queue_label(self.handle))

    @property
    def shared(self):
        """Whether the state lies in shared memory, for all processes.

        >>> import treadle
        >>> treadle.Queue().shared
        True
        """
        return True

    def statistics(self):
        """Returns a ``QueueStatistics``.

        >>> import treadle
        >>> treadle.Queue().statistics().puts
        0
        """
        self._made()
        cdef QueueFigures figures
        queue_figures(self.handle, figures)
        return _records().QueueStatistics(
            label=self._label(),
            qsize=figures.size,
            maxsize=figures.max_items,
            bytes=figures.bytes,
            maxbytes=figures.max_bytes,
            puts=figures.puts,
            gets=figures.taken,
            unfinished=figures.unfinished,
            leased=figures.leased,
            redelivered=figures.redelivered,
            waiting=count_waiting(self.handle),
            is_shutdown=bool(figures.shut),
        )

    def __repr__(self):
        self._made()
        cdef QueueFigures figures
        queue_figures(self.handle, figures)
        of = f"/{figures.max_items}" if figures.max_items else ""
        return f"<treadle.Queue {self._label()!r} qsize={figures.size}{of}{' shut down' if figures.shut else ''}>"

    def __reduce__(self):
        self._made()
        return _reduced(self, _rebuild_queue, (_ticket_of(self.handle, self),))

    __class_getitem__ = classmethod(type(list[int]))  # types.GenericAlias


def _rebuild_queue(of, ticket):
    cdef Queue queue = of.__new__(of)
    _attach(ticket, "queue", KIND_QUEUE, &queue.handle)
    return queue


cdef int64_t _queue_timeout(block, timeout) except? -2:
    if block is True and timeout is None:
        return FOREVER
    if not block:
        return 0
    if timeout is None:
        return FOREVER
    if timeout < 0:
        raise ValueError("'timeout' must be a non-negative number")
    return _nanoseconds(timeout)
