# conditions.pxi: the waiters of a condition variable. The lock that goes with them is treadle._sync.Condition's affair.

cdef class Guarded:
    """What has a lock and is entered and left as that is: the base of ``treadle.Condition``.

    Native, since a handler of signals that raised between two steps of Python code would leave the lock held.
    """

    cdef public object _lock

    def __enter__(self):
        return self._lock.__enter__()

    def __exit__(self, kind, error, trace):
        return self._lock.__exit__(kind, error, trace)

    def __aenter__(self):
        return self.aio.__aenter__()

    def __aexit__(self, kind, error, trace):
        return self.aio.__aexit__(kind, error, trace)


@cython.final
cdef class ConditionCore:
    """ConditionCore(shared, label, name, persist, description)\n--\n
    Who waits for a condition, in order of arrival: what ``treadle.Condition`` is built on.
    """

    cdef ConditionBody* body
    cdef Handle handle
    cdef ConditionBody own
    cdef object __weakref__

    def __cinit__(self, shared, label, name, persist, description):
        cdef _Naming named = _named(name, persist, shared)
        cdef bytes text = _label_of(label, name)
        cdef Mapping* mapping
        if shared:
            mapping = _arena_of(named)
            if named is None or not named.found(description, self.handle):
                if not make_condition(mapping, _token_in(mapping), text, self.handle):
                    raise _arena_full("a condition", mapping)
                if named is not None:
                    named.publish(self.handle)
            self.body = <ConditionBody*>body_of(self.handle.block)
        else:
            self.body = &self.own
            condition_initialise(self.own, text)

    def __dealloc__(self):
        if self.body == &self.own:
            condition_free_private(self.body)
        drop_object(self.handle)

    def wait(self, lock, timeout):
        """Releases the lock, waits for a notification, takes the lock again; returns whether one came.

        lock: held by the caller; any lock will do.

        All of it is one native call: a handler of signals may raise between any two steps of Python code, and would leave
        a waiter behind that nobody waits for, or the lock not held.
        """
        cdef Token token = _token(self.handle)
        cdef int64_t left = _optional_timeout(timeout)
        cdef uint32_t ticket = 0
        cdef int result = TIMEOUT
        release_save = getattr(lock, "_release_save", None)
        acquire_restore = getattr(lock, "_acquire_restore", None)
        if condition_enlist(self.body, self.handle, token, &ticket) != DONE:
            raise _arena_full("a condition's waiters", self.handle.mapping)
        try:
            saved = lock.release() if release_save is None else release_save()
            try:
                result = condition_wait(self.body, self.handle, token, ticket, left)
                if result == INTERRUPTED:
                    _interrupted()
            finally:
                if acquire_restore is None:
                    lock.acquire()
                else:
                    acquire_restore(saved)
        except BaseException:
            # A notification that came all the same belongs to somebody else.
            if condition_cancel(self.body, self.handle, token, ticket) != DONE:
                condition_notify(self.body, self.handle, token, 1)
                _tell()
            raise
        return result == DONE or condition_cancel(self.body, self.handle, token, ticket) != DONE

    # For a task.

    def _enlist(self):
        """Of a private one, under a name that a child of fork finds dead: the thread that forked lives on there."""
        cdef uint32_t ticket = 0
        cdef Token token = new_private_token() if self.handle.mapping == NULL else _token(self.handle)
        if condition_enlist(self.body, self.handle, token, &ticket) != DONE:
            raise _arena_full("a condition's waiters", self.handle.mapping)
        return ticket

    def _attempt(self, uint32_t ticket, Waiter waiter not None):
        waiter._begin(self.handle)
        return True if condition_attempt(self.body, self.handle, ticket, &waiter.wait) == DONE else _PENDING

    def _cancel(self, uint32_t ticket):
        """Gives up waiting; returns whether it was too late for that."""
        return condition_cancel(self.body, self.handle, _token(self.handle), ticket) != DONE

    def notify(self, n):
        """Notifies up to n live waiters; returns how many there were. Call it with the lock held."""
        n = _whole(n)
        cdef uint32_t count = 0 if n <= 0 else min(n, 0x7fffffff)
        cdef uint32_t notified = condition_notify(self.body, self.handle, _token(self.handle), count)
        _tell()
        return notified

    @property
    def waiting(self):
        """How many have not been notified yet; who died or gave up may be among them."""
        return self.body.condition.waiting()

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
            raise TypeError("cannot pickle a private treadle.Condition; make it with shared=True")
        return _rebuild_condition, (_ticket_of(self.handle, self),)


def _rebuild_condition(ticket):
    cdef ConditionCore core = ConditionCore.__new__(ConditionCore, False, b"", None, False, None)
    _attach(ticket, "condition", KIND_CONDITION, &core.handle)
    core.body = <ConditionBody*>body_of(core.handle.block)
    return core
