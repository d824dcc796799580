# channels.pxi: Pipe and its two ends.

cdef enum:
    CHANNEL_BYTES = 4 << 20  # that lie in one direction at most, so that a sender does not run away from its receiver


def Pipe(duplex=True, *, name=None, end=None, label=None):
    """Returns two connected ends, ``Connection`` objects, for threads and processes.

    duplex: whether both send and receive; if not, the first only receives and the second only sends. label: what
    reports call it; by default the name, or the module and line that made it.

    name: a pipe between programs that know nothing else of each other. Each takes one end, which is what is returned then:
    end 0 (the first) or 1. Where nobody has taken the other end yet, ``recv`` waits, and ``send`` puts messages in store. When
    all that held it have gone, that is the end, as with other pipes, until it is taken again: by the same program, started
    anew, say, which receives what its predecessor has not. The pipe is gone with its last user. Raises HandleError if the name
    is that of something else, or of a pipe with another `duplex`.

    A send waits while 4 MiB are on their way and not received (a larger message passes alone). Raises ArenaFullError.

    When a process is killed, its end is seen to have gone at once, but only if nobody else holds it: as with
    ``multiprocessing.Pipe``, who hands an end to another process closes its own copy, and a child of fork those that it has
    inherited and does not use.

    >>> import treadle
    >>> here, there = treadle.Pipe()
    >>> here.send(("hello", 42))
    >>> there.recv()
    ('hello', 42)
    >>> here = treadle.Pipe(name="orders", end=0)
    >>> there = treadle.Pipe(name="orders", end=1)  # in another program
    >>> there.send("tea")
    >>> here.recv()
    'tea'
    """
    cdef bytes text = _label_of(label, name)
    if name is not None:
        return _end_by_name(bool(duplex), name, end, text)
    if end is not None:
        raise TypeError("end= is for a pipe with a name; one without gives both ends")
    cdef Connection one = Connection.__new__(Connection)
    cdef Connection other = Connection.__new__(Connection)
    cdef Mapping* mapping = _home()
    cdef Handle handle
    cdef BellPipe bell
    if not make_channel(mapping, _token_in(mapping), bool(duplex), CHANNEL_BYTES, text, one.end.handle):
        raise _arena_full("a pipe")
    one._ticket_for(other)
    one.end.side, other.end.side = 0, 1
    for end, peer in ((one, other), (other, one)):
        if not make_bell(bell):
            raise OSError(EMFILE, "no file descriptors left for a pipe")
        (<Connection>end).end.bell = bell.read
        (<Connection>peer).end.other = bell.write
    one._open = other._open = True
    return one, other


@cython.no_gc_clear  # what a finalizer may still call needs the leftovers
@cython.final
cdef class Connection:
    """One end of a ``Pipe``: as ``multiprocessing.connection.Connection``, through shared memory.

    A message arrives entirely or not at all, whoever is killed. When all that held the other end have closed it or died,
    ``recv`` raises EOFError once it has returned what was sent before, and ``send`` raises BrokenPipeError; who has kept
    a copy of an end that it gave away holds that end, until it closes the copy. Any number of threads may use an end at a
    time; each message goes to one of them.

    It can be pickled, as the standard library's, for a process that is being started, or for one of the same family
    (``multiprocessing.current_process().authkey``); sender and receiver hold the end then.

    >>> import treadle
    >>> receiver, sender = treadle.Pipe(duplex=False)
    >>> sender.send_bytes(b"message")
    >>> receiver.recv_bytes()
    b'message'
    """

    cdef ChannelEnd end
    cdef _Leftovers leftovers
    cdef bint _open
    cdef object __weakref__

    def __cinit__(self):
        self.leftovers = _Leftovers.__new__(_Leftovers)
        self.end.bell = self.end.other = -1

    def __dealloc__(self):
        self._release()

    cdef _release(self):
        close_bell(self.end.bell)
        close_bell(self.end.other)
        if self.end.bell >= 0 and self.end.handle.mapping != NULL and self.end.handle.mapping.member():
            tell_of_close(self.end)
        self.end.bell = self.end.other = -1
        drop_end(self.end)

    cdef _ticket_for(self, Connection peer):
        cdef Ticket ticket
        write_ticket(self.end.handle, ticket)
        _attach(PyBytes_FromStringAndSize(<const char*>&ticket, sizeof(Ticket)), "pipe", KIND_CHANNEL, &peer.end.handle)

    cdef inline int _use(self) except -1:
        if not self._open:
            raise OSError("handle is closed")
        self.end.users.enter()
        return 0

    cdef inline int _used(self) except -1:
        if self.end.users.leave() == 0 and not self._open:  # the last one closes what was closed meanwhile
            self._release()
            if tasks_notified():
                rouse_reactor()  # it tells them: if that raised here, what this call returns would be lost
        return 0

    cdef int _use_to_receive(self) except -1:
        self._use()
        if not can_receive(self.end):
            self._used()
            raise OSError("connection is write-only")
        return 0

    cdef int _use_to_send(self) except -1:
        self._use()
        if not can_send(self.end):
            self._used()
            raise OSError("connection is read-only")
        return 0

    # ---- Sending

    def send(self, obj):
        """Sends an object that can be pickled; waits while too much is on its way.

        Numbers, str, bytes, None and tuples of them are written natively, everything else is pickled, functions without
        a name by cloudpickle. Raises BrokenPipeError if nobody holds the other end, OSError if this one is closed or only
        receives, ArenaFullError, and whatever pickling raises; then nothing was sent.

        >>> import treadle
        >>> here, there = treadle.Pipe()
        >>> here.send([1, 2])
        """
        cdef char frame[LARGEST_FRAME_BYTES]
        cdef char* start = frame
        cdef list holds = None
        cdef Writer writer = Writer(start + FRAME_HEADER, 0, LARGEST_FRAME)
        self._use_to_send()
        try:
            # The common case, without a list made: see _encode_frame for the rest.
            if _encode(obj, &writer, 0) == NATIVE:
                write_frame_header(self.end.handle.mapping, writer.size, 0, frame)
            else:
                holds = []
                _encode_frame(self.end.handle.mapping, obj, frame, holds)
            self._send_frame(frame)
        finally:
            self._used()

    def send_bytes(self, buf, offset=0, size=None):
        """Sends the bytes of a buffer as one message. offset, size: a part of it, in bytes.

        Raises as ``send``, and ValueError if the part is not one of the buffer.

        >>> import treadle
        >>> here, there = treadle.Pipe()
        >>> here.send_bytes(b"a message", 2)
        >>> there.recv_bytes()
        b'message'
        """
        cdef char frame[LARGEST_FRAME_BYTES]
        cdef list holds = []
        self._use_to_send()
        try:
            self._bytes_frame(buf, _whole(offset), size, frame, holds)
            self._send_frame(frame)
        finally:
            self._used()

    cdef uint32_t _bytes_frame(self, object buf, Py_ssize_t begin, object size, char* frame, list holds) except 0:
        """Writes the frame of a part of a buffer; returns its size. A message it needs goes to `holds`."""
        cdef const unsigned char[::1] data
        cdef const char* source = NULL
        cdef Py_ssize_t length, whole
        cdef char* target
        cdef _Hold hold
        view = memoryview(buf)
        if view.format != "B" or view.ndim != 1:
            view = view.cast("B")
        whole = len(view)
        if begin < 0:
            raise ValueError("offset is negative")
        if whole < begin:
            raise ValueError("buffer length < offset")
        length = whole - begin if size is None else _whole(size)
        if length < 0:
            raise ValueError("size is negative")
        if length > whole - begin:
            raise ValueError("buffer length < offset + size")
        if whole != 0:
            data = view
            source = <const char*>&data[0] + begin
        if length <= LARGEST_FRAME:
            write_frame_header(self.end.handle.mapping, <uint32_t>length, AS_BYTES, frame)
            if length != 0:
                memcpy(frame + FRAME_HEADER, source, length)
            return FRAME_HEADER + padded(<uint32_t>length)
        hold = _new_message(self.end.handle.mapping, <uint64_t>length)
        target = message_data(hold.hold)
        with nogil:
            memcpy(target, source, length)
        write_message_frame(self.end.handle.mapping, hold.hold, <uint64_t>length, AS_BYTES, frame)
        holds.append(hold)
        return MESSAGE_FRAME_BYTES

    cdef int _send_frame(self, const char* frame) except -1:
        cdef int result = channel_send(self.end, _token(self.end.handle), frame)
        _tell()
        return 0 if result == DONE else self._not_sent(result)

    cdef int _not_sent(self, int result) except -1:
        if result == GONE:
            raise BrokenPipeError(EPIPE, "Broken pipe")
        if result == INTERRUPTED:
            _interrupted()
        raise _arena_full("another message")

    # ---- Receiving

    def recv(self):
        """Receives an object; waits until there is one.

        Raises EOFError if nothing is left and nobody holds the other end, OSError if this one is closed or only sends,
        and ItemError if the object cannot be rebuilt, or is none, but bytes of ``send_bytes``; then it is gone, and the
        next one is not. A message whose rebuilding is interrupted (by Ctrl-C) or finds no memory comes with the next call;
        one that raises such a thing by itself, again and again, counts as one that cannot be rebuilt.

        >>> import treadle
        >>> here, there = treadle.Pipe()
        >>> there.close()
        >>> here.recv()
        Traceback (most recent call last):
        ...
        EOFError
        """
        return self._receive(True)

    def recv_bytes(self, maxlength=None):
        """Receives the bytes of a message; waits until there is one.

        maxlength: a longer one raises OSError, and is gone. Raises as ``recv``, but for ItemError.

        >>> import treadle
        >>> here, there = treadle.Pipe()
        >>> here.send_bytes(b"message")
        >>> there.recv_bytes()
        b'message'
        """
        if maxlength is not None and maxlength < 0:
            raise ValueError("negative maxlength")
        message = self._receive(False)
        if maxlength is not None and len(message) > maxlength:
            raise OSError("bad message length")
        return message

    def recv_bytes_into(self, buf, offset=0):
        """Receives the bytes of a message into a writable buffer, from `offset` on; returns how many they are.

        Raises as ``recv_bytes``; ValueError if the offset is not in the buffer; and ``multiprocessing.BufferTooShort``,
        whose argument is the message, if it does not fit.

        >>> import treadle
        >>> here, there = treadle.Pipe()
        >>> here.send_bytes(b"message")
        >>> buffer = bytearray(10)
        >>> there.recv_bytes_into(buffer, 3), buffer
        (7, bytearray(b'\\x00\\x00\\x00message'))
        """
        cdef Py_ssize_t begin = _whole(offset), size
        with memoryview(buf) as whole:
            if whole.readonly:
                raise TypeError("a writable buffer is needed")
            with whole.cast("B") as view:
                if begin < 0:
                    raise ValueError("negative offset")
                if begin > len(view):
                    raise ValueError("offset too large")
                message = self._receive(False)
                size = len(message)
                if len(view) < begin + size:
                    raise import_lazily("multiprocessing").BufferTooShort(message)
                view[begin : begin + size] = message
        return size

    cdef object _receive(self, bint rebuild):
        cdef char frame[LARGEST_FRAME_BYTES]
        cdef Taken got
        cdef _Kept kept = None
        cdef int result
        self._use_to_receive()
        try:
            if self.leftovers.items is not None:
                kept = self.leftovers.pop()
            if kept is None:
                result = channel_receive(self.end, _token(self.end.handle), frame, &got)
                if result != DONE:
                    self._not_received(result)
                return self._value(frame, _memory_of_frame(self.end.handle.mapping, frame, got.slot), rebuild)
            return self._value(PyBytes_AS_STRING(kept.frame), kept.memory, rebuild, kept.failed)
        finally:
            self._used()

    cdef int _not_received(self, int result) except -1:
        if result == GONE:
            raise EOFError
        if result == INTERRUPTED:
            _interrupted()
        raise _arena_full("a reference to a message")

    cdef object _value(self, const char* frame, _MessageMemory memory, bint rebuild, bint failed=False):
        """failed: it was kept, since its rebuilding failed before."""
        try:
            _tell()
        except BaseException:
            self._keep(frame, memory, failed)
            raise
        try:
            return _message(frame, memory, rebuild)
        except BaseException as error:
            if isinstance(error, MemoryError) or not isinstance(error, Exception):
                # An interrupt, or no memory: the message is as good as it was, unless it does so by itself.
                if not (failed and rebuild) or _rebuilds(frame, memory):
                    self._keep(frame, memory, failed or rebuild)
                    raise
            hint = ""
            if frame_at(frame).tag == AS_BYTES:
                hint = "; it was sent by send_bytes(): if it is bytes and no object, use recv_bytes()"
            raise ItemError(
                f"a message that pid {frame_at(frame).pid} sent through pipe {self._label()!r} cannot be rebuilt here "
                f"({type(error).__name__}: {error}){hint}; it is gone, the next one is not"
            ) from error

    cdef _keep(self, const char* frame, _MessageMemory memory, bint failed):
        self.leftovers.add([_kept_frame(frame, memory, failed)], True)
        cdef ChannelFigures figures
        channel_figures(self.end, figures)
        if figures.exposed:
            ring_own_bell(self.end.bell)

    def poll(self, timeout=0.0):
        """Returns whether ``recv`` would not wait: a message is there, or the end.

        timeout: how long to wait for that, in seconds; None waits for ever. Raises OSError if this end is closed or only
        sends.

        >>> import treadle
        >>> here, there = treadle.Pipe()
        >>> here.poll(0.01)
        False
        """
        cdef int result
        cdef int64_t ns = _optional_timeout(timeout)
        self._use_to_receive()
        try:
            if self.leftovers.items is not None and self.leftovers.count() != 0:
                return True
            result = channel_poll(self.end, _token(self.end.handle), ns)
            if result == INTERRUPTED:
                _interrupted()
            return result == DONE
        finally:
            self._used()

    # ---- For tasks

    @property
    def aio(self):
        """The same end for tasks of event loops: a ``treadle.aio.Connection``.

        >>> import asyncio, treadle
        >>> here, there = treadle.Pipe()
        >>> async def main():
        ...     await here.aio.send("hello")
        ...     return await there.aio.recv()
        >>> asyncio.run(main())
        'hello'
        """
        return _aio().Connection(self)

    def _prepare(self, obj):
        cdef char frame[LARGEST_FRAME_BYTES]
        cdef _Prepared prepared = _Prepared.__new__(_Prepared)
        self._use_to_send()
        try:
            prepared.holds = []
            prepared.frame = frame[:_encode_frame(self.end.handle.mapping, obj, frame, prepared.holds)]
            return prepared
        finally:
            self._used()

    def _prepare_bytes(self, buf, offset, size):
        cdef char frame[LARGEST_FRAME_BYTES]
        cdef _Prepared prepared = _Prepared.__new__(_Prepared)
        self._use_to_send()
        try:
            prepared.holds = []
            prepared.frame = frame[:self._bytes_frame(buf, _whole(offset), size, frame, prepared.holds)]
            return prepared
        finally:
            self._used()

    def _attempt_send(self, _Prepared prepared not None, Waiter waiter not None):
        cdef int result
        self._use_to_send()
        try:
            waiter._begin(self.end.handle)
            doubt_channel(waiter.place, self.end)
            result = channel_send_attempt(
                self.end, _token(self.end.handle), waiter.look, PyBytes_AS_STRING(prepared.frame), &waiter.wait
            )
            _tell()
            if result == BLOCKED or result == FULL:
                return _PENDING
            if result != DONE:
                self._not_sent(result)
            return True
        finally:
            self._used()

    def _attempt_receive(self, bint rebuild, Waiter waiter not None):
        cdef char frame[LARGEST_FRAME_BYTES]
        cdef Taken got
        cdef _Kept kept = None
        cdef int result
        self._use_to_receive()
        try:
            if self.leftovers.items is not None:
                kept = self.leftovers.pop()
            if kept is not None:
                return self._value(PyBytes_AS_STRING(kept.frame), kept.memory, rebuild, kept.failed)
            waiter._begin(self.end.handle)
            doubt_channel(waiter.place, self.end)
            result = channel_receive_attempt(
                self.end, _token(self.end.handle), waiter.look, frame, &got, &waiter.wait
            )
            if result == BLOCKED or result == EMPTY:
                return _PENDING
            if result != DONE:
                self._not_received(result)
            return self._value(frame, _memory_of_frame(self.end.handle.mapping, frame, got.slot), rebuild)
        finally:
            self._used()

    # ---- The end itself

    def fileno(self):
        """Returns a descriptor for ``select``, ``selectors``, ``multiprocessing.connection.wait`` and asyncio.

        It is readable while a message can be received, or the end of all has come. Do not read from it. Of an end that
        only sends, it says nothing but that nobody holds the other end any more (an error condition). From the first call
        on, this end costs its peer a system call for each message that comes while there is none.

        >>> import select, treadle
        >>> here, there = treadle.Pipe()
        >>> select.select([here], [], [], 0)[0]
        []
        >>> there.send(1)
        >>> select.select([here], [], [])[0] == [here]
        True
        """
        self._use()
        try:
            if not can_receive(self.end):
                return self.end.other
            expose_end(self.end)
            return self.end.bell
        finally:
            self._used()

    def close(self):
        """Closes this end; calls of it that are under way go on. It may be closed again.

        >>> import treadle
        >>> here, there = treadle.Pipe()
        >>> here.close()
        >>> here.closed
        True
        """
        if self._open:
            self._open = False
            self.leftovers.clear()
            if self.end.users.count() == 0:
                self._release()
            elif self.end.handle.mapping.member():
                tell_of_close(self.end)  # tasks that wait are in no call
            _tell()

    @property
    def closed(self):
        """Whether this end was closed, in this process.

        >>> import treadle
        >>> treadle.Pipe()[0].closed
        False
        """
        return not self._open

    @property
    def readable(self):
        """Whether this end receives.

        >>> import treadle
        >>> [end.readable for end in treadle.Pipe(duplex=False)]
        [True, False]
        """
        self._use()
        try:
            return can_receive(self.end)
        finally:
            self._used()

    @property
    def writable(self):
        """Whether this end sends.

        >>> import treadle
        >>> [end.writable for end in treadle.Pipe(duplex=False)]
        [False, True]
        """
        self._use()
        try:
            return can_send(self.end)
        finally:
            self._used()

    @property
    def label(self):
        """What reports call the pipe.

        >>> import treadle
        >>> treadle.Pipe(label="orders")[0].label
        'orders'
        """
        self._use()
        try:
            return self._label()
        finally:
            self._used()

    cdef str _label(self):
        return _text(channel_label(self.end))

    @property
    def name(self):
        """By what name other programs find the pipe, or None.

        >>> import treadle
        >>> treadle.Pipe(name="offers", end=0).name
        'offers'
        """
        self._use()
        try:
            return _name_of(self.end.handle)
        finally:
            self._used()

    def statistics(self):
        """Returns a ``ConnectionStatistics``.

        >>> import treadle
        >>> treadle.Pipe()[0].statistics().incoming
        0
        """
        cdef ChannelFigures figures
        self._use()
        try:
            channel_figures(self.end, figures)
            return _records().ConnectionStatistics(
                label=self._label(),
                received=figures.received,
                incoming=figures.incoming,
                incoming_bytes=figures.incoming_bytes,
                sent=figures.sent,
                outgoing=figures.outgoing,
                outgoing_bytes=figures.outgoing_bytes,
                waiting=count_waiting(self.end.handle),
            )
        finally:
            self._used()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.close()

    def __repr__(self):
        if not self._open:
            return "<treadle.Connection closed>"
        return f"<treadle.Connection {self._label()!r}{'' if can_receive(self.end) else ' sends'}{'' if can_send(self.end) else ' receives'}>"

    def __reduce__(self):
        cdef Ticket ticket
        cdef Connection keeper = Connection.__new__(Connection)
        self._use()
        try:
            # The descriptors travel as those of the standard library do. What is kept for the way is the memory alone: a
            # descriptor kept here would hide this process's death from the other end.
            self._ticket_for(keeper)
            reduction = import_lazily("multiprocessing.reduction")
            return _rebuild_connection, (
                _ticket_of(keeper.end.handle, keeper),
                self.end.side,
                reduction.DupFd(self.end.bell),
                reduction.DupFd(self.end.other),
            )
        finally:
            self._used()


def _rebuild_connection(ticket, side, bell, other):
    cdef Connection end = Connection.__new__(Connection)
    end.end.side = side
    end.end.bell = bell.detach()
    end.end.other = other.detach()
    _attach(ticket, "pipe", KIND_CHANNEL, &end.end.handle)
    end._open = True
    return end


@cython.final
cdef class _Prepared:
    """A message on its way: encoded, not sent."""

    cdef bytes frame
    cdef list holds


cdef object _message(const char* frame, _MessageMemory memory, bint rebuild):
    """What a frame that was received holds: its value, or its bytes."""
    cdef const char* data = frame + FRAME_HEADER if memory is None else message_data(memory.hold)
    cdef uint64_t size = frame_at(frame).size if memory is None else memory.size
    if not rebuild:
        return _bytes_of(data, size)
    if size != 0 and <uint8_t>data[0] == PICKLE:  # sent as bytes by who pickled it
        return import_lazily("pickle").loads(_bytes_of(data, size))
    return _rebuild(data, size, memory, True)


cdef enum:
    PICKLE = 0x80  # how pickles begin, and values of ours do not
    AS_BYTES = 1  # the tag of a frame that send_bytes has written
