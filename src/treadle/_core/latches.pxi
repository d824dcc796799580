# latches.pxi: Latch.

cdef class Latch:
    """Latch(count, *, shared=True, name=None, persist=False, label=None)\n--\n
    A count that goes down to zero, once, and that threads and processes wait for.

    At zero the latch is open, and stays so. Nobody owns a part of the count: whoever dies before it has counted down is
    missed, so give ``wait`` a timeout where that may happen. name, persist: as those of Lock; who opens a name gives the
    count that it was made with. Raises ValueError for a negative count.

    >>> import treadle
    >>> ready = treadle.Latch(2)
    >>> ready.count_down()
    >>> ready.count_down()
    >>> ready.wait()
    True
    """

    cdef LatchBody* body
    cdef Handle handle
    cdef Retired* retired
    cdef LatchBody own
    cdef object __weakref__

    def __cinit__(self, *args, **kwargs):
        self.body = &self.own  # an open private one, until __init__ has run

    def __init__(self, count=None, *, shared=True, name=None, persist=False, label=None):
        if count is None:
            raise TypeError("a Latch needs its count, of the calls of count_down() that open it: Latch(3)")
        cdef _Naming named = _named(name, persist, shared)
        cdef bytes text = _label_of(label, name)
        cdef Mapping* mapping
        cdef Handle made
        count = _whole(count)
        if count < 0:
            raise ValueError("a latch's count must be >= 0")
        if count > LATCH_MAX:
            raise OverflowError(f"a latch counts from at most {LATCH_MAX}, not {count}")
        if shared:
            mapping = _arena_of(named)
            if named is None or not named.found(f"Latch({count})", made):
                if not make_latch(mapping, _token_in(mapping), count, text, made):
                    raise _arena_full("a latch", mapping)
                if named is not None:
                    named.publish(made)
            retire(self.handle, self.retired)  # __init__ may be called again
            self.handle = made
            self.body = <LatchBody*>body_of(self.handle.block)
        else:
            retire(self.handle, self.retired)
            self.body = &self.own
            latch_initialise(self.own, count, text)

    def __dealloc__(self):
        drop_object(self.handle)
        drop_retired(self.retired)

    def count_down(self, n=1):
        """Lowers the count by n, and wakes everybody who waits when it reaches zero.

        The count does not go below zero: what is beyond it is ignored, so that whoever does something twice need not know.
        Raises ValueError if n is less than one.

        >>> import treadle
        >>> latch = treadle.Latch(3)
        >>> latch.count_down(2)
        >>> latch.count
        1
        """
        if n is not _ONE:
            n = _whole(n)
            if n < 1:
                raise ValueError("n must be one or more")
        latch_count_down(self.body, self.handle, min(n, LATCH_MAX))
        _tell()

    def wait(self, timeout=None):
        """Waits until the count is zero; returns whether it is. timeout: in seconds, None waits for ever.

        >>> import treadle
        >>> treadle.Latch(1).wait(timeout=0.01)
        False
        """
        if self.body.latch.count() == 0:
            return True
        cdef int result = latch_wait(self.body, self.handle, _token(self.handle), _optional_timeout(timeout))
        if result == INTERRUPTED:
            _interrupted()
        return result == DONE

    @property
    def aio(self):
        """The same latch for tasks of event loops: a ``treadle.aio.Latch``.

        >>> import asyncio, treadle
        >>> ready = treadle.Latch(1)
        >>> async def main():
        ...     asyncio.get_running_loop().call_soon(ready.count_down)
        ...     return await ready.aio.wait()
        >>> asyncio.run(main())
        True
        """
        return _aio().Latch(self)

    def _attempt(self, Waiter waiter not None):
        waiter._begin(self.handle)
        return True if latch_attempt(self.body, self.handle, &waiter.wait) == DONE else _PENDING

    @property
    def count(self):
        """How much is left to count down, at this instant.

        >>> import treadle
        >>> treadle.Latch(3).count
        3
        """
        return self.body.latch.count()

    @property
    def label(self):
        """What reports call it.

        >>> import treadle
        >>> treadle.Latch(3, label="ready").label
        'ready'
        """
        return _text(self.body.label)

    @property
    def shared(self):
        """Whether the state lies in shared memory, for all processes.

        >>> import treadle
        >>> treadle.Latch(3, shared=False).shared
        False
        """
        return self.handle.mapping != NULL

    @property
    def name(self):
        """By what name other programs find it, or None.

        >>> import treadle
        >>> treadle.Latch(3, name="ships in the harbour").name
        'ships in the harbour'
        """
        return _name_of(self.handle)

    def statistics(self):
        """Returns a ``LatchStatistics``.

        >>> import treadle
        >>> treadle.Latch(3).statistics().initial
        3
        """
        return _records().LatchStatistics(
            label=_text(self.body.label),
            shared=self.handle.mapping != NULL,
            count=self.body.latch.count(),
            initial=self.body.initial,
            waiting=count_waiting(self.handle),
        )

    def __repr__(self):
        storage = "shared" if self.handle.mapping != NULL else "private"
        state = f"count={self.body.latch.count()}/{self.body.initial}"
        return f"<treadle.Latch at {<size_t><void*>self:#x} {_text(self.body.label)!r}, {storage}: {state}>"

    def __reduce__(self):
        if self.handle.mapping == NULL:
            raise TypeError("cannot pickle a private treadle.Latch; make it with shared=True")
        return _reduced(self, _rebuild_latch, (_ticket_of(self.handle, self),))


def _rebuild_latch(of, ticket):
    cdef Latch latch = of.__new__(of)
    _attach(ticket, "latch", KIND_LATCH, &latch.handle)
    latch.body = <LatchBody*>body_of(latch.handle.block)
    return latch
