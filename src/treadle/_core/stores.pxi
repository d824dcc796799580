# stores.pxi: what a queue keeps its items in. The public classes (queues.pxi) are the face, a store does the work: one for
# items by value in shared memory (ring.pxi), others for references within one process (local.pxi and its like).

cdef class _Store:
    """What every store does; an `ns` is a timeout, FOREVER or 0. Each raises what the public method of its name does."""

    cdef Handle handle  # without a mapping: private

    def __dealloc__(self):
        drop_object(self.handle)

    cdef int put(self, object item, int64_t ns) except -1:
        raise NotImplementedError

    cdef int put_many(self, object items, int64_t ns) except -1:
        raise NotImplementedError

    cdef object get(self, int64_t ns, bint copy):
        raise NotImplementedError

    cdef list get_many(self, uint32_t wanted, int64_t ns):
        raise NotImplementedError

    cdef _Claim claim(self, int64_t ns, bint copy):
        """Takes an item on lease."""
        raise NotImplementedError

    cdef bint put_now(self, object item) except -1:
        """Puts the item if there is room; says whether."""
        if self.full():
            return False
        try:
            self.put(item, 0)
        except Full:
            return False
        return True

    cdef object get_now(self, bint copy):
        """Takes an item if there is one, else PENDING."""
        try:
            return self.get(0, copy)
        except Empty:
            return _PENDING

    # For a task, one attempt each: PENDING, or what the method of that name returns.

    cdef object prepare(self, list items):
        """What attempt_put takes: encodes them all, so that one that cannot be leaves the queue as it was."""
        raise NotImplementedError

    cdef object attempt_put(self, object prepared, Waiter waiter):
        raise NotImplementedError

    cdef object prepare_one(self, object item):
        """What attempt_one takes."""
        return self.prepare([item])

    cdef object attempt_one(self, object prepared, Waiter waiter):
        return self.attempt_put(prepared, waiter)

    cdef object attempt_get(self, bint copy, Waiter waiter):
        raise NotImplementedError

    cdef object attempt_get_many(self, uint32_t wanted, Waiter waiter):
        raise NotImplementedError

    cdef object attempt_claim(self, Waiter waiter):
        raise NotImplementedError

    cdef object attempt_join(self, Waiter waiter):
        raise NotImplementedError

    cdef int done(self) except -1:
        """Says that one item is done with: a word::Result."""
        raise NotImplementedError

    cdef int join(self, int64_t ns) except -2:
        """Waits until all items are done with: a word::Result, TIMEOUT or INTERRUPTED."""
        raise NotImplementedError

    cdef int shut_down(self, bint immediate) except -1:
        raise NotImplementedError

    cdef uint64_t size(self) noexcept:
        return 0

    cdef bint full(self) noexcept:
        return False

    cdef int figures(self, QueueFigures* f) except -1:
        raise NotImplementedError

    cdef str label(self):
        raise NotImplementedError


cdef int _check_made(_Store store) except -1:
    if store is None:
        raise TypeError("a queue's waiter comes from its queue")
    return 0


@cython.final
@cython.internal
@cython.no_gc_clear
@cython.freelist(64)
cdef class _PutWaiter(Waiter):
    """The wait of a task that puts."""

    cdef _Store store
    cdef object prepared
    cdef bint one

    cdef object _try(self):
        _check_made(self.store)
        if self.one:
            return self.store.attempt_one(self.prepared, self)
        return self.store.attempt_put(self.prepared, self)


@cython.final
@cython.internal
@cython.no_gc_clear
@cython.freelist(64)
cdef class _GetWaiter(Waiter):
    """The wait of a task that gets."""

    cdef _Store store
    cdef bint copy

    cdef object _try(self):
        _check_made(self.store)
        return self.store.attempt_get(self.copy, self)


_send_natively(_PutWaiter)
_send_natively(_GetWaiter)


cdef class _Claim:
    """An item that a store gave out on lease; settled once. The public face of it is Lease."""

    cdef object item
    cdef unsigned int deliveries
    cdef int pid
    cdef bint open

    cdef int settle(self, bint done) except -2:
        """Acknowledges the item or gives it back: a word::Result."""
        raise NotImplementedError


cdef int _refuse(int result, str what, Mapping* mapping=NULL) except -1:
    """Raises what a put that did not happen raises."""
    if result == TIMEOUT:
        raise Full
    if result == SHUT:
        raise ShutDown
    if result == INTERRUPTED:
        _interrupted()
    raise _arena_full(what, mapping)


cdef int _withhold(int result, str what, Mapping* mapping=NULL) except -1:
    """Raises what a get that got nothing raises."""
    if result == TIMEOUT:
        raise Empty
    if result == SHUT:
        raise ShutDown
    if result == INTERRUPTED:
        _interrupted()
    raise _arena_full(what, mapping)
