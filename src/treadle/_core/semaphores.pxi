# semaphores.pxi: Semaphore and BoundedSemaphore, with permits that know their holder (reclaim) or do not.

cdef class _SemaphoreState:
    """What Semaphore and BoundedSemaphore have in common. `permits` is set in place of `body` where permits are reclaimed."""

    cdef SemaphoreBody* body
    cdef PermitsBody* permits
    cdef Handle handle
    cdef Retired* retired
    cdef SemaphoreBody own
    cdef bint releases_its_way  # a subclass has a release() of its own: the end of a with block calls it
    cdef TaskLine tasks  # of this process, that wait through this object: served in order
    cdef object __weakref__

    def __cinit__(self, *args, **kwargs):
        base = BoundedSemaphore if isinstance(self, BoundedSemaphore) else Semaphore
        self.releases_its_way = type(self) is not base and type(self).release is not base.release
        self.body = &self.own  # a private one with one permit, until __init__ has run
        semaphore_initialise(self.own, 1, SEMAPHORE_MAX, b"")

    def __dealloc__(self):
        drop_object(self.handle)
        drop_retired(self.retired)

    cdef _place(self, value, bint bounded, bint reclaim, bint shared, label, name, bint persist):
        cdef _Naming named = _named(name, persist, shared)
        cdef bytes text = _label_of(label, name)
        cdef Mapping* mapping
        cdef uint32_t count
        value = _whole(value)
        if value < 0:
            raise ValueError("semaphore initial value must be >= 0")
        if value > SEMAPHORE_MAX:
            raise OverflowError(f"a semaphore has at most {SEMAPHORE_MAX} permits, not {value}")
        count = value
        cdef uint32_t bound = count if bounded else SEMAPHORE_MAX
        cdef Handle made
        if not shared:  # nobody dies alone in one process
            retire(self.handle, self.retired)  # __init__ may be called again
            self.permits = NULL
            self.body = &self.own
            semaphore_initialise(self.own, count, bound, text)
            return
        mapping = _arena_of(named)
        of = "BoundedSemaphore" if bounded else "Semaphore"
        if named is None or not named.found(f"{of}({count}, reclaim={bool(reclaim)})", made):
            if reclaim:
                if not make_permits(mapping, _token_in(mapping), count, bound, text, made):
                    raise _arena_full("a semaphore", mapping)
            elif not make_semaphore(mapping, _token_in(mapping), count, bound, text, made):
                raise _arena_full("a semaphore", mapping)
            if named is not None:
                named.publish(made)
        retire(self.handle, self.retired)
        self.handle = made
        self.permits = NULL
        self.body = NULL
        if reclaim:
            self.permits = <PermitsBody*>body_of(made.block)
        else:
            self.body = <SemaphoreBody*>body_of(made.block)

    cdef str _label(self):
        if self.permits == NULL:
            return _text(self.body.label)
        return _text(self.permits.label)

    cdef int64_t _value(self) noexcept:
        return self.body.semaphore.value() if self.permits == NULL else self.permits.permits.value()

    cdef bint _acquire(self, int64_t timeout) except -1:
        cdef Token dead = 0
        cdef int result
        if self.permits == NULL:
            result = semaphore_acquire(self.body, self.handle, _token(self.handle), timeout)
        else:
            result = permits_acquire(self.permits, self.handle, _token(self.handle), timeout, &dead)
        if result == DONE:
            self._acquired(dead)
            return True
        if result == INTERRUPTED:
            _interrupted()
        _tell()
        if result == TIMEOUT:
            return False
        raise _arena_full("a semaphore's list of holders", self.handle.mapping)

    cdef object _attempt_native(self, Waiter waiter):
        cdef Token dead = 0
        cdef int result
        if self.permits == NULL:
            waiter._begin(self.handle)
            if waiter._joins(self, &self.tasks):
                semaphore_line_up(self.body, &waiter.wait)
                return _PENDING
            result = semaphore_attempt(self.body, self.handle, &waiter.wait)
        else:
            waiter._begin(self.handle)
            doubt_always(waiter.place)
            if waiter._joins(self, &self.tasks):
                permits_line_up(self.permits, &waiter.wait)
                return _PENDING
            result = permits_attempt(
                self.permits, self.handle, _token(self.handle), waiter.look, &dead, &waiter.wait
            )
        if result == BLOCKED or result == EMPTY:
            return _PENDING
        if result != DONE:
            raise _arena_full("a semaphore's list of holders", self.handle.mapping)
        self._acquired(dead)
        return True

    cdef int _acquired(self, Token dead) except -1:
        """Says who died holding permits; if that raises, the permit is given back."""
        try:
            _tell()
            if dead != 0:
                self._warn(dead)
        except BaseException:
            self._release(1)
            raise
        return 0

    cdef _warn(self, Token dead):
        message = (
            f"semaphore {self._label()!r}: {_who(self.handle, dead, 0)} ended holding permits; they came back, "
            "and what they stand for may need repair"
        )
        PyErr_WarnEx(OwnerDiedWarning, message.encode(), 1)

    cdef int _release(self, uint32_t count) except -2:
        cdef int result
        if self.permits == NULL:
            result = semaphore_release(self.body, self.handle, count)
        else:
            result = permits_release(self.permits, self.handle, _token(self.handle), count)
        _tell()
        return result

    cdef _release_many(self, n):
        n = _whole(n)
        if n < 1:
            raise ValueError("n must be one or more")
        if n > SEMAPHORE_MAX or self._release(n) != DONE:
            self._raise_too_many()

    cdef _raise_too_many(self):
        bound = self.body.bound if self.permits == NULL else self.permits.bound
        if bound == SEMAPHORE_MAX:
            raise OverflowError(f"a semaphore has at most {SEMAPHORE_MAX} permits")
        raise ValueError("Semaphore released too many times")

    cdef _statistics(self):
        bound = self.body.bound if self.permits == NULL else self.permits.bound
        return _records().SemaphoreStatistics(
            label=self._label(),
            shared=self.handle.mapping != NULL,
            value=self._value(),
            initial=self.body.initial if self.permits == NULL else self.permits.initial,
            bound=None if bound == SEMAPHORE_MAX else bound,
            reclaim=self.permits != NULL,
            waiting=count_waiting(self.handle),
        )

    cdef str _describe(self, str name):
        bound = self.body.bound if self.permits == NULL else self.permits.bound
        of = "" if bound == SEMAPHORE_MAX else f"/{bound}"
        storage = "shared" if self.handle.mapping != NULL else "private"
        return f"<treadle.{name} at {<size_t><void*>self:#x} {self._label()!r}, {storage}: value={self._value()}{of}>"

    cdef _reduce(self, rebuild, str name):
        if self.handle.mapping == NULL:
            raise TypeError(f"cannot pickle a private treadle.{name}; make it with shared=True")
        return _reduced(self, rebuild, (_ticket_of(self.handle, self), self.permits != NULL))

    cdef _attached(self, ticket, bint reclaim):
        _attach(ticket, "semaphore", KIND_PERMITS if reclaim else KIND_SEMAPHORE, &self.handle)
        if reclaim:
            self.body = NULL
            self.permits = <PermitsBody*>body_of(self.handle.block)
        else:
            self.body = <SemaphoreBody*>body_of(self.handle.block)


cdef int64_t _semaphore_timeout(blocking, timeout) except? -2:
    if not blocking:
        if timeout is not None:
            raise ValueError("can't specify timeout for non-blocking acquire")
        return 0
    return _optional_timeout(timeout)


cdef class Semaphore(_SemaphoreState):
    """Semaphore(value=1, *, shared=True, name=None, persist=False, reclaim=False, label=None)\n--\n
    A counter of permits: acquire takes one and waits while there is none, release adds some.

    reclaim: whether the permits that a process holds come back when it dies, with an OwnerDiedWarning to whoever gets
    one of them; off by default, since permits may be signals and not belongings. name, persist: as those of Lock; who
    opens a name gives the value and reclaim that it was made with. Raises ValueError for a negative value.

    >>> import treadle
    >>> tickets = treadle.Semaphore(2)
    >>> with tickets:
    ...     tickets.get_value()
    1
    """

    def __init__(self, value=1, *, shared=True, name=None, persist=False, reclaim=False, label=None):
        self._place(value, False, reclaim, shared, label, name, persist)

    def acquire(self, blocking=True, timeout=None):
        """Takes a permit; returns whether it was had. timeout: in seconds, None waits for ever.

        >>> import treadle
        >>> treadle.Semaphore(0).acquire(timeout=0.01)
        False
        """
        if blocking is True and timeout is None:
            if self.permits == NULL and self.body.semaphore.try_acquire():
                return True
            return self._acquire(FOREVER)
        return self._acquire(_semaphore_timeout(blocking, timeout))

    def release(self, n=1):
        """Adds n permits. Raises ValueError if n is less than one.

        >>> import treadle
        >>> empty = treadle.Semaphore(0)
        >>> empty.release(3)
        >>> empty.get_value()
        3
        """
        if n is _ONE:
            if self._release(1) != DONE:
                self._raise_too_many()
        else:
            self._release_many(n)

    def __enter__(self):
        if self.permits == NULL and self.body.semaphore.try_acquire():
            return True
        return self._acquire(FOREVER)

    def __exit__(self, kind, error, trace):
        if self.releases_its_way:
            self.release()
        elif self._release(1) != DONE:
            self._raise_too_many()

    def __aenter__(self):
        return self.aio.__aenter__()

    def __aexit__(self, kind, error, trace):
        return self.aio.__aexit__(kind, error, trace)

    def get_value(self):
        """Returns how many permits are free, at this instant.

        >>> import treadle
        >>> treadle.Semaphore(5).get_value()
        5
        """
        return self._value()

    @property
    def label(self):
        """What reports call it.

        >>> import treadle
        >>> treadle.Semaphore(label="tickets").label
        'tickets'
        """
        return self._label()

    @property
    def shared(self):
        """Whether the state lies in shared memory, for all processes.

        >>> import treadle
        >>> treadle.Semaphore(shared=False).shared
        False
        """
        return self.handle.mapping != NULL

    @property
    def aio(self):
        """The same semaphore for tasks of event loops: a ``treadle.aio.Semaphore``.

        >>> import asyncio, treadle
        >>> tickets = treadle.Semaphore(2)
        >>> async def main():
        ...     async with tickets.aio:
        ...         return tickets.get_value()
        >>> asyncio.run(main())
        1
        """
        return _aio().Semaphore(self)

    def _waiting_tasks(self):
        return self.tasks.count()

    def _try(self):
        return self.tasks.count() == 0 and (
            self.body.semaphore.try_acquire() if self.permits == NULL else self._acquire(0)
        )

    def _attempt(self, Waiter waiter not None):
        return self._attempt_native(waiter)

    @property
    def name(self):
        """By what name other programs find it, or None.

        >>> import treadle
        >>> treadle.Semaphore(name="tickets of the hall").name
        'tickets of the hall'
        """
        return _name_of(self.handle)

    def statistics(self):
        """Returns a ``SemaphoreStatistics``.

        >>> import treadle
        >>> treadle.Semaphore(5).statistics().initial
        5
        """
        return self._statistics()

    def __repr__(self):
        return self._describe("Semaphore")

    def __reduce__(self):
        return self._reduce(_rebuild_semaphore, "Semaphore")


cdef class BoundedSemaphore(_SemaphoreState):
    """BoundedSemaphore(value=1, *, shared=True, name=None, persist=False, reclaim=True, label=None)\n--\n
    A semaphore that refuses more releases than acquires.

    reclaim: whether the permits that a process holds come back when it dies, with an OwnerDiedWarning to whoever gets
    one of them. name, persist: as those of Semaphore. Raises ValueError for a negative value.

    >>> import treadle
    >>> connections = treadle.BoundedSemaphore(8)
    >>> with connections:
    ...     connections.get_value()
    7
    """

    def __init__(self, value=1, *, shared=True, name=None, persist=False, reclaim=True, label=None):
        self._place(value, True, reclaim, shared, label, name, persist)

    def acquire(self, blocking=True, timeout=None):
        """Takes a permit; returns whether it was had. timeout: in seconds, None waits for ever.

        >>> import treadle
        >>> treadle.BoundedSemaphore(0).acquire(blocking=False)
        False
        """
        if blocking is True and timeout is None:
            if self.permits == NULL and self.body.semaphore.try_acquire():
                return True
            return self._acquire(FOREVER)
        return self._acquire(_semaphore_timeout(blocking, timeout))

    def release(self, n=1):
        """Gives back n permits. Raises ValueError if that would be more than there were at first.

        >>> import treadle
        >>> treadle.BoundedSemaphore(1).release()
        Traceback (most recent call last):
        ...
        ValueError: Semaphore released too many times
        """
        if n is _ONE:
            if self._release(1) != DONE:
                self._raise_too_many()
        else:
            self._release_many(n)

    def __enter__(self):
        if self.permits == NULL and self.body.semaphore.try_acquire():
            return True
        return self._acquire(FOREVER)

    def __exit__(self, kind, error, trace):
        if self.releases_its_way:
            self.release()
        elif self._release(1) != DONE:
            self._raise_too_many()

    def __aenter__(self):
        return self.aio.__aenter__()

    def __aexit__(self, kind, error, trace):
        return self.aio.__aexit__(kind, error, trace)

    def get_value(self):
        """Returns how many permits are free, at this instant.

        >>> import treadle
        >>> treadle.BoundedSemaphore(5).get_value()
        5
        """
        return self._value()

    @property
    def label(self):
        """What reports call it.

        >>> import treadle
        >>> treadle.BoundedSemaphore(label="connections").label
        'connections'
        """
        return self._label()

    @property
    def shared(self):
        """Whether the state lies in shared memory, for all processes.

        >>> import treadle
        >>> treadle.BoundedSemaphore(shared=False).shared
        False
        """
        return self.handle.mapping != NULL

    @property
    def aio(self):
        """The same semaphore for tasks of event loops: a ``treadle.aio.Semaphore``.

        >>> import asyncio, treadle
        >>> connections = treadle.BoundedSemaphore(8)
        >>> async def main():
        ...     async with connections.aio:
        ...         return connections.get_value()
        >>> asyncio.run(main())
        7
        """
        return _aio().Semaphore(self)

    def _waiting_tasks(self):
        return self.tasks.count()

    def _try(self):
        return self.tasks.count() == 0 and (
            self.body.semaphore.try_acquire() if self.permits == NULL else self._acquire(0)
        )

    def _attempt(self, Waiter waiter not None):
        return self._attempt_native(waiter)

    @property
    def name(self):
        """By what name other programs find it, or None.

        >>> import treadle
        >>> treadle.BoundedSemaphore(name="connections of the server").name
        'connections of the server'
        """
        return _name_of(self.handle)

    def statistics(self):
        """Returns a ``SemaphoreStatistics``.

        >>> import treadle
        >>> treadle.BoundedSemaphore(5).statistics().bound
        5
        """
        return self._statistics()

    def __repr__(self):
        return self._describe("BoundedSemaphore")

    def __reduce__(self):
        return self._reduce(_rebuild_bounded_semaphore, "BoundedSemaphore")


def _rebuild_semaphore(of, ticket, reclaim):
    cdef Semaphore semaphore = of.__new__(of)
    semaphore._attached(ticket, reclaim)
    return semaphore


def _rebuild_bounded_semaphore(of, ticket, reclaim):
    cdef BoundedSemaphore semaphore = of.__new__(of)
    semaphore._attached(ticket, reclaim)
    return semaphore
