# local.pxi: the stores of private queues: references to objects of one process, never pickled, never copied.
#
# A private queue's section is the interpreter's lock (local_ops.hpp), except where Python code runs inside it: comparing
# the items of a priority queue, and the hooks of a subclass.

cdef class _Returned:
    """An item that was given back, in a queue's ring: how often it had been handed out goes with it."""

    cdef object item
    cdef unsigned int deliveries


cdef class _PrivateStore(_Store):
    """What the private stores share: a label, and leases that are kept in the lease itself."""

    cdef bytes text
    cdef uint64_t redelivered
    cdef dict leases  # how many are open, by the token of the thread that took them
    cdef int leases_pid

    cdef str label(self):
        return _text(self.text)

    cdef int set_maxsize(self, uint64_t maxsize) except -1:
        raise NotImplementedError

    cdef int set_unfinished(self, uint64_t unfinished) except -1:
        raise NotImplementedError

    cdef int give_back(self, object item) except -1:
        """Puts back an item that was taken: the next to be taken, or where its order puts it. Where all items were thrown
        away, it is too, and counts as done."""
        raise NotImplementedError

    cdef int settle(self) except -1:
        raise NotImplementedError

    cdef int forget_leases(self) except -1:
        raise NotImplementedError

    cdef dict _leases(self):
        """Of this process: in the child of a fork there are none. To be called before an item is lent."""
        if self.leases is None or self.leases_pid != os.getpid():
            if self.leases is not None:
                self.forget_leases()
            self.leases = {}
            self.leases_pid = os.getpid()
        return self.leases

    cdef int _note_lease(self) except -1:
        cdef dict leases = self._leases()
        token = private_token()
        leases[token] = leases.get(token, 0) + 1
        return 0

    cdef int _settle(self, token) except -1:
        cdef dict leases = self._leases()
        left = leases.pop(token, 1) - 1
        if left != 0:
            leases[token] = left
        return self.settle()

    cdef bint _until_settled(self) except -1:
        """Do others hold leases, and this thread none? Then what comes back of them is worth waiting for. Who holds one itself
        does not wait, lest two wait for each other."""
        if self.leases is None:
            return False
        cdef dict leases = self._leases()
        return len(leases) != 0 and private_token() not in leases

    cdef _Claim claim(self, int64_t ns, bint copy):
        return self._claim_of(self.get_as_is(ns, True))

    cdef _Claim _claim_of(self, object item):
        cdef _PrivateClaim claim = _PrivateClaim.__new__(_PrivateClaim)
        claim.store = self
        claim.pid = os.getpid()
        claim.token = private_token()
        if type(item) is _Returned:
            claim.item = (<_Returned>item).item
            claim.deliveries = (<_Returned>item).deliveries + 1
        else:
            claim.item = item
            claim.deliveries = 1
        claim.open = True
        return claim

    cdef object get_as_is(self, int64_t ns, bint lease):
        raise NotImplementedError

    cdef object get(self, int64_t ns, bint copy):
        item = self.get_as_is(ns, False)
        return (<_Returned>item).item if type(item) is _Returned else item

    cdef int _tell_of(self, object item, bint lease) except -1:
        """As _tell(), by a call that has taken an item: if that raises, the item goes back."""
        if tasks_notified():
            try:
                _deliver()
            except BaseException:
                self.give_back(item)
                if lease:
                    self._settle(private_token())
                raise
        return 0

    cdef object attempt_as_is(self, Waiter waiter, bint lease):
        raise NotImplementedError

    cdef object attempt_item(self, object item, Waiter waiter):
        raise NotImplementedError

    cdef object prepare(self, list items):
        items.reverse()  # the next one last
        return items

    cdef object attempt_put(self, object prepared, Waiter waiter):
        cdef list left = prepared
        while left:
            if self.attempt_item(left[-1], waiter) is _PENDING:
                return _PENDING
            left.pop()
        return True

    cdef object prepare_one(self, object item):
        return item

    cdef object attempt_one(self, object prepared, Waiter waiter):
        return self.attempt_item(prepared, waiter)

    cdef object attempt_get(self, bint copy, Waiter waiter):
        item = self.attempt_as_is(waiter, False)
        return (<_Returned>item).item if type(item) is _Returned else item

    cdef object attempt_get_many(self, uint32_t wanted, Waiter waiter):
        item = self.attempt_get(False, waiter)
        return _PENDING if item is _PENDING else self._gather([item], wanted)

    cdef object attempt_claim(self, Waiter waiter):
        item = self.attempt_as_is(waiter, True)
        return _PENDING if item is _PENDING else self._claim_of(item)

    cdef int put_many(self, object items, int64_t ns) except -1:
        cdef double deadline = 0
        items = list(items)
        if ns != FOREVER and ns != 0:
            deadline = time.monotonic() + ns / 1e9
        for item in items:
            self.put(item, ns)
            if deadline != 0:
                ns = _nanoseconds(max(deadline - time.monotonic(), 0.0))
        return 0

    cdef list get_many(self, uint32_t wanted, int64_t ns):
        return self._gather([self.get(ns, False)], wanted)

    cdef list _gather(self, list items, uint32_t wanted):
        try:
            while <uint32_t>len(items) < wanted and self.size() != 0:
                items.append(self.get(0, False))
        except (Empty, ShutDown):  # another thread was faster
            pass
        except BaseException:  # a comparison failed, or a hook: what was taken goes back
            for item in reversed(items):
                self.give_back(item)
            raise
        return items


@cython.no_gc_clear
@cython.final
cdef class _PrivateClaim(_Claim):
    cdef _PrivateStore store
    cdef object token  # of the thread that took it

    def __del__(self):
        # A finalizer, so that an item that refers to its own lease comes back whole: before the collector has cleared it.
        if self.open and self.pid == os.getpid():
            self.open = False
            self._give_back()

    cdef int _give_back(self) except -1:
        cdef _Returned returned = _Returned.__new__(_Returned)
        returned.item = self.item
        returned.deliveries = self.deliveries
        self.store.redelivered += 1
        try:
            return self.store.give_back(returned)
        finally:
            self.store._settle(self.token)

    cdef int settle(self, bint done) except -2:
        self.open = False
        if done:
            self.store._settle(self.token)
            self.store.done()  # too many task_done() may have been called for it already
        else:
            self._give_back()
        return DONE


# ---- First in, first out, and last in, first out

@cython.no_gc_clear  # a finalizer may still call what needs the ring
@cython.final
cdef class _LocalStore(_PrivateStore):
    cdef LocalQueue queue
    cdef object unused  # makes the type one that the cycle collector knows

    def __dealloc__(self):
        cdef PyObject* item
        while local_get_now(&self.queue, <void**>&item, False):
            Py_DECREF(<object>item)
        self.queue.free_memory()

    cdef int put(self, object item, int64_t ns) except -1:
        cdef int result
        Py_INCREF(item)
        if local_put_now(&self.queue, <void*>item):
            return _tell()
        result = local_put(&self.queue, <void*>item, ns)
        if result == DONE:
            return _tell()
        Py_DECREF(item)
        if result == NO_MEMORY:
            raise MemoryError
        return _refuse(result, "")

    cdef object get_as_is(self, int64_t ns, bint lease):
        cdef PyObject* item
        cdef int result
        if lease:
            self._leases()
        if not local_get_now(&self.queue, <void**>&item, lease):
            result = local_get(&self.queue, <void**>&item, lease, self._until_settled(), ns)
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
        if self.queue.gates.is_shut():
            raise ShutDown
        return False

    cdef object get_now(self, bint copy):
        cdef PyObject* item
        if local_get_now(&self.queue, <void**>&item, False):
            got = self._received(item, False)
            return (<_Returned>got).item if type(got) is _Returned else got
        if self.queue.gates.is_shut():
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
        _withhold(result, "")

    cdef object attempt_join(self, Waiter waiter):
        waiter._begin(self.handle)
        return True if gates_join_attempt(&self.queue.gates, &waiter.wait) == DONE else _PENDING

    cdef int give_back(self, object item) except -1:
        Py_INCREF(item)
        cdef int result = local_return(&self.queue, <void*>item)
        if result == DONE:
            return _tell()
        Py_DECREF(item)
        if result == SHUT:
            self.done()
            return 0
        raise MemoryError

    cdef int set_maxsize(self, uint64_t maxsize) except -1:
        self.queue.gates.set_max_items(maxsize)
        return _tell()

    cdef int set_unfinished(self, uint64_t unfinished) except -1:
        self.queue.gates.set_unfinished(unfinished)
        return _tell()

    cdef int done(self) except -1:
        cdef int result = gates_done(&self.queue.gates, 1)
        _tell()
        return result

    cdef int join(self, int64_t ns) except -2:
        return gates_join(&self.queue.gates, ns)

    cdef int shut_down(self, bint immediate) except -1:
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


# ---- Ordered by Python code

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

    cdef int put(self, object item, int64_t ns) except -1:
        cdef Wait slept
        cdef int result
        self._check_not_inside()
        result = guarded_begin_put(&self.gates, ns, &slept)
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
        if result != DONE:
            _withhold(result, "")
        return self._take_inside(waiter.wait, lease)

    cdef bint put_now(self, object item) except -1:
        if self.gates.full() and self.gates.is_shut():
            raise ShutDown
        return _PrivateStore.put_now(self, item)

    cdef object attempt_join(self, Waiter waiter):
        self._check_not_inside()
        waiter._begin(self.handle)
        return True if gates_join_attempt(&self.gates, &waiter.wait) == DONE else _PENDING

    cdef int give_back(self, object item) except -1:
        cdef uint64_t count
        if guarded_is_mine(&self.gates):  # a lease was forgotten while the order was being found: the end of that counts it
            self.return_item(item)
            return 0
        if guarded_begin_return(&self.gates) == SHUT:
            self.done()
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
        cdef int result = gates_done(&self.gates, 1)
        _tell()
        return result

    cdef int join(self, int64_t ns) except -2:
        self._check_not_inside()
        return gates_join(&self.gates, ns)

    cdef int shut_down(self, bint immediate) except -1:
        cdef uint64_t dropped = 0, count
        cdef list thrown_away = []  # finalizers run when all is done
        self._check_not_inside()
        guarded_begin_shut_down(&self.gates, immediate)
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
