# by_value.pxi: what the stores of shared queues have in common: items are frames in shared memory, of one native machine or
# another (ring.pxi, ordered.pxi), and are rebuilt by who takes them.

cdef enum:
    BATCH_BYTES = 65536  # frames copied at a time by get_many and put_many


@cython.no_gc_clear  # what a finalizer may still call needs the leftovers
cdef class _ByValueStore(_Store):
    cdef _Leftovers leftovers

    def __cinit__(self):
        self.leftovers = _Leftovers.__new__(_Leftovers)

    # ---- What the machine does: a word::Result, TIMEOUT or INTERRUPTED. The `_once` are attempts, for tasks.

    cdef int doubt(self, Waiter waiter) except -1:
        """Says what a task's wait may have to do with others' deaths."""
        raise NotImplementedError

    cdef int hand_over(self, const char* entries, uint32_t count, int64_t ns, Taken* accepted) except? -1:
        raise NotImplementedError

    cdef int hand_over_once(self, Waiter waiter, const char* entries, uint32_t count, Taken* accepted) except? -1:
        raise NotImplementedError

    cdef int take(self, uint32_t max_items, char* out, uint32_t room, int64_t ns, Taken* got) except? -1:
        raise NotImplementedError

    cdef int take_once(self, Waiter waiter, uint32_t max_items, char* out, uint32_t room, Taken* got) except? -1:
        raise NotImplementedError

    cdef int take_on_lease(self, char* out, int64_t ns, LeaseName* name, Taken* got) except? -1:
        raise NotImplementedError

    cdef int take_on_lease_once(self, Waiter waiter, char* out, LeaseName* name, Taken* got) except? -1:
        raise NotImplementedError

    cdef int settle(self, const LeaseName& name, bint done) except? -1:
        raise NotImplementedError

    # ---- Putting

    cdef int _put_entries(self, const char* entries, uint32_t count, int64_t timeout, bint some=False) except -1:
        """Returns how many were put; some: fewer than all if there is no memory for more."""
        cdef Taken accepted
        cdef int result
        cdef uint32_t put = 0
        cdef double deadline = 0
        if timeout != FOREVER and timeout != 0 and count > 1:
            deadline = time.monotonic() + timeout / 1e9
        while True:
            result = self.hand_over(entries, count - put, timeout, &accepted)
            _tell()
            if result != DONE:
                if some and put != 0 and result == NO_MEMORY:
                    return <int>put
                _refuse(result, "another item", self.handle.mapping)
            put += accepted.items
            if put == count:
                return <int>put
            entries += accepted.bytes
            if deadline != 0:
                timeout = _nanoseconds(max(deadline - time.monotonic(), 0.0))

    cdef object attempt_put(self, object prepared, Waiter waiter):
        cdef _Entries entries = <_Entries?>prepared
        cdef Taken accepted
        cdef const char* start = PyBytes_AS_STRING(entries.entries)
        cdef int result
        waiter._begin(self.handle)
        self.doubt(waiter)
        while entries.count != 0:
            result = self.hand_over_once(waiter, start + entries.at, entries.count, &accepted)
            _tell()
            if result == BLOCKED or result == FULL:
                return _PENDING
            if result != DONE:
                _refuse(result, "another item", self.handle.mapping)
            entries.count -= accepted.items
            entries.at += accepted.bytes
        return True

    # ---- Getting

    cdef object get(self, int64_t ns, bint copy):
        cdef char frame[LARGEST_FRAME_BYTES]
        cdef Taken got
        cdef _Kept kept
        cdef int result
        if self.leftovers.items is not None:
            kept = self.leftovers.pop()
            if kept is not None:
                return self.leftovers.value_of(self, kept, copy)
        result = self.take(1, frame, LARGEST_FRAME_BYTES, ns, &got)
        if result != DONE:
            _withhold(result, "a reference to an item", self.handle.mapping)
        return self._value_of(frame, got, copy)

    cdef object _value_of(self, const char* frame, const Taken& got, bint copy):
        cdef _MessageMemory memory = _memory_of_frame(self.handle.mapping, frame, got.slot)
        cdef bint told = False
        try:
            _tell()
            told = True
            return _rebuild_frame(self, frame, memory, copy)
        except ItemError:
            raise
        except BaseException:  # an interrupt, or no memory: the item is as good as it was
            self.leftovers.add([_kept_frame(frame, memory, told)])
            raise

    cdef list get_many(self, uint32_t wanted, int64_t ns):
        cdef Taken got
        cdef int result
        cdef char* frames
        cdef list items = self.leftovers.next_values(self, wanted)
        if items:
            return items
        frames = <char*>malloc(BATCH_BYTES)
        if frames == NULL:
            raise MemoryError
        try:
            result = self.take(wanted, frames, BATCH_BYTES, ns, &got)
            if result != DONE:
                _withhold(result, "a reference to an item", self.handle.mapping)
            self._gather(frames, got, wanted, items)
        finally:
            free(frames)
        return items

    cdef int _gather(self, char* frames, Taken got, uint32_t wanted, list items) except -1:
        """Appends the values of frames that were taken, and of what is there besides, up to `wanted`."""
        while self._rebuild_many(frames, got, items):
            wanted -= got.items
            if wanted == 0 or self.take(wanted, frames, BATCH_BYTES, 0, &got) != DONE:
                break
        return 0

    cdef bint _rebuild_many(self, const char* at, const Taken& got, list items) except -1:
        """Appends the values of frames that were taken to `items`; false: one of them ends the batch.

        Whatever cannot be returned is kept: with an error the frames behind it, with an interrupt all.
        """
        cdef uint32_t left = got.items
        cdef _MessageMemory memory = _memory_of_frame(self.handle.mapping, at, got.slot)
        cdef bint interrupted = True, told = False
        try:
            _tell()
            told = True
            while left != 0:
                items.append(_rebuild_frame(self, at, memory, True))
                left -= 1
                at += FRAME_HEADER + padded(frame_at(at).size)
            interrupted = False
        except ItemError as error:
            interrupted = False
            rest = [_kept_error(error)] if items else []
            left -= 1
            at += FRAME_HEADER + padded(frame_at(at).size)
            self.leftovers.add(rest + _kept_frames(at, left, memory))
            if not items:
                raise
            return False
        finally:
            if interrupted:
                self.leftovers.add([_kept_value(item) for item in items] + _kept_frames(at, left, memory, told))
        return True

    cdef object attempt_get(self, bint copy, Waiter waiter):
        cdef char frame[LARGEST_FRAME_BYTES]
        cdef Taken got
        cdef _Kept kept
        cdef int result
        if self.leftovers.items is not None:
            kept = self.leftovers.pop()
            if kept is not None:
                return self.leftovers.value_of(self, kept, copy)
        waiter._begin(self.handle)
        self.doubt(waiter)
        result = self.take_once(waiter, 1, frame, LARGEST_FRAME_BYTES, &got)
        if result != DONE:
            return self._not_got(result)
        return self._value_of(frame, got, copy)

    cdef object _not_got(self, int result):
        if result == BLOCKED or result == EMPTY:
            return _PENDING
        _withhold(result, "a reference to an item", self.handle.mapping)

    cdef object attempt_get_many(self, uint32_t wanted, Waiter waiter):
        cdef Taken got
        cdef int result
        cdef list items = self.leftovers.next_values(self, wanted)
        if items:
            return items
        cdef char* frames = <char*>malloc(BATCH_BYTES)
        if frames == NULL:
            raise MemoryError
        try:
            waiter._begin(self.handle)
            self.doubt(waiter)
            result = self.take_once(waiter, wanted, frames, BATCH_BYTES, &got)
            if result != DONE:
                return self._not_got(result)
            self._gather(frames, got, wanted, items)
        finally:
            free(frames)
        return items

    # ---- Leases

    cdef _Claim claim(self, int64_t ns, bint copy):
        cdef char frame[LARGEST_FRAME_BYTES]
        cdef Taken got
        cdef _ByValueClaim claim = _ByValueClaim.__new__(_ByValueClaim)
        cdef int result = self.take_on_lease(frame, ns, &claim.name, &got)
        if result != DONE:
            _withhold(result, "a reference to an item", self.handle.mapping)
        self._fill_claim(claim, frame, got, copy)
        return claim

    cdef int _fill_claim(self, _ByValueClaim claim, const char* frame, const Taken& got, bint copy) except -1:
        claim.store = self
        claim.pid = os.getpid()
        claim.open = True
        claim.deliveries = frame_at(frame).deliveries + 1
        cdef _MessageMemory memory
        cdef bint told = False
        try:
            _tell()
            memory = _memory_of_frame(self.handle.mapping, frame, got.slot)
            told = True
            claim.item = _rebuild_frame(self, frame, memory, copy)
        except ItemError:
            claim.settle(True)  # it would fail with everybody else, too
            raise
        except BaseException as error:
            if told and claim.deliveries > 1 and not _rebuilds(frame, memory):
                claim.settle(True)
                raise _item_error(self, frame, error) from error
            claim.settle(False)
            raise
        return 0

    cdef object attempt_claim(self, Waiter waiter):
        cdef char frame[LARGEST_FRAME_BYTES]
        cdef Taken got
        cdef _ByValueClaim claim = _ByValueClaim.__new__(_ByValueClaim)
        waiter._begin(self.handle)
        self.doubt(waiter)
        cdef int result = self.take_on_lease_once(waiter, frame, &claim.name, &got)
        if result != DONE:
            return self._not_got(result)
        self._fill_claim(claim, frame, got, True)
        return claim


@cython.final
cdef class _Entries:
    """Items on their way into a queue: encoded, some of them put."""

    cdef bytes entries
    cdef uint64_t at
    cdef uint32_t count
    cdef list holds


@cython.no_gc_clear  # __dealloc__ needs the store
@cython.final
cdef class _ByValueClaim(_Claim):
    cdef _ByValueStore store
    cdef LeaseName name

    def __dealloc__(self):
        if self.open and self.pid == os.getpid():
            self.settle(False)

    cdef int settle(self, bint done) except -2:
        self.open = False
        cdef int result = self.store.settle(self.name, done)
        _tell()
        return result
