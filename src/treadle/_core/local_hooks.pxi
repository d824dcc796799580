# local_hooks.pxi: the store of a private queue whose subclass keeps the items itself, and the mutex that it gives.

@cython.no_gc_clear
@cython.final
cdef class _HookStore(_GuardedStore):
    """A subclass keeps the items itself: ``_init``, ``_qsize``, ``_put`` and ``_get``, as ``queue.Queue`` has it."""

    cdef object owner  # a weak reference: the queue refers to its store
    cdef object returned  # items that were taken and came back, which the hooks know nothing of
    cdef uint64_t taken  # not what is missing of those that were put: hooks may drop some, and count as they like

    # As in the standard library, where each call asks for the size: what the hooks keep may have changed since the last.

    cdef int _look(self) except -1:
        self._enter()
        return self._leave()

    cdef int _enter(self) except -1:
        self._check_not_inside()
        guarded_begin_look(&self.gates)
        return 0

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
        self._queue()._put(item)
        return 0

    cdef object take_item(self):
        item = self.returned.popleft() if self.returned else self._queue()._get()
        self.taken += 1
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
    """What ``queue.mutex`` gives: for the length of a block nobody else calls the hooks. Who waits looks at the queue anew
    afterwards, if it holds another number of items."""

    cdef _HookStore store

    cdef _HookStore _made(self):
        if self.store is None:
            raise TypeError("a queue's mutex comes from its queue")
        return self.store

    def acquire(self):
        """Keeps all others out of the queue, whose own methods may not be called until the release."""
        self._made()._enter()
        return True

    def release(self):
        """Lets the others in again."""
        if not guarded_is_mine(&self._made().gates):
            raise RuntimeError("release unlocked lock")
        self.store._leave()

    def __enter__(self):
        self._made()._enter()
        return True

    def __exit__(self, kind, error, trace):
        self.release()


cdef _Mutex _mutex(_Store store):
    if type(store) is not _HookStore:
        raise AttributeError(
            "a queue that keeps its items natively has no mutex; a subclass that has hooks of its own (_init, _put, _get) has"
        )
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
