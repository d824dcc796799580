# events.pxi: Event.

cdef class Event:
    """Event(*, shared=True, name=None, persist=False, label=None)\n--\n
    A flag that threads and processes wait for.

    name, persist: as those of Lock.

    >>> import treadle
    >>> ready = treadle.Event()
    >>> ready.set()
    >>> ready.wait()
    True
    """

    cdef EventBody* body
    cdef Handle handle
    cdef Retired* retired
    cdef EventBody own
    cdef object __weakref__

    def __cinit__(self, *args, **kwargs):
        self.body = &self.own  # an unset private event, until __init__ has run

    def __init__(self, *, shared=True, name=None, persist=False, label=None):
        cdef _Naming named = _named(name, persist, shared)
        cdef bytes text = _label_of(label, name)
        cdef Mapping* mapping
        cdef Handle made
        if shared:
            mapping = _arena_of(named)
            if named is None or not named.found("Event()", made):
                if not make_event(mapping, _token_in(mapping), text, made):
                    raise _arena_full("an event", mapping)
                if named is not None:
                    named.publish(made)
            retire(self.handle, self.retired)  # __init__ may be called again
            self.handle = made
            self.body = <EventBody*>body_of(self.handle.block)
        else:
            retire(self.handle, self.retired)
            self.body = &self.own
            copy_label(self.own.label, sizeof(self.own.label), text)

    def __dealloc__(self):
        drop_object(self.handle)
        drop_retired(self.retired)

    def is_set(self):
        """Returns whether the flag is set.

        >>> import treadle
        >>> treadle.Event().is_set()
        False
        """
        return self.body.event.is_set()

    def set(self):
        """Sets the flag and wakes everybody who waits for it.

        >>> import treadle
        >>> event = treadle.Event()
        >>> event.set()
        >>> event.is_set()
        True
        """
        event_set(self.body, self.handle)
        _tell()

    def clear(self):
        """Resets the flag.

        >>> import treadle
        >>> event = treadle.Event()
        >>> event.clear()
        """
        self.body.event.clear()

    def wait(self, timeout=None):
        """Waits until the flag is set; returns whether it was. timeout: in seconds, None waits for ever.

        Who waited sees a set even if a clear came right after it.

        >>> import treadle
        >>> treadle.Event().wait(timeout=0.01)
        False
        """
        if self.body.event.is_set():
            return True
        cdef int result = event_wait(self.body, self.handle, _token(self.handle), _optional_timeout(timeout))
        if result == INTERRUPTED:
            _interrupted()
        return result == DONE

    @property
    def aio(self):
        """The same event for tasks of event loops: a ``treadle.aio.Event``.

        >>> import asyncio, treadle
        >>> ready = treadle.Event()
        >>> async def main():
        ...     asyncio.get_running_loop().call_soon(ready.set)
        ...     return await ready.aio.wait()
        >>> asyncio.run(main())
        True
        """
        return _aio().Event(self)

    def _epoch(self):
        return event_epoch(self.body)

    def _attempt(self, uint32_t since, Waiter waiter not None):
        waiter._begin(self.handle)
        return True if event_attempt(self.body, self.handle, since, &waiter.wait) == DONE else _PENDING

    def __bool__(self):
        raise TypeError("an event cannot be used as a bool; did you mean event.is_set()?")

    @property
    def label(self):
        """What reports call it.

        >>> import treadle
        >>> treadle.Event(label="ready").label
        'ready'
        """
        return _text(self.body.label)

    @property
    def shared(self):
        """Whether the state lies in shared memory, for all processes.

        >>> import treadle
        >>> treadle.Event(shared=False).shared
        False
        """
        return self.handle.mapping != NULL

    @property
    def name(self):
        """By what name other programs find it, or None.

        >>> import treadle
        >>> treadle.Event(name="books are open").name
        'books are open'
        """
        return _name_of(self.handle)

    def statistics(self):
        """Returns an ``EventStatistics``.

        >>> import treadle
        >>> treadle.Event().statistics().is_set
        False
        """
        return _records().EventStatistics(
            label=_text(self.body.label),
            shared=self.handle.mapping != NULL,
            is_set=self.body.event.is_set(),
            waiting=count_waiting(self.handle),
        )

    def _at_fork_reinit(self):
        pass  # nobody owns an event

    def __repr__(self):
        state = "set" if self.body.event.is_set() else "unset"
        storage = "shared" if self.handle.mapping != NULL else "private"
        return f"<treadle.Event at {<size_t><void*>self:#x} {_text(self.body.label)!r}, {storage}: {state}>"

    def __reduce__(self):
        if self.handle.mapping == NULL:
            raise TypeError("cannot pickle a private treadle.Event; make it with shared=True")
        return _reduced(self, _rebuild_event, (_ticket_of(self.handle, self),))


def _rebuild_event(of, ticket):
    cdef Event event = of.__new__(of)
    _attach(ticket, "event", KIND_EVENT, &event.handle)
    event.body = <EventBody*>body_of(event.handle.block)
    return event
