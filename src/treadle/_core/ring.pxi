# ring.pxi: the store of a shared first-in, first-out queue: frames in shared memory.

cdef enum:
    BATCH_BYTES = 65536  # frames copied at a time by get_many and put_many


@cython.no_gc_clear  # what a finalizer may still call needs the leftovers
@cython.final
cdef class _RingStore(_Store):
    cdef _Leftovers leftovers

    def __cinit__(self):
        self.leftovers = _Leftovers.__new__(_Leftovers)

    cdef int put(self, object item, int64_t ns) except -1:
        cdef char frame[LARGEST_FRAME_BYTES]
        cdef char* start = frame
        cdef list holds = None
        cdef Writer writer = Writer(start + FRAME_HEADER, 0, LARGEST_FRAME)
        # The common case, without a list made: see _encode_frame for the rest.
        if _encode(item, &writer, 0) == NATIVE:
            write_frame_header(self.handle.mapping, writer.size, 0, frame)
        else:
            holds = []
            _encode_frame(self.handle.mapping, item, frame, holds)
        return self._put_frames(frame, 1, ns)

    cdef int put_many(self, object items, int64_t ns) except -1:
        cdef char frame[LARGEST_FRAME_BYTES]
        cdef char* frames = NULL
        cdef uint64_t size = 0, room = 0
        cdef uint32_t bytes, count = 0
        cdef char* larger
        cdef list holds = []
        try:
            for item in items:
                bytes = _encode_frame(self.handle.mapping, item, frame, holds)
                if size + bytes > room:
                    room = max(2 * room, BATCH_BYTES)
                    larger = <char*>realloc(frames, room)
                    if larger == NULL:
                        raise MemoryError
                    frames = larger
                memcpy(frames + size, frame, bytes)
                size += bytes
                count += 1
            if count != 0:
                self._put_frames(frames, count, ns)
        finally:
            free(frames)
        return 0

    cdef int _put_frames(self, const char* frames, uint32_t count, int64_t timeout) except -1:
        cdef Token token = _token(self.handle)
        cdef Taken accepted
        cdef int result
        cdef double deadline = 0
        if timeout != FOREVER and timeout != 0 and count > 1:
            deadline = time.monotonic() + timeout / 1e9
        while True:
            result = queue_put(self.handle, token, frames, count, timeout, &accepted)
            _tell()
            if result != DONE:
                _refuse(result, "another item")
            count -= accepted.items
            if count == 0:
                return 0
            frames += accepted.bytes
            if deadline != 0:
                timeout = _nanoseconds(max(deadline - time.monotonic(), 0.0))

    cdef object prepare(self, list items):
        cdef char frame[LARGEST_FRAME_BYTES]
        cdef _Frames prepared = _Frames.__new__(_Frames)
        cdef uint32_t size
        prepared.holds = []
        parts = []
        for item in items:
            size = _encode_frame(self.handle.mapping, item, frame, prepared.holds)
            parts.append(PyBytes_FromStringAndSize(frame, size))
        prepared.count = <uint32_t>len(parts)
        prepared.frames = b"".join(parts)
        return prepared

    cdef object attempt_put(self, object prepared, Waiter waiter):
        cdef _Frames frames = <_Frames?>prepared
        cdef Token token = _token(self.handle)
        cdef Taken accepted
        cdef const char* start = PyBytes_AS_STRING(frames.frames)
        cdef int result
        waiter._begin(self.handle, True)
        while frames.count != 0:
            result = queue_put_attempt(
                self.handle, token, waiter.look, start + frames.at, frames.count, &accepted, &waiter.wait
            )
            _tell()
            if result == BLOCKED or result == FULL:
                return _PENDING
            if result != DONE:
                _refuse(result, "another item")
            frames.count -= accepted.items
            frames.at += accepted.bytes
        return True

    cdef object attempt_get(self, bint copy, Waiter waiter):
        cdef char frame[LARGEST_FRAME_BYTES]
        cdef Taken got
        cdef _Kept kept
        cdef int result
        if self.leftovers.items is not None:
            kept = self.leftovers.pop()
            if kept is not None:
                return self.leftovers.value_of(self.handle, kept, copy)
        waiter._begin(self.handle, True)
        result = queue_get_attempt(
            self.handle, _token(self.handle), waiter.look, 1, frame, LARGEST_FRAME_BYTES, &got, &waiter.wait
        )
        if result != DONE:
            return self._not_got(result)
        return self._value_of(frame, got, copy)

    cdef object _not_got(self, int result):
        if result == BLOCKED or result == EMPTY:
            return _PENDING
        _withhold(result, "a reference to an item")

    cdef object attempt_get_many(self, uint32_t wanted, Waiter waiter):
        cdef Taken got
        cdef int result
        cdef list items = self.leftovers.next_values(self.handle, wanted)
        if items:
            return items
        cdef char* frames = <char*>malloc(BATCH_BYTES)
        if frames == NULL:
            raise MemoryError
        try:
            waiter._begin(self.handle, True)
            result = queue_get_attempt(
                self.handle, _token(self.handle), waiter.look, wanted, frames, BATCH_BYTES, &got, &waiter.wait
            )
            if result != DONE:
                return self._not_got(result)
            self._gather(frames, got, wanted, items)
        finally:
            free(frames)
        return items

    cdef object attempt_claim(self, Waiter waiter):
        cdef char frame[LARGEST_FRAME_BYTES]
        cdef Taken got
        cdef _RingClaim claim = _RingClaim.__new__(_RingClaim)
        waiter._begin(self.handle, True)
        cdef int result = queue_lease_attempt(
            self.handle, _token(self.handle), waiter.look, frame, &claim.name, &got, &waiter.wait
        )
        if result != DONE:
            return self._not_got(result)
        self._fill_claim(claim, frame, got)
        return claim

    cdef object attempt_join(self, Waiter waiter):
        waiter._begin(self.handle, True)
        cdef int result = queue_join_attempt(self.handle, _token(self.handle), waiter.look, &waiter.wait)
        return True if result == DONE else _PENDING

    cdef object get(self, int64_t ns, bint copy):
        cdef char frame[LARGEST_FRAME_BYTES]
        cdef Taken got
        cdef _Kept kept
        cdef int result
        if self.leftovers.items is not None:
            kept = self.leftovers.pop()
            if kept is not None:
                return self.leftovers.value_of(self.handle, kept, copy)
        result = queue_get(self.handle, _token(self.handle), 1, frame, LARGEST_FRAME_BYTES, ns, &got)
        if result != DONE:
            _withhold(result, "a reference to an item")
        return self._value_of(frame, got, copy)

    cdef object _value_of(self, const char* frame, const Taken& got, bint copy):
        cdef _MessageMemory memory = _memory_of_frame(self.handle.mapping, frame, got.slot)
        cdef _Kept kept
        try:
            _tell()
            return _rebuild_frame(self.handle, frame, memory, copy)
        except ItemError:
            raise
        except BaseException as error:  # an interrupt, or no memory: the item is as good as it was
            kept = _kept_frame(frame, memory)
            kept.starved = isinstance(error, MemoryError)
            self.leftovers.add([kept])
            raise

    cdef list get_many(self, uint32_t wanted, int64_t ns):
        cdef Token token = _token(self.handle)
        cdef Taken got
        cdef int result
        cdef char* frames
        cdef list items = self.leftovers.next_values(self.handle, wanted)
        if items:
            return items
        frames = <char*>malloc(BATCH_BYTES)
        if frames == NULL:
            raise MemoryError
        try:
            result = queue_get(self.handle, token, wanted, frames, BATCH_BYTES, ns, &got)
            if result != DONE:
                _withhold(result, "a reference to an item")
            self._gather(frames, got, wanted, items)
        finally:
            free(frames)
        return items

    cdef int _gather(self, char* frames, Taken got, uint32_t wanted, list items) except -1:
        """Appends the values of frames that were taken, and of what is there besides, up to `wanted`."""
        while self._rebuild_many(frames, got, items):
            wanted -= got.items
            if wanted == 0 or DONE != queue_get(
                self.handle, _token(self.handle), wanted, frames, BATCH_BYTES, 0, &got
            ):
                break
        return 0

    cdef bint _rebuild_many(self, const char* at, const Taken& got, list items) except -1:
        """Appends the values of frames that were taken to `items`; false: one of them ends the batch.

        Whatever cannot be returned is kept: with an error the frames behind it, with an interrupt all.
        """
        cdef uint32_t left = got.items
        cdef _MessageMemory memory = _memory_of_frame(self.handle.mapping, at, got.slot)
        cdef bint interrupted = True
        try:
            _tell()
            while left != 0:
                items.append(_rebuild_frame(self.handle, at, memory, True))
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
                self.leftovers.add([_kept_value(item) for item in items] + _kept_frames(at, left, memory))
        return True

    cdef _Claim claim(self, int64_t ns):
        cdef char frame[LARGEST_FRAME_BYTES]
        cdef Taken got
        cdef _RingClaim claim = _RingClaim.__new__(_RingClaim)
        cdef int result = queue_lease(self.handle, _token(self.handle), frame, ns, &claim.name, &got)
        if result != DONE:
            _withhold(result, "a reference to an item")
        self._fill_claim(claim, frame, got)
        return claim

    cdef int _fill_claim(self, _RingClaim claim, const char* frame, const Taken& got) except -1:
        claim.store = self
        claim.pid = os.getpid()
        claim.open = True
        claim.deliveries = frame_at(frame).deliveries + 1
        try:
            _tell()
            memory = _memory_of_frame(self.handle.mapping, frame, got.slot)
            claim.item = _rebuild_frame(self.handle, frame, memory, True)
        except ItemError:
            claim.settle(True)  # it would fail with everybody else, too
            raise
        except BaseException:
            claim.settle(False)
            raise
        return 0

    cdef int done(self) except -1:
        cdef int result = queue_done(self.handle, _token(self.handle), 1)
        _tell()
        return result

    cdef int join(self, int64_t ns) except -2:
        return queue_join(self.handle, _token(self.handle), ns)

    cdef int shut_down(self, bint immediate) except -1:
        cdef char frame[LARGEST_FRAME_BYTES]
        cdef Taken got
        queue_shut_down(self.handle, immediate)
        _tell()
        if immediate:
            self.leftovers.clear()
        while immediate and queue_discard(self.handle, _token(self.handle), frame, &got) == DONE:
            if got.slot != NO_SLOT:
                drop_slot(self.handle.mapping, got.slot)
        return 0

    cdef uint64_t size(self) noexcept:
        return queue_size(self.handle)

    cdef bint full(self) noexcept:
        return queue_full(self.handle)

    cdef int figures(self, QueueFigures* f) except -1:
        queue_figures(self.handle, f[0])
        return 0

    cdef str label(self):
        return _text(queue_label(self.handle))


@cython.final
cdef class _Frames:
    """Items on their way into a queue: encoded, some of them put."""

    cdef bytes frames
    cdef uint64_t at
    cdef uint32_t count
    cdef list holds


cdef _Store _ring_store(uint64_t maxsize, uint64_t maxbytes, bytes label):
    cdef _RingStore store = _RingStore.__new__(_RingStore)
    cdef Mapping* mapping = _home()
    if not make_queue(mapping, _token_in(mapping), maxsize, maxbytes, label, store.handle):
        raise _arena_full("a queue")
    return store


cdef _Store _attached_ring_store(bytes ticket):
    cdef _RingStore store = _RingStore.__new__(_RingStore)
    _attach(ticket, "queue", KIND_QUEUE, &store.handle)
    return store


@cython.no_gc_clear  # __dealloc__ needs the store
@cython.final
cdef class _RingClaim(_Claim):
    cdef _RingStore store
    cdef LeaseName name

    def __dealloc__(self):
        if self.open and self.pid == os.getpid():
            self.settle(False)

    cdef int settle(self, bint done) except -2:
        cdef Token token = _token(self.store.handle)
        cdef int result
        self.open = False
        if done:
            result = queue_ack(self.store.handle, token, self.name)
        else:
            result = queue_nack(self.store.handle, token, self.name)
        _tell()
        return result
