# barriers.pxi: the rounds of a barrier. The action and the errors are treadle._sync.Barrier's affair.

@cython.final
cdef class BarrierCore:
    """BarrierCore(parties, shared, label, name, persist)\n--\n
    The rounds of a barrier: what ``treadle.Barrier`` is built on.
    """

    cdef BarrierBody* body
    cdef Handle handle
    cdef object __weakref__

    def __cinit__(self, parties, shared, label, name, persist):
        cdef _Naming named = _named(name, persist, shared)
        cdef bytes text = _label_of(label, name)
        parties = _whole(parties)
        cdef Mapping* mapping
        if shared:
            mapping = _arena_of(named)
            if named is None or not named.found(f"Barrier({parties})", self.handle):
                if not make_barrier(mapping, _token_in(mapping), parties, text, self.handle):
                    raise _arena_full("a barrier", mapping)
                if named is not None:
                    named.publish(self.handle)
            self.body = <BarrierBody*>body_of(self.handle.block)
        else:
            self.body = <BarrierBody*>calloc(1, barrier_bytes(parties))
            if self.body == NULL:
                raise MemoryError
            barrier_initialise(self.body[0], parties, text)

    def __dealloc__(self):
        if self.handle.mapping == NULL:
            free(self.body)
        drop_object(self.handle)

    def wait(self, action, timeout):
        """Passes a round; returns this party's index, or None if the barrier is broken, False if it ran out of time.

        action: called by the last to come; None is no action. Who gives up, having come, breaks the round.

        All of it is one native call: a handler of signals may raise between any two steps of Python code, and would leave
        a party behind that nobody waits for.
        """
        cdef Token token = _token(self.handle)
        cdef int64_t left = _optional_timeout(timeout)
        cdef double deadline = time.monotonic() + left / 1e9
        cdef uint32_t phase = 0, index = 0
        cdef int result = barrier_arrive(self.body, self.handle, token, left, &phase, &index)
        if result == INTERRUPTED:
            _interrupted()
        if result == TIMEOUT:  # the last round was not over yet: this party has not come, and nobody waits for it
            return False
        if result != DONE:
            _tell()
            return None
        try:
            if index + 1 == self.body.barrier.parties():
                if action is not None:
                    action()
                result = barrier_trip(self.body, self.handle, token, phase)
                _tell()
            else:
                if left != FOREVER:
                    left = _nanoseconds(max(deadline - time.monotonic(), 0.0))
                result = barrier_wait(self.body, self.handle, token, phase, left)
                if result == INTERRUPTED:
                    _interrupted()
        except BaseException:
            barrier_give_up(self.body, self.handle, token, phase)
            _tell()
            raise
        if result == DONE or result == TIMEOUT and barrier_give_up(self.body, self.handle, token, phase) == DONE:
            return index
        _tell()
        return False if result == TIMEOUT else None

    # For a task.

    def _attempt_arrive(self, Waiter waiter not None):
        """Returns (phase, index), PENDING, or None: the barrier is broken."""
        cdef uint32_t phase = 0, index = 0
        waiter._begin(self.handle)
        doubt_always(waiter.place)
        cdef int result = barrier_arrive_attempt(
            self.body, self.handle, _token(self.handle), waiter.look, &phase, &index, &waiter.wait
        )
        _tell()
        if result == BLOCKED:
            return _PENDING
        return (phase, index) if result == DONE else None

    def _attempt(self, uint32_t phase, Waiter waiter not None):
        """Returns True, PENDING, or None: the barrier is broken."""
        waiter._begin(self.handle)
        doubt_always(waiter.place)
        cdef int result = barrier_wait_attempt(
            self.body, self.handle, _token(self.handle), waiter.look, phase, &waiter.wait
        )
        _tell()
        if result == BLOCKED:
            return _PENDING
        return True if result == DONE else None

    def _trip(self, uint32_t phase):
        """The last party ends its round; returns whether it was still on."""
        cdef int result = barrier_trip(self.body, self.handle, _token(self.handle), phase)
        _tell()
        return result == DONE

    def _give_up(self, uint32_t phase):
        """A party stops waiting; returns whether the round had ended well."""
        cdef int result = barrier_give_up(self.body, self.handle, _token(self.handle), phase)
        _tell()
        return result == DONE

    def break_off(self):
        """Breaks the barrier."""
        barrier_break(self.body, self.handle, _token(self.handle))
        _tell()

    def reset(self):
        """Makes the barrier as new; who waits finds it broken."""
        barrier_reset(self.body, self.handle, _token(self.handle))
        _tell()

    def culprit(self):
        """Whose death broke the barrier, in words; None if it was broken otherwise."""
        cdef Token token = self.body.barrier.culprit()
        return None if token == 0 else _who(self.handle, token, 0)

    @property
    def parties(self):
        """How many make a round."""
        return self.body.barrier.parties()

    @property
    def waiting(self):
        """How many of them have arrived."""
        return self.body.barrier.waiting()

    @property
    def broken(self):
        """Whether the barrier is broken."""
        return self.body.barrier.is_broken()

    @property
    def label(self):
        """What reports call it."""
        return _text(self.body.label)

    @property
    def shared(self):
        """Whether the state lies in shared memory."""
        return self.handle.mapping != NULL

    @property
    def name(self):
        """By what name other programs find it, or None."""
        return _name_of(self.handle)

    def __reduce__(self):
        if self.handle.mapping == NULL:
            raise TypeError("cannot pickle a private treadle.Barrier; make it with shared=True")
        return _rebuild_barrier, (_ticket_of(self.handle, self),)


def _rebuild_barrier(ticket):
    cdef BarrierCore core = BarrierCore.__new__(BarrierCore, 1, False, b"", None, False)
    cdef BarrierBody* spare = core.body
    _attach(ticket, "barrier", KIND_BARRIER, &core.handle)
    free(spare)
    core.body = <BarrierBody*>body_of(core.handle.block)
    return core
