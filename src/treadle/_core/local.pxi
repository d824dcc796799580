# local.pxi: the stores of private queues: references to objects of one process, never pickled, never copied.
#
# A private queue's section is the interpreter's lock (local_ops.hpp), except where Python code runs inside it: comparing
# the items of a priority queue, and the hooks of a subclass.
#
# A queue that is asked for its items or its mutex gets a store with hooks in the midst of its life (move_to). Calls may be
# inside the old one; all of them find GONE there sooner or later, and go on in the new one, its successor. That costs those
# who are never asked nothing: they look whether a store has moved where it has nothing to give, or no room, only.

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
    cdef _PrivateStore successor  # if this one has moved

    cdef str label(self):
        return _text(self.text)

    cdef inline _PrivateStore _current(self):
        return self if self.successor is None else self.successor

    cdef int move_to(self, PrivateQueue queue, _HookStore store, object items) except -1:
        """Makes the store, which nobody knows yet, the queue's; `items` takes what lies here. What has come back from a lease lies
        beside them until it is taken; where younger items or lesser ones are in front of it, it stays in its place among the items,
        and how often it was handed out is forgotten. Does nothing if another thread was faster. No Python code runs meanwhile."""
        raise NotImplementedError

    cdef _moving_to(self, PrivateQueue queue, _HookStore store, object items):
        cdef QueueFigures figures
        self.figures(&figures)
        store.taken = figures.taken
        store.redelivered = self.redelivered
        store.leases = self.leases
        store.leases_pid = self.leases_pid
        self.leases = None
        self.successor = store
        queue._keep(items)

    cdef int set_maxsize(self, uint64_t maxsize) except -1:
        raise NotImplementedError

    cdef int set_unfinished(self, uint64_t unfinished) except -1:
        raise NotImplementedError

    cdef int give_back(self, object item) except -1:
        """Puts back an item that was taken: the next to be taken, or where its order puts it. Where all items were thrown
        away, it is too, and counts as done."""
        raise NotImplementedError

    cdef int leased_is_done(self) except -1:
        """As done(), of an item that is out on lease, or was just now; not if too many were said to be done before."""
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
                    self._current()._settle(private_token())
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
    cdef _PrivateStore store  # that it was taken from
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
        cdef _PrivateStore store = self.store._current()
        store.redelivered += 1
        try:
            return self.store._current().give_back(returned)
        finally:
            self.store._current()._settle(self.token)

    cdef int settle(self, bint done) except -2:
        self.open = False
        if done:
            self.store._current()._settle(self.token)
            self.store._current().leased_is_done()
        else:
            self._give_back()
        return DONE
