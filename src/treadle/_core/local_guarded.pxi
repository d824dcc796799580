# local_guarded.pxi: the stores of private queues whose items are put in order by Python code: a section around it, and the heap.

cdef class _GuardedStore(_PrivateStore):
    """The items are put in order by Python code, which runs inside a section: it may take long, let other threads run,
    and raise. It must not use the queue itself."""

    cdef GuardedTurnstile gates

    cdef int store_item(self, object item) except -1:
        """Adds an item; raises without having done so."""
        raise NotImplementedError

    cdef object take_item(self):
        """Removes the next item; raises without having done so."""
        raise NotImplementedError

    cdef int return_item(self, object item) except -1:
        """Adds an item that was taken before."""
        return self.store_item(item)

    cdef uint64_t held(self) except? 0xffffffffffffffff:
        """How many items there are."""
        raise NotImplementedError

    cdef int _check_not_inside(self) except -1:
        if guarded_is_mine(&self.gates):
            raise RuntimeError(
                f"queue {self.label()!r} was used by the very code that puts its items in order (a comparison or a hook)"
            )
        return 0

    cdef int _enter(self) except -1:
        self._check_not_inside()
        if guarded_enter(&self.gates, FOREVER) == INTERRUPTED:
            _interrupted()
        return 0

    cdef int put(self, object item, int64_t ns) except -1:
        cdef Wait slept
        cdef int result
        self._check_not_inside()
        result = guarded_begin_put(&self.gates, ns, &slept)
        if result == GONE:
            return self.successor.put(item, ns)
        if result != DONE:
            return _refuse(result, "")
        return self._store_inside(item, slept)

    cdef int _store_inside(self, object item, const Wait& slept) except -1:
        cdef uint32_t added = 0
        try:
            self.store_item(item)
            added = 1
        finally:
            self._end_put(added, slept)
        return 0

    cdef int _end_put(self, uint32_t added, const Wait& slept) except -1:
        cdef uint64_t count = self.gates.count() + added
        try:
            count = self.held()
        finally:
            self.gates.end_put(count, added, slept)
        return _tell()

    cdef object get_as_is(self, int64_t ns, bint lease):
        cdef Wait slept
        cdef int result
        self._check_not_inside()
        result = guarded_begin_get(&self.gates, self._until_settled(), ns, &slept)
        if result == GONE:
            return self.successor.get_as_is(ns, lease)
        if result != DONE:
            _withhold(result, "")
        return self._take_inside(slept, lease)

    cdef object _take_inside(self, const Wait& slept, bint lease):
        cdef uint32_t taken = 0
        try:
            item = self.take_item()
            taken = 1
            if lease:
                self._note_lease()
                self.gates.lend()
        finally:
            self._end_get(taken, slept)
        self._tell_of(item, lease)
        return item

    cdef int settle(self) except -1:
        self.gates.settle()
        return 0 if guarded_is_mine(&self.gates) else _tell()

    cdef int forget_leases(self) except -1:
        self.gates.forget_leases()
        return 0

    cdef int _end_get(self, uint32_t taken, const Wait& slept) except -1:
        cdef uint64_t count = self.gates.count() - taken
        try:
            count = self.held()
        finally:
            self.gates.end_get(count, taken, slept)
        return 0

    cdef object attempt_item(self, object item, Waiter waiter):
        self._check_not_inside()
        waiter._begin(self.handle)
        cdef int result = guarded_begin_put_attempt(&self.gates, &waiter.wait)
        if result == BLOCKED or result == FULL:
            return _PENDING
        if result == GONE:
            return self.successor.attempt_item(item, waiter)
        if result != DONE:
            _refuse(result, "")
        self._store_inside(item, waiter.wait)
        return True

    cdef object attempt_as_is(self, Waiter waiter, bint lease):
        self._check_not_inside()
        waiter._begin(self.handle)
        cdef int result = guarded_begin_get_attempt(&self.gates, self._until_settled(), &waiter.wait)
        if result == BLOCKED or result == EMPTY:
            return _PENDING
        if result == GONE:
            return self.successor.attempt_as_is(waiter, lease)
        if result != DONE:
            _withhold(result, "")
        return self._take_inside(waiter.wait, lease)

    cdef bint put_now(self, object item) except -1:
        if self.gates.full() and self.gates.is_shut():  # not where it has moved: then it is not full
            raise ShutDown
        return _PrivateStore.put_now(self, item)

    cdef object attempt_join(self, Waiter waiter):
        self._check_not_inside()
        waiter._begin(self.handle)
        cdef int result = gates_join_attempt(&self.gates, &waiter.wait)
        if result == GONE:
            return self.successor.attempt_join(waiter)
        return True if result == DONE else _PENDING

    cdef int give_back(self, object item) except -1:
        cdef uint64_t count
        if guarded_is_mine(&self.gates):  # a lease was forgotten while the order was being found: the end of that counts it
            self.return_item(item)
            return 0
        cdef int result = guarded_begin_return(&self.gates)
        if result == GONE:
            return self.successor.give_back(item)
        if result == SHUT:
            self.leased_is_done()
            return 0
        count = self.gates.count()
        try:
            self.return_item(item)
            count += 1
            count = self.held()
        finally:
            self.gates.end_return(count)
        return _tell()

    cdef int set_maxsize(self, uint64_t maxsize) except -1:
        self.gates.set_max_items(maxsize)
        return _tell()

    cdef int set_unfinished(self, uint64_t unfinished) except -1:
        self.gates.set_unfinished(unfinished)
        return _tell()

    cdef int done(self) except -1:
        self._check_not_inside()
        cdef int result = gates_done(&self.gates, 1, False)
        if result == GONE:
            return self.successor.done()
        _tell()
        return result

    cdef int leased_is_done(self) except -1:
        self._check_not_inside()
        if gates_done(&self.gates, 1, True) == GONE:
            return self.successor.leased_is_done()
        return _tell()

    cdef int join(self, int64_t ns) except -2:
        self._check_not_inside()
        cdef int result = gates_join(&self.gates, ns)
        return self.successor.join(ns) if result == GONE else result

    cdef int shut_down(self, bint immediate) except -1:
        cdef uint64_t dropped = 0, count
        cdef list thrown_away = []  # finalizers run when all is done
        self._check_not_inside()
        if guarded_begin_shut_down(&self.gates, immediate) == GONE:
            return self.successor.shut_down(immediate)
        count = self.gates.count()
        try:
            if immediate:
                count = self.held()
                while count != 0:
                    thrown_away.append(self.take_item())
                    dropped += 1
                    count = self.held()
        finally:
            self.gates.end_shut_down(count, dropped)
        return _tell()

    cdef uint64_t size(self) noexcept:
        return self.gates.count()

    cdef bint full(self) noexcept:
        return self.gates.full()

    cdef int figures(self, QueueFigures* f) except -1:
        gates_figures(&self.gates, f)
        f.redelivered = self.redelivered
        return 0


cdef inline object _key(object item):
    return (<_Returned>item).item if type(item) is _Returned else item


cdef inline bint _precedes(object one, object other) except -1:
    return PyObject_RichCompareBool(_key(one), _key(other), Py_LT)


@cython.no_gc_clear
@cython.final
cdef class _HeapStore(_GuardedStore):
    """The least item first. All comparisons of a step are made before anything is moved: one that raises changes nothing.

    A binary heap, as ``heapq``'s (Williams 1964; taking from the top by way of the bottom: Floyd 1964).
    """

    cdef list heap
    cdef list returned  # put in order by the next to take: so that giving back compares nothing, and cannot fail

    cdef uint64_t held(self) except? 0xffffffffffffffff:
        return len(self.heap) + len(self.returned)

    cdef int return_item(self, object item) except -1:
        self.returned.append(item)
        return 0

    cdef int move_to(self, PrivateQueue queue, _HookStore store, object items) except -1:
        cdef list none = [], none_beside = []
        append, append_beside = items.append, store.returned.append
        self._enter()
        if self.gates.has_moved():
            self.gates.give_up_move()
            return 0
        try:
            for item in self.heap:  # in the order that heapq has, too
                append(_key(item))
            for item in self.returned:
                append_beside(item)
        except BaseException:
            self.gates.give_up_move()
            raise
        store.returned.reverse()
        self._moving_to(queue, store, items)
        self.heap, self.returned = none, none_beside
        self.gates.move_to(store.gates)
        return _tell()

    cdef int store_item(self, object item) except -1:
        cdef list heap = self.heap
        cdef Py_ssize_t at = len(heap), place
        place = at
        while place > 0 and _precedes(item, heap[(place - 1) >> 1]):
            place = (place - 1) >> 1
        heap.append(None)
        while at != place:
            heap[at] = heap[(at - 1) >> 1]
            at = (at - 1) >> 1
        heap[at] = item
        return 0

    cdef object take_item(self):
        cdef list heap = self.heap
        cdef Py_ssize_t path[64]
        cdef Py_ssize_t last, child
        cdef int depth = 0, length = 0, step
        while self.returned:
            moved = self.returned.pop()
            try:
                self.store_item(moved)
            except BaseException:
                self.returned.append(moved)
                raise
        last = len(heap) - 1
        if last < 0:
            raise IndexError("nothing is left to take")
        moved = heap[last]
        # The smaller children from the top down, as far as the heap without its last item reaches; then up to where the last
        # item belongs among them.
        child = 1
        while child < last:
            if child + 1 < last and not _precedes(heap[child], heap[child + 1]):
                child += 1
            path[length] = child
            length += 1
            child = 2 * child + 1
        depth = length
        while depth > 0 and _precedes(moved, heap[path[depth - 1]]):
            depth -= 1
        item = heap[0]
        heap.pop()
        if last != 0:
            child = 0
            for step in range(depth):
                heap[child] = heap[path[step]]
                child = path[step]
            heap[child] = moved
        return item


cdef _Store _heap_store(uint64_t maxsize, bytes label):
    cdef _HeapStore store = _HeapStore.__new__(_HeapStore)
    store.text = label
    store.heap = []
    store.returned = []
    store.gates.initialise(maxsize)
    return store
