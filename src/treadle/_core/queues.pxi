# queues.pxi: Queue and Lease.

from operator import index

cdef enum:
    BATCH_BYTES = 65536  # frames copied at a time by get_many and put_many


@cython.final
cdef class _Hold:
    """A message that was made and not put yet: given back if it never is."""

    cdef Mapping* mapping
    cdef MessageHold hold

    def __dealloc__(self):
        if self.mapping != NULL:
            drop_slot(self.mapping, self.hold.slot)


cdef _Hold _new_message(Mapping* mapping, uint64_t size):
    cdef _Hold hold = _Hold.__new__(_Hold)
    if not make_message(mapping, _token_in(mapping), size, &hold.hold):
        raise _arena_full(f"an item of {size} bytes")
    hold.mapping = mapping
    return hold


cdef uint32_t _encode_frame(Mapping* mapping, object item, char* out, list holds) except 0:
    """Writes the item's frame to `out` (LARGEST_FRAME_BYTES); returns its size. A message it needs goes to `holds`."""
    cdef Writer writer = Writer(out + FRAME_HEADER, 0, LARGEST_FRAME)
    cdef int result = _encode(item, &writer, 0)
    cdef _Pickled pickled
    cdef _Hold hold
    cdef const char* data
    cdef Py_ssize_t length
    cdef char* target
    if result == NATIVE:
        write_frame_header(mapping, writer.size, 0, out)
        return FRAME_HEADER + padded(writer.size)
    if result == TOO_LONG and (PyBytes_CheckExact(item) or PyUnicode_CheckExact(item)):
        if PyBytes_CheckExact(item):
            data = PyBytes_AS_STRING(item)
            length = PyBytes_GET_SIZE(item)
        else:
            data = PyUnicode_AsUTF8AndSize(item, &length)
        hold = _new_message(mapping, <uint64_t>length + 1)
        target = message_data(hold.hold)
        target[0] = TAG_LONG_BYTES if PyBytes_CheckExact(item) else TAG_LONG_STR
        with nogil:
            memcpy(target + 1, data, length)
        write_message_frame(mapping, hold.hold, <uint64_t>length + 1, 0, out)
        holds.append(hold)
        return MESSAGE_FRAME_BYTES
    pickled = _pickle(item)
    if pickled.size <= LARGEST_FRAME:
        pickled._write_to(out + FRAME_HEADER)
        write_frame_header(mapping, <uint32_t>pickled.size, 0, out)
        return FRAME_HEADER + padded(<uint32_t>pickled.size)
    hold = _new_message(mapping, pickled.size)
    pickled._write_to(message_data(hold.hold))
    write_message_frame(mapping, hold.hold, pickled.size, 0, out)
    holds.append(hold)
    return MESSAGE_FRAME_BYTES


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
    cdef object __weakref__

    def __cinit__(self, maxsize=0, *, maxbytes=0, label=None):
        cdef bytes text
        cdef Mapping* mapping
        if label is _ATTACHED:
            return
        text = _label(label)
        if isinstance(maxsize, float) or isinstance(maxbytes, float):
            raise TypeError("maxsize and maxbytes must be integers")
        if maxbytes < 0:
            raise ValueError(f"maxbytes must be 0 (no limit) or more, not {maxbytes}")
        mapping = _home()
        if not make_queue(mapping, _token_in(mapping), max(maxsize, 0), maxbytes, text, self.handle):
            raise _arena_full("a queue")

    def __dealloc__(self):
        drop_object(self.handle)

    # ---- Putting

    def put(self, item, block=True, timeout=None):
        """Puts an item; waits while the queue is full.

        timeout: in seconds, None waits for ever. Raises Full (it took too long, or block is false), ShutDown,
        ArenaFullError (at once: it does not wait for memory), and whatever pickling the item raises; then nothing was
        put.

        >>> import treadle
        >>> treadle.Queue().put({"any": "value"})
        """
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

        >>> import treadle
        >>> treadle.Queue().get(timeout=0.01)
        Traceback (most recent call last):
        ...
        _queue.Empty
        """
        cdef char frame[LARGEST_FRAME_BYTES]
        cdef Taken got
        cdef int result = queue_get(
            self.handle, _token(self.handle), 1, frame, LARGEST_FRAME_BYTES, _queue_timeout(block, timeout), &got
        )
        if result != DONE:
            self._get_failed(result)
        return self._item(frame, got.slot, copy)

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

        timeout: in seconds, None waits for ever. Raises ValueError if max_items is less than one, and as ``get``. An item
        that cannot be rebuilt is left out as long as others can be returned; alone, it raises ItemError.

        >>> import treadle
        >>> queue = treadle.Queue()
        >>> queue.put_many("abc")
        >>> queue.get_many(10)
        ['a', 'b', 'c']
        """
        cdef Token token = _token(self.handle)
        cdef int64_t ns = _optional_timeout(timeout)
        cdef Taken got
        cdef int result
        cdef uint32_t wanted
        cdef char* frames
        cdef const char* at
        max_items = index(max_items)
        if max_items < 1:
            raise ValueError(f"max_items must be one or more, not {max_items}")
        wanted = min(max_items, 1 << 20)
        frames = <char*>malloc(BATCH_BYTES)
        if frames == NULL:
            raise MemoryError
        items = []
        failure = None
        try:
            while True:
                result = queue_get(self.handle, token, wanted, frames, BATCH_BYTES, ns, &got)
                if result != DONE:
                    if items:
                        break
                    if failure is not None:
                        raise failure
                    self._get_failed(result)
                wanted -= got.items
                at = frames
                for _ in range(got.items):
                    try:
                        items.append(self._item(at, got.slot, True))
                    except ItemError as error:
                        failure = error
                    at += FRAME_HEADER + padded(frame_at(at).size)
                if wanted == 0:
                    break
                ns = 0
        finally:
            free(frames)
        if not items and failure is not None:
            raise failure
        return items

    cdef _get_failed(self, int result):
        if result == TIMEOUT:
            raise Empty
        if result == SHUT:
            raise ShutDown
        if result == INTERRUPTED:
            _interrupted()
        raise _arena_full("a reference to an item")

    cdef object _item(self, const char* frame, uint32_t slot, bint copy):
        """The value of a frame that was taken. `slot`: of the message, if it is one."""
        cdef MessageHold hold
        cdef uint64_t size
        cdef _MessageMemory memory = None
        try:
            if not frame_is_message(frame):
                return _rebuild(frame + FRAME_HEADER, frame_at(frame).size, None, True)
            read_message_frame(self.handle.mapping, frame, slot, &hold, &size)
            memory = _message_memory(self.handle.mapping, hold, size)
            return _rebuild(message_data(hold), size, memory, copy)
        except Exception as error:
            raise ItemError(
                f"an item that pid {frame_at(frame).pid} put into queue {self._label()!r} cannot be rebuilt here "
                f"({type(error).__name__}: {error}); it is gone, the queue goes on"
            ) from error

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
        back when it raises. timeout: in seconds, None waits for ever. Raises as ``get``, but MemoryError if this process
        has no memory left for the item; then it is given back.

        After a shutdown, ``get`` and ``lease`` still wait while others hold leases, since their items may come back.

        >>> import treadle
        >>> queue = treadle.Queue()
        >>> queue.put("job")
        >>> with queue.lease() as lease:
        ...     lease.item, lease.deliveries
        ('job', 1)
        >>> queue.empty()
        True
        """
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
            lease._item = self._item(frame, got.slot, True)
        except ItemError as error:
            if isinstance(error.__cause__, MemoryError):
                lease._settle(False)
                raise MemoryError(
                    f"this process has no memory left for an item of queue {self._label()!r}; the item was given back"
                ) from error
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
        cdef char frame[LARGEST_FRAME_BYTES]
        cdef Taken got
        cdef int result
        queue_shut_down(self.handle, immediate)
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
        return queue_size(self.handle)

    def empty(self):
        """Returns whether no item waits, at this instant; false right after a put.

        >>> import treadle
        >>> treadle.Queue().empty()
        True
        """
        return queue_size(self.handle) == 0

    def full(self):
        """Returns whether the queue has no room, at this instant.

        >>> import treadle
        >>> treadle.Queue().full()
        False
        """
        return queue_full(self.handle)

    @property
    def maxsize(self):
        """How many items wait at most; 0 is no limit.

        >>> import treadle
        >>> treadle.Queue(8).maxsize
        8
        """
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
        return self._label()

    cdef str _label(self):
        return _text(queue_label(self.handle))

    def statistics(self):
        """Returns a ``QueueStatistics``.

        >>> import treadle
        >>> treadle.Queue().statistics().puts
        0
        """
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
        cdef QueueFigures figures
        queue_figures(self.handle, figures)
        of = f"/{figures.max_items}" if figures.max_items else ""
        return f"<treadle.Queue {self._label()!r} qsize={figures.size}{of}{' shut down' if figures.shut else ''}>"

    def __reduce__(self):
        return _rebuild_queue, (_ticket_of(self.handle, self),)

    __class_getitem__ = classmethod(type(list[int]))  # types.GenericAlias


cdef object _ATTACHED = object()  # a label that says: do not make anything


def _rebuild_queue(ticket):
    cdef Queue queue = Queue.__new__(Queue, label=_ATTACHED)
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


@cython.no_gc_clear  # __dealloc__ needs the queue
@cython.final
cdef class Lease:
    """An item out on lease, from ``Queue.lease()``; a context manager.

    When its block ends well the item is acknowledged; when it raises, the item is given back and delivered again. If
    the process dies, whoever waits for the queue gets the item again. Forgotten without either, it is given back.

    >>> import treadle
    >>> queue = treadle.Queue()
    >>> queue.put("job")
    >>> with queue.lease() as lease:
    ...     raise RuntimeError("not this time")
    Traceback (most recent call last):
    ...
    RuntimeError: not this time
    >>> with queue.lease() as lease:
    ...     lease.item, lease.deliveries
    ('job', 2)
    """

    cdef Queue _queue
    cdef LeaseName name
    cdef object _item
    cdef int pid
    cdef unsigned int _deliveries
    cdef bint open
    cdef object __weakref__

    def __init__(self):
        raise TypeError("a Lease is made by Queue.lease()")

    def __dealloc__(self):
        if self.open and self.pid == os.getpid():
            queue_nack(self._queue.handle, _token(self._queue.handle), self.name)

    @property
    def item(self):
        """The item.

        >>> import treadle
        >>> queue = treadle.Queue()
        >>> queue.put("job")
        >>> queue.lease().item
        'job'
        """
        return self._item

    @property
    def deliveries(self):
        """How often the item has been handed out, this time included: 1 at first.

        >>> import treadle
        >>> queue = treadle.Queue()
        >>> queue.put("job")
        >>> queue.lease().deliveries
        1
        """
        return self._deliveries

    def ack(self):
        """Says that the item is done with: it is gone, and counts as done for ``Queue.join``.

        Raises RuntimeError if the lease was settled before, or belongs to another process (a fork's parent).

        >>> import treadle
        >>> queue = treadle.Queue()
        >>> queue.put("job")
        >>> queue.lease().ack()
        >>> queue.join(timeout=1)
        True
        """
        self._settle(True)

    def nack(self):
        """Gives the item back: it is delivered again, before newer ones. Raises as ``ack``.

        >>> import treadle
        >>> queue = treadle.Queue()
        >>> queue.put_many(["older", "newer"])
        >>> queue.lease().nack()
        >>> queue.get()
        'older'
        """
        self._settle(False)

    cdef _settle(self, bint done):
        cdef int result
        if self.pid != os.getpid():
            raise RuntimeError(f"this lease belongs to pid {self.pid}, which took it before a fork")
        if not self.open:
            raise RuntimeError("this lease has been settled already")
        if done:
            result = queue_ack(self._queue.handle, _token(self._queue.handle), self.name)
        else:
            result = queue_nack(self._queue.handle, _token(self._queue.handle), self.name)
        self.open = False
        if result != DONE:
            raise RuntimeError("this lease is not held any more")

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if self.open:
            self._settle(kind is None)

    __class_getitem__ = classmethod(type(list[int]))

    def __repr__(self):
        state = "open" if self.open else "settled"
        return f"<treadle.Lease of {self._queue!r}, delivery {self._deliveries}, {state}>"
