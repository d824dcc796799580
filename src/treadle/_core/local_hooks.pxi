# local_hooks.pxi: the store of a private queue that keeps its items itself, as a subclass does, or one that was asked for them;
# and the mutex that it gives.

@cython.no_gc_clear
@cython.final
cdef class _HookStore(_GuardedStore):
    """The queue keeps the items itself: ``_init``, ``_qsize``, ``_put`` and ``_get``, as ``queue.Queue`` has it."""

    cdef object owner  # a weak reference: the queue refers to its store
    cdef object returned  # items that were taken and came back, which the hooks know nothing of
    cdef uint64_t taken  # not what is missing of those that were put: hooks may drop some, and count as they like

    # As in the standard library, where each call asks for the size: what the hooks keep may have changed since the last.

    cdef int _look(self) except -1:
        self._enter()
        return self._leave()

    cdef int look_unless_inside(self) except -1:
        return 0 if guarded_is_mine(&self.gates) else self._look()

    cdef int _leave(self) except -1:
        cdef uint64_t count = self.gates.count()
        try:
            count = self.held()
        finally:
            self.gates.end_look(count)
        return _tell()

    cdef int put(self, object item, int64_t ns) except -1:
        self._look()
        return _GuardedStore.put(self, item, ns)

    cdef object get_as_is(self, int64_t ns, bint lease):
        self._look()
        return _GuardedStore.get_as_is(self, ns, lease)

    cdef bint put_now(self, object item) except -1:
        self._look()
        if self.gates.full():
            return _GuardedStore.put_now(self, item)
        try:
            _GuardedStore.put(self, item, 0)
        except Full:
            return False
        return True

    cdef object attempt_item(self, object item, Waiter waiter):
        self._look()
        return _GuardedStore.attempt_item(self, item, waiter)

    cdef object attempt_as_is(self, Waiter waiter, bint lease):
        self._look()
        return _GuardedStore.attempt_as_is(self, waiter, lease)

    cdef object attempt_room(self, Waiter waiter):
        self._look()
        waiter._begin(self.handle)
        result = True if gates_room_attempt(&self.gates, &waiter.wait) == DONE else _PENDING
        _tell()
        return result

    cdef object attempt_item_there(self, Waiter waiter):
        self._look()
        waiter._begin(self.handle)
        result = True if gates_item_attempt(&self.gates, &waiter.wait) == DONE else _PENDING
        _tell()
        return result

    cdef int pass_on(self, bint room) except -1:
        self._check_not_inside()
        gates_pass_on(&self.gates, room)
        return _tell()

    cdef int done(self) except -1:
        cdef int result = _GuardedStore.done(self)
        if result == DONE:
            self._tell_if_all_done()
        return result

    cdef int leased_is_done(self) except -1:
        _GuardedStore.leased_is_done(self)
        return self._tell_if_all_done()

    cdef int set_unfinished(self, uint64_t unfinished) except -1:
        _GuardedStore.set_unfinished(self, unfinished)
        return self._tell_if_all_done()

    cdef int shut_down(self, bint immediate) except -1:
        _GuardedStore.shut_down(self, immediate)
        queue = self._queue()
        for condition in ((<PrivateQueue>queue).not_empty_of, (<PrivateQueue>queue).not_full_of, (<PrivateQueue>queue).all_done_of):
            self._notify_all(condition)
        return 0

    cdef int _tell_if_all_done(self) except -1:
        queue = self.owner()
        if queue is not None and (<PrivateQueue>queue).all_done_of is not None and self.gates.unfinished() == 0:
            self._notify_all((<PrivateQueue>queue).all_done_of)
        return 0

    cdef int _notify_all(self, _QueueCondition condition) except -1:
        """Inside, or not: a program's own code may be."""
        if condition is None:
            return 0
        inside = guarded_is_mine(&self.gates)
        if not inside:
            self._enter()
        try:
            condition.core.notify(0x7fffffff)
        finally:
            if not inside:
                self._leave()
        return 0

    cdef int figures(self, QueueFigures* f) except -1:
        _GuardedStore.figures(self, f)
        f.taken = self.taken
        return 0

    cdef object _queue(self):
        queue = self.owner()
        if queue is None:
            raise ReferenceError("this store's queue is gone")
        return queue

    cdef uint64_t held(self) except? 0xffffffffffffffff:
        return self._queue()._qsize() + len(self.returned)

    cdef int store_item(self, object item) except -1:
        queue = self._queue()
        queue._put(item)
        if (<PrivateQueue>queue).not_empty_of is not None:
            (<PrivateQueue>queue).not_empty_of.core.notify(1)
        return 0

    cdef object take_item(self):
        queue = self._queue()
        item = self.returned.popleft() if self.returned else queue._get()
        self.taken += 1
        if (<PrivateQueue>queue).not_full_of is not None:
            (<PrivateQueue>queue).not_full_of.core.notify(1)
        return item

    cdef int give_back(self, object item) except -1:
        if self.owner() is None:  # a lease outlived its queue: nobody can get the item any more
            return 0
        return _GuardedStore.give_back(self, item)

    cdef int return_item(self, object item) except -1:
        self.returned.appendleft(item)
        self.taken -= 1
        return 0


@cython.final
cdef class _Mutex:
    """What ``queue.mutex`` gives, a lock as ``threading.Lock`` is: nobody else calls the hooks while it is held. Who waits looks
    at the queue anew afterwards, if it holds another number of items. Only the thread that took it may release it."""

    cdef _HookStore store

    cdef _HookStore _made(self):
        if self.store is None:
            raise TypeError("a queue's mutex comes from its queue")
        return self.store

    def acquire(self, blocking=True, timeout=-1):
        """Keeps all others out of the queue, whose own methods may not be called until the release; returns whether it does.

        Raises RuntimeError where it would wait for its own caller for ever.
        """
        cdef int64_t ns = _lock_timeout(blocking, timeout)
        cdef GuardedTurnstile* gates = &self._made().gates
        if ns == FOREVER:
            self.store._check_not_inside()
        cdef int result = guarded_enter(gates, ns)
        if result == INTERRUPTED:
            _interrupted()
        return result == DONE

    def release(self):
        """Lets the others in again."""
        if not guarded_is_mine(&self._made().gates):
            raise RuntimeError("release unlocked lock")
        self.store._leave()

    def locked(self):
        """Returns whether anybody keeps others out, at this instant."""
        return guarded_is_anyones(&self._made().gates)

    def _is_owned(self):
        return guarded_is_mine(&self._made().gates)

    def __enter__(self):
        self._made()._enter()
        return True

    def __exit__(self, kind, error, trace):
        self.release()


cdef _Mutex _mutex(_HookStore store):
    cdef _Mutex mutex = _Mutex.__new__(_Mutex)
    mutex.store = store
    return mutex


cdef _Store _hook_store(object queue, uint64_t maxsize, bytes label):
    cdef _HookStore store = _HookStore.__new__(_HookStore)
    store.text = label
    store.owner = _weak_reference(queue)
    store.returned = deque()
    store.gates.initialise(maxsize)
    return store
