# local_ring.pxi: the store of a private queue that is first in, first out, or last in, first out: a ring of references.

@cython.no_gc_clear  # a finalizer may still call what needs the ring
@cython.final
cdef class _LocalStore(_PrivateStore):
    cdef LocalQueue queue
    cdef bint lifo
    cdef object unused  # makes the type one that the cycle collector knows

    def __dealloc__(self):
        cdef PyObject* item
        while local_get_now(&self.queue, <void**>&item, False):
            Py_DECREF(<object>item)
        self.queue.free_memory()

    cdef int put(self, object item, int64_t ns) except -1:
        cdef int result
        cdef int64_t left
        Py_INCREF(item)
        if local_put_now(&self.queue, <void*>item):
            return _tell()
        left = ns
        result = local_put(&self.queue, <void*>item, left)
        if result == DONE:
            return _tell()
        Py_DECREF(item)
        if result == GONE:
            return self.successor.put(item, left)
        if result == NO_MEMORY:
            raise MemoryError
        return _refuse(result, "")

    cdef object get_as_is(self, int64_t ns, bint lease):
        cdef PyObject* item
        cdef int result
        cdef int64_t left
        if lease:
            self._leases()
        if not local_get_now(&self.queue, <void**>&item, lease):
            left = ns
            result = local_get(&self.queue, <void**>&item, lease, self._until_settled(), left)
            if result == GONE:
                return self.successor.get_as_is(left, lease)
            if result != DONE:
                _withhold(result, "")
        return self._received(item, lease)

    cdef inline object _received(self, PyObject* item, bint lease):
        got = <object>item
        Py_DECREF(got)
        if lease:
            self._note_lease()
        self._tell_of(got, lease)
        return got

    cdef int settle(self) except -1:
        self.queue.gates.settle()
        return _tell()

    cdef int forget_leases(self) except -1:
        self.queue.gates.forget_leases()
        return 0

    cdef bint put_now(self, object item) except -1:
        Py_INCREF(item)
        if local_put_now(&self.queue, <void*>item):
            _tell()
            return True
        Py_DECREF(item)
        if self.successor is not None:
            return self.successor.put_now(item)
        if self.queue.gates.is_shut():
            raise ShutDown
        return False

    cdef object get_now(self, bint copy):
        cdef PyObject* item
        if local_get_now(&self.queue, <void**>&item, False):
            got = self._received(item, False)
            return (<_Returned>got).item if type(got) is _Returned else got
        if self.queue.gates.is_shut():  # or has moved
            return _PrivateStore.get_now(self, copy)
        return _PENDING

    cdef object attempt_item(self, object item, Waiter waiter):
        waiter._begin(self.handle)
        Py_INCREF(item)
        cdef int result = local_put_attempt(&self.queue, <void*>item, &waiter.wait)
        if result == DONE:
            _tell()
            return True
        Py_DECREF(item)
        if result == BLOCKED or result == FULL:
            return _PENDING
        if result == GONE:
            return self.successor.attempt_item(item, waiter)
        if result == NO_MEMORY:
            raise MemoryError
        _refuse(result, "")

    cdef object attempt_as_is(self, Waiter waiter, bint lease):
        cdef PyObject* item
        waiter._begin(self.handle)
        if lease:
            self._leases()
        cdef int result = local_get_attempt(&self.queue, <void**>&item, lease, self._until_settled(), &waiter.wait)
        if result == DONE:
            return self._received(item, lease)
        if result == BLOCKED or result == EMPTY:
            return _PENDING
        if result == GONE:
            return self.successor.attempt_as_is(waiter, lease)
        _withhold(result, "")

    cdef object attempt_join(self, Waiter waiter):
        waiter._begin(self.handle)
        cdef int result = gates_join_attempt(&self.queue.gates, &waiter.wait)
        if result == GONE:
            return self.successor.attempt_join(waiter)
        return True if result == DONE else _PENDING

    cdef int give_back(self, object item) except -1:
        Py_INCREF(item)
        cdef int result = local_return(&self.queue, <void*>item)
        if result == DONE:
            return _tell()
        Py_DECREF(item)
        if result == GONE:
            return self.successor.give_back(item)
        if result == SHUT:
            self.leased_is_done()
            return 0
        raise MemoryError

    cdef int set_maxsize(self, uint64_t maxsize) except -1:
        self.queue.gates.set_max_items(maxsize)
        return _tell()

    cdef int set_unfinished(self, uint64_t unfinished) except -1:
        self.queue.gates.set_unfinished(unfinished)
        return _tell()

    cdef int done(self) except -1:
        cdef int result = gates_done(&self.queue.gates, 1, False)
        if result == GONE:
            return self.successor.done()
        _tell()
        return result

    cdef int leased_is_done(self) except -1:
        if gates_done(&self.queue.gates, 1, True) == GONE:
            return self.successor.leased_is_done()
        return _tell()

    cdef int join(self, int64_t ns) except -2:
        cdef int64_t left = ns
        cdef int result = gates_join(&self.queue.gates, left)
        return self.successor.join(left) if result == GONE else result

    cdef int move_to(self, PrivateQueue queue, _HookStore store, object items) except -1:
        cdef uint64_t count, beside = 0, i
        append, append_beside = items.append, store.returned.append
        if local_begin_move(&self.queue) != DONE:
            return 0
        count = self.queue.gates.count()
        try:
            while beside < count and type(self._next(beside, count)) is _Returned:
                append_beside(self._next(beside, count))
                beside += 1
            for i in range(count - beside):
                append(_key(<object><PyObject*>self.queue.item_at(i if self.lifo else beside + i)))
        except BaseException:
            self.queue.gates.give_up_move()
            raise
        self._moving_to(queue, store, items)
        local_end_move(&self.queue, &store.gates)
        return _tell()

    cdef inline object _next(self, uint64_t i, uint64_t count):
        return <object><PyObject*>self.queue.item_at(count - 1 - i if self.lifo else i)

    cdef int shut_down(self, bint immediate) except -1:
        if self.successor is not None:
            return self.successor.shut_down(immediate)
        dropped = []  # finalizers run when all is done
        if local_shut_down(&self.queue, immediate, dropped) != 0:
            raise MemoryError
        return _tell()

    cdef uint64_t size(self) noexcept:
        return self.queue.gates.count()

    cdef bint full(self) noexcept:
        return self.queue.gates.full()

    cdef int figures(self, QueueFigures* f) except -1:
        gates_figures(&self.queue.gates, f)
        f.redelivered = self.redelivered
        return 0


cdef _Store _local_store(uint64_t maxsize, bint lifo, bytes label):
    cdef _LocalStore store = _LocalStore.__new__(_LocalStore)
    store.text = label
    store.lifo = lifo
    local_initialise(&store.queue, maxsize, lifo)
    return store


# The collector must see what lies in the ring: Cython would only show it the attributes.
cdef Traverse _traverse_attributes


cdef int _traverse_local_store(PyObject* store, Visit visit, void* arg) noexcept:
    cdef int result = _traverse_attributes(store, visit, arg)
    if result != 0:
        return result
    return local_visit(&(<_LocalStore>store).queue, visit, arg)


cdef int _clear_local_store(PyObject* store) noexcept:
    dropped = []
    try:
        local_shut_down(&(<_LocalStore>store).queue, True, dropped)
    except BaseException:
        pass
    return 0


cdef _show_rings_to_collector():
    global _traverse_attributes
    cdef CollectedType* of = <CollectedType*>_LocalStore
    _traverse_attributes = of.tp_traverse
    of.tp_traverse = _traverse_local_store
    of.tp_clear = _clear_local_store
