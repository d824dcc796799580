# rwlocks.pxi: RWLock, and the holds that its read(), write() and recover() return.

class NotEntered(TypeError, AttributeError):
    """Raised by a with statement over what has several ways in. An AttributeError, too: who asks by ``hasattr`` is told no."""


cdef class RWLock:
    """RWLock(*, shared=True, name=None, persist=False, on_owner_death='raise', label=None)\n--\n
    A lock that many may hold for reading, or one for writing; for threads and processes.

    A hold belongs to the thread that acquired it, and only that releases it. A thread that reads may read again. A
    thread that writes, or that reads and would write, would wait for itself: that is a RuntimeError, or False from a
    call that does not wait.

    Neither side starves the other: while somebody waits to write, newcomers wait to read; whoever waits to read is let
    in when the writer releases the lock, before another writer. Writers among themselves are not served in order.

    If a thread or process ends while it reads, that is forgotten; it changed nothing. If one ends while it writes, the
    lock is *inconsistent*: whoever asks for it, to read or to write, gets an OwnerDiedError until somebody recovers it;
    with ``on_owner_death="recover"`` it is had as it is, and an OwnerDiedWarning says who died. That is an option of the
    handle, and not of the lock: it is pickled with the handle, but who opens the same name without it gets the error.

    shared: whether the state lies in shared memory, so that the lock can be pickled and used from other processes.
    name, persist: as those of Lock. label: what reports call it; by default the name, or the module and line that made it.

    >>> import treadle
    >>> lock = treadle.RWLock()
    >>> with lock.read():
    ...     lock.readers
    1
    >>> with lock.write():
    ...     lock.readers, lock.locked()
    (0, True)
    """

    cdef RWLockBody* body
    cdef Handle handle
    cdef Retired* retired
    cdef RWLockBody own  # the state, if it is private
    cdef bint take_over
    cdef object __weakref__

    def __cinit__(self, *args, **kwargs):
        self.body = &self.own  # a free private lock, until __init__ has run
        rwlock_initialise(self.own, b"")

    def __init__(self, *, shared=True, name=None, persist=False, on_owner_death="raise", label=None):
        cdef _Naming named = _named(name, persist, shared)
        cdef bytes text = _label_of(label, name)
        cdef Mapping* mapping
        cdef Handle made
        self.take_over = _takes_over(on_owner_death)
        if shared:
            mapping = _arena_of(named)
            if named is None or not named.found("RWLock()", made):
                if not make_rwlock(mapping, _token_in(mapping), text, made):
                    raise _arena_full("a lock", mapping)
                if named is not None:
                    named.publish(made)
            retire(self.handle, self.retired)  # __init__ may be called again
            self.handle = made
            self.body = <RWLockBody*>body_of(self.handle.block)
        else:
            retire(self.handle, self.retired)
            self.body = &self.own
            copy_label(self.own.label, sizeof(self.own.label), text)

    def __dealloc__(self):
        rwlock_free_private(&self.own)
        drop_object(self.handle)
        drop_retired(self.retired)

    def acquire_read(self, blocking=True, timeout=-1):
        """Takes the lock for reading; returns whether it was had.

        timeout: in seconds, -1 waits for ever. Raises OwnerDiedError if a writer died holding it, and RuntimeError where
        this thread writes.

        >>> import treadle
        >>> lock = treadle.RWLock()
        >>> lock.acquire_read(), lock.acquire_read(), lock.acquire_write(blocking=False)
        (True, True, False)
        """
        cdef int64_t ns = FOREVER
        if blocking is not True or timeout is not _DEFAULT_TIMEOUT:
            ns = _lock_timeout(blocking, timeout)
        if rwlock_try_read(self.body, self.handle, _token(self.handle)):
            return True
        return self._read(ns)

    def acquire_write(self, blocking=True, timeout=-1):
        """Takes the lock for writing; returns whether it was had.

        timeout: in seconds, -1 waits for ever. Raises OwnerDiedError if a writer died holding it, and RuntimeError where
        this thread reads or writes.

        >>> import treadle
        >>> lock = treadle.RWLock()
        >>> lock.acquire_write(), lock.acquire_write(blocking=False), lock.acquire_read(blocking=False)
        (True, False, False)
        """
        cdef int64_t ns = FOREVER
        if blocking is not True or timeout is not _DEFAULT_TIMEOUT:
            ns = _lock_timeout(blocking, timeout)
        if rwlock_try_write(self.body, self.handle, _token(self.handle)):
            return True
        return self._write(ns)

    def release_read(self):
        """Ends a read of this thread. Raises RuntimeError if it does not read.

        >>> import treadle
        >>> treadle.RWLock().release_read()
        Traceback (most recent call last):
        ...
        RuntimeError: this thread does not hold lock '...' for reading
        """
        self._end_read()

    def release_write(self):
        """Ends the write of this thread. Raises RuntimeError if it does not write.

        >>> import treadle
        >>> treadle.RWLock().release_write()
        Traceback (most recent call last):
        ...
        RuntimeError: this thread does not hold lock '...' for writing
        """
        self._end_write()

    def read(self):
        """Returns a context manager that holds the lock for reading.

        >>> import treadle
        >>> with treadle.RWLock().read() as held:
        ...     held
        True
        """
        cdef _ReadHold hold = _ReadHold.__new__(_ReadHold)
        hold.lock = self
        return hold

    def write(self):
        """Returns a context manager that holds the lock for writing.

        >>> import treadle
        >>> with treadle.RWLock().write() as held:
        ...     held
        True
        """
        cdef _WriteHold hold = _WriteHold.__new__(_WriteHold)
        hold.lock = self
        return hold

    @property
    def __enter__(self):
        raise NotEntered(f"lock {self._label()!r} is entered to read or to write: use with lock.read() or with lock.write()")

    @property
    def __aenter__(self):
        raise NotEntered(
            f"lock {self._label()!r} is entered to read or to write: "
            "use async with lock.aio.read() or async with lock.aio.write()"
        )

    def recover(self, timeout=-1):
        """Returns a context manager that takes the lock for writing even if a writer died, to repair what it guards.

        It yields True if that is needed, False if the lock was consistent (perhaps somebody else has repaired it by
        now). When the block ends well, the lock is consistent and free; when it raises, it stays inconsistent.

        timeout: in seconds, -1 waits for ever; TimeoutError. Raises RuntimeError where this thread holds the lock.

        >>> import treadle
        >>> with treadle.RWLock().recover() as needed:
        ...     needed
        False
        """
        return _write_recovery(self, timeout, None)

    def locked(self):
        """Returns whether somebody holds the lock, to read or to write, at this instant.

        >>> import treadle
        >>> treadle.RWLock().locked()
        False
        """
        return rwlock_is_written(self.body, self.handle) or self._reads() != 0

    @property
    def owner(self):
        """Who holds the lock for writing: a ``Holder``, or None.

        >>> import treadle, os
        >>> lock = treadle.RWLock()
        >>> with lock.write():
        ...     lock.owner.pid == os.getpid()
        True
        """
        cdef int64_t since = self.body.since
        cdef tuple holder = self._holder()
        return None if holder is None else _records().Holder(*holder[:3], since / 1e9)

    @property
    def readers(self):
        """How many reads are held, at this instant: a thread that reads twice counts twice, the dead do not.

        >>> import treadle
        >>> treadle.RWLock().readers
        0
        """
        return self._reads()

    @property
    def label(self):
        """What reports call it.

        >>> import treadle
        >>> treadle.RWLock(label="index").label
        'index'
        """
        return self._label()

    @property
    def shared(self):
        """Whether the state lies in shared memory, for all processes.

        >>> import treadle
        >>> treadle.RWLock(shared=False).shared
        False
        """
        return self.handle.mapping != NULL

    @property
    def name(self):
        """By what name other programs find it, or None.

        >>> import treadle
        >>> treadle.RWLock(name="index of the books").name
        'index of the books'
        """
        return _name_of(self.handle)

    @property
    def aio(self):
        """The same lock for tasks of event loops: a ``treadle.aio.RWLock``, held by the task, not by its thread.

        >>> import asyncio, treadle
        >>> lock = treadle.RWLock()
        >>> async def main():
        ...     async with lock.aio.read():
        ...         return lock.readers
        >>> asyncio.run(main())
        1
        """
        return _aio().RWLock(self)

    # For a task: `identity` is what it goes by (tasks.pxi).

    def _attempt_read_by(self, TaskIdentity identity not None, ReadPlace place not None, Waiter waiter not None):
        cdef Token token = identity.token_in(self.handle), dead = 0
        waiter._begin(self.handle)
        doubt_always(waiter.place)
        cdef int result = rwlock_read_attempt(
            self.body, self.handle, token, waiter.look, ADOPT if self.take_over else REPORT, &place.ticket, &dead, &waiter.wait
        )
        if result == BLOCKED:
            return _PENDING
        if result != DONE:
            self._not_had_by(result, dead, token)
        try:
            self._had(dead)
        except BaseException:
            self._end_read_as(token)
            raise
        return True

    def _cancel_read_by(self, TaskIdentity identity not None, ReadPlace place not None):
        """Gives up waiting to read; returns whether it was let in before."""
        cdef bint admitted = rwlock_cancel_read(
            self.body, self.handle, identity.token_in(self.handle), &place.ticket
        )
        _tell()
        return bool(admitted)

    def _attempt_write_by(self, TaskIdentity identity not None, Waiter waiter not None):
        cdef Token token = identity.token_in(self.handle), dead = 0
        waiter._begin(self.handle)
        doubt_always(waiter.place)
        cdef int result = rwlock_write_attempt(
            self.body, self.handle, token, waiter.look, ADOPT if self.take_over else REPORT, &dead, &waiter.wait
        )
        if result == BLOCKED:
            return _PENDING
        if result != DONE:
            self._not_had_by(result, dead, token)
        try:
            self._had(dead)
        except BaseException:
            self._end_write_as(token)
            raise
        return True

    def _cancel_write_by(self, TaskIdentity identity not None):
        rwlock_cancel_write(self.body, self.handle, identity.token_in(self.handle))
        _tell()

    def _recovery_by(self, TaskIdentity identity not None):
        return _write_recovery(self, -1, identity)

    def _release_read_by(self, TaskIdentity identity not None):
        self._end_read_as(identity.token_in(self.handle))

    def _release_write_by(self, TaskIdentity identity not None):
        self._end_write_as(identity.token_in(self.handle))

    def statistics(self):
        """Returns an ``RWLockStatistics``.

        >>> import treadle
        >>> treadle.RWLock().statistics().readers
        0
        """
        return _records().RWLockStatistics(
            label=self._label(),
            shared=self.handle.mapping != NULL,
            locked=self.locked(),
            inconsistent=rwlock_is_inconsistent(self.body),
            owner=self.owner,
            readers=self._reads(),
            waiting=count_waiting(self.handle),
        )

    cdef str _label(self):
        return _text(self.body.label)

    cdef uint32_t _reads(self) except? 0xffffffff:
        return rwlock_reads(self.body, self.handle, _token(self.handle))

    cdef tuple _holder(self):
        if not rwlock_is_written(self.body, self.handle):
            return None
        return _identity(self.handle, rwlock_writer(self.body), self.body.holder)

    cdef bint _read(self, int64_t timeout) except -1:
        cdef Token dead = 0
        cdef int result = rwlock_read(
            self.body, self.handle, _token(self.handle), timeout, ADOPT if self.take_over else REPORT, &dead
        )
        if result != DONE:
            return self._not_had(result, dead)
        try:
            self._had(dead)
        except BaseException:
            self._end_read()
            raise
        return True

    cdef bint _write(self, int64_t timeout) except -1:
        cdef Token dead = 0
        cdef int result = rwlock_write(
            self.body, self.handle, _token(self.handle), timeout, ADOPT if self.take_over else REPORT, &dead
        )
        if result != DONE:
            return self._not_had(result, dead)
        try:
            self._had(dead)
        except BaseException:
            self._end_write()
            raise
        return True

    cdef int _had(self, Token dead) except -1:
        _tell()
        if dead != 0 and self.handle.mapping != NULL:
            PyErr_WarnEx(OwnerDiedWarning, _adopted(self._label(), self.handle, dead), 1)
        return 0

    cdef bint _not_had(self, int result, Token dead) except -1:
        return self._not_had_by(result, dead, _token(self.handle))

    cdef bint _not_had_by(self, int result, Token dead, Token token) except -1:
        if result == INTERRUPTED:
            _interrupted()
        _tell()
        if result == TIMEOUT:
            return False
        if result == NO_MEMORY:
            raise _arena_full("a lock's list of readers") if self.handle.mapping != NULL else MemoryError()
        if result == WOULD_WAIT_FOR_ITSELF:
            held = "writing" if rwlock_is_mine(self.body, token) else "reading"
            who = "thread" if token == _token(self.handle) else "task"
            raise RuntimeError(
                f"this {who} holds lock {self._label()!r} for {held}, and would wait for itself; release that first"
            )
        _raise_inconsistent(self._label(), self.handle, result == OWNER_DIED, dead, self.body.holder, True)

    cdef bint _end_read(self) except -1:
        return self._end_read_as(_token(self.handle))

    cdef bint _end_read_as(self, Token token) except -1:
        if rwlock_end_read(self.body, self.handle, token) != DONE:
            if token == _token(self.handle):
                raise RuntimeError(f"this thread does not hold lock {self._label()!r} for reading")
            hint = "" if self._reads() == 0 else f"; another task, or a thread, does; {_OF_WAIT_FOR}"
            raise RuntimeError(f"this task does not hold lock {self._label()!r} for reading{hint}")
        _tell()
        return True

    cdef bint _end_write(self) except -1:
        return self._end_write_as(_token(self.handle))

    cdef bint _end_write_as(self, Token token) except -1:
        if rwlock_end_write(self.body, self.handle, token) != DONE:
            self._raise_not_written("thread" if token == _token(self.handle) else "task")
        _tell()
        return True

    cdef _raise_not_written(self, who="thread"):
        if rwlock_is_inconsistent(self.body):
            raise RuntimeError(
                f"cannot release lock {self._label()!r}: its owner died, and it is not held; call recover() before use"
            )
        hint = "" if who == "thread" else _not_the_holder(self._holder(), self.handle.mapping != NULL)
        raise RuntimeError(f"this {who} does not hold lock {self._label()!r} for writing{hint}")

    def __repr__(self):
        state, by = "unlocked", ""
        reads = self._reads()
        if rwlock_is_inconsistent(self.body):
            state = "inconsistent"
            by = f", last held by {_who(self.handle, rwlock_writer(self.body), self.body.holder)}"
        elif reads != 0:
            state, by = "locked", f", read by {reads}"
        else:
            holder = self._holder()  # not self.owner: a repr must not import anything
            if holder is not None:
                state, by = "locked", f", written by {_holder_text(holder)}"
        storage = "shared" if self.handle.mapping != NULL else "private"
        return f"<{state} treadle.RWLock object {self._label()!r} at {<size_t><void*>self:#x}, {storage}{by}>"

    def __reduce__(self):
        if self.handle.mapping == NULL:
            raise TypeError("cannot pickle a private treadle.RWLock; make it with shared=True")
        return _reduced(self, _rebuild_rwlock, (_ticket_of(self.handle, self), bool(self.take_over)))


def _rebuild_rwlock(of, ticket, take_over):
    cdef RWLock lock = of.__new__(of)
    _attach(ticket, "lock", KIND_RWLOCK, &lock.handle)
    lock.body = <RWLockBody*>body_of(lock.handle.block)
    lock.take_over = take_over
    return lock


@cython.final
cdef class ReadPlace:
    """Where a task stands that waits to read."""

    cdef ReadTicket ticket


@cython.final
@cython.freelist(8)
cdef class _ReadHold:
    """What ``read()`` returns: see there."""

    cdef RWLock lock

    def __enter__(self):
        cdef RWLock lock = self.lock
        if lock is None:
            raise TypeError("a hold comes from a lock's read()")
        return rwlock_try_read(lock.body, lock.handle, _token(lock.handle)) or lock._read(FOREVER)

    def __exit__(self, kind, error, trace):
        if self.lock is not None:
            self.lock._end_read()


@cython.final
@cython.freelist(8)
cdef class _WriteHold:
    """What ``write()`` returns: see there."""

    cdef RWLock lock

    def __enter__(self):
        cdef RWLock lock = self.lock
        if lock is None:
            raise TypeError("a hold comes from a lock's write()")
        return rwlock_try_write(lock.body, lock.handle, _token(lock.handle)) or lock._write(FOREVER)

    def __exit__(self, kind, error, trace):
        if self.lock is not None:
            self.lock._end_write()


@cython.final
cdef class _WriteRecovery:
    """What ``recover()`` returns: see there."""

    cdef RWLock lock
    cdef int64_t timeout
    cdef TaskIdentity task  # None: a thread's
    cdef bint marked

    cdef Token _token(self) except 0:
        if self.lock is None:
            raise TypeError("a recovery comes from a lock's recover()")
        return _token(self.lock.handle) if self.task is None else self.task.token_in(self.lock.handle)

    cdef object _had(self, Token token, Token dead):
        self.marked = dead != 0 and self.lock.handle.mapping != NULL
        try:
            _tell()
        except BaseException:  # as where the block raises
            rwlock_end_write(self.lock.body, self.lock.handle, token)
            _tell()
            raise
        return bool(self.marked)

    def __enter__(self):
        cdef Token token = self._token(), dead = 0
        cdef RWLock lock = self.lock
        cdef int result = rwlock_write(lock.body, lock.handle, token, self.timeout, MARK, &dead)
        if result == TIMEOUT:
            self._too_late()
        if result != DONE:
            lock._not_had_by(result, dead, token)
        return self._had(token, dead)

    # For a task.

    def _attempt(self, Waiter waiter not None):
        cdef Token token = self._token(), dead = 0
        cdef RWLock lock = self.lock
        waiter._begin(lock.handle)
        doubt_always(waiter.place)
        cdef int result = rwlock_write_attempt(lock.body, lock.handle, token, waiter.look, MARK, &dead, &waiter.wait)
        if result == BLOCKED:
            return _PENDING
        if result != DONE:
            lock._not_had_by(result, dead, token)
        return self._had(token, dead)

    def _give_up(self):
        self._token()
        self.lock._cancel_write_by(self.task)

    def _too_late(self):
        self._token()
        raise TimeoutError(f"lock {self.lock._label()!r} could not be had for its recovery in time")

    def __exit__(self, kind, error, trace):
        cdef RWLock lock = self.lock
        cdef Token token
        if lock is None:
            return
        token = self._token()
        if self.marked and kind is None:
            if rwlock_restore(lock.body, lock.handle, token) != DONE:
                raise RuntimeError(f"lock {lock._label()!r} was released during its recovery; it stays inconsistent")
        elif rwlock_end_write(lock.body, lock.handle, token) != DONE and kind is None:
            lock._raise_not_written()
        _tell()


cdef _WriteRecovery _write_recovery(RWLock lock, timeout, TaskIdentity task):
    cdef _WriteRecovery recovery = _WriteRecovery.__new__(_WriteRecovery)
    recovery.lock = lock
    recovery.timeout = _lock_timeout(True, timeout)
    recovery.task = task
    return recovery
