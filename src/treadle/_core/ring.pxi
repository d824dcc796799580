# ring.pxi: the store of a shared first-in, first-out queue: a ring of frames.

@cython.no_gc_clear
@cython.final
cdef class _RingStore(_ByValueStore):
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
        return self._put_entries(frame, 1, ns)

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
                self._put_entries(frames, count, ns)
        finally:
            free(frames)
        return 0

    cdef object prepare(self, list items):
        cdef char frame[LARGEST_FRAME_BYTES]
        cdef _Entries prepared = _Entries.__new__(_Entries)
        cdef uint32_t size
        prepared.holds = []
        parts = []
        for item in items:
            size = _encode_frame(self.handle.mapping, item, frame, prepared.holds)
            parts.append(PyBytes_FromStringAndSize(frame, size))
        prepared.count = <uint32_t>len(parts)
        prepared.entries = b"".join(parts)
        return prepared

    cdef int doubt(self, Waiter waiter) except -1:
        doubt_ring(waiter.place, self.handle)
        return 0

    cdef int hand_over(self, const char* entries, uint32_t count, int64_t ns, Taken* accepted) except? -1:
        return queue_put(self.handle, _token(self.handle), entries, count, ns, accepted)

    cdef int hand_over_once(self, Waiter waiter, const char* entries, uint32_t count, Taken* accepted) except? -1:
        return queue_put_attempt(
            self.handle, _token(self.handle), waiter.look, entries, count, accepted, &waiter.wait
        )

    cdef int take(self, uint32_t max_items, char* out, uint32_t room, int64_t ns, Taken* got) except? -1:
        return queue_get(self.handle, _token(self.handle), max_items, out, room, ns, got)

    cdef int take_once(self, Waiter waiter, uint32_t max_items, char* out, uint32_t room, Taken* got) except? -1:
        return queue_get_attempt(
            self.handle, _token(self.handle), waiter.look, max_items, out, room, got, &waiter.wait
        )

    cdef int take_on_lease(self, char* out, int64_t ns, LeaseName* name, Taken* got) except? -1:
        return queue_lease(self.handle, _token(self.handle), out, ns, name, got)

    cdef int take_on_lease_once(self, Waiter waiter, char* out, LeaseName* name, Taken* got) except? -1:
        return queue_lease_attempt(self.handle, _token(self.handle), waiter.look, out, name, got, &waiter.wait)

    cdef int settle(self, const LeaseName& name, bint done) except? -1:
        if done:
            return queue_ack(self.handle, _token(self.handle), name)
        return queue_nack(self.handle, _token(self.handle), name)

    cdef object attempt_join(self, Waiter waiter):
        waiter._begin(self.handle)
        self.doubt(waiter)
        cdef int result = queue_join_attempt(self.handle, _token(self.handle), waiter.look, &waiter.wait)
        return True if result == DONE else _PENDING

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


cdef _Store _ring_store(uint64_t maxsize, uint64_t maxbytes, bytes label, _Naming named, str described):
    cdef _RingStore store = _RingStore.__new__(_RingStore)
    cdef Mapping* mapping = _arena_of(named)
    if named is None or not named.found(described, store.handle):
        if not make_queue(mapping, _token_in(mapping), maxsize, maxbytes, label, store.handle):
            raise _arena_full("a queue", mapping)
        if named is not None:
            named.publish(store.handle)
    return store


cdef _Store _attached_ring_store(bytes ticket):
    cdef _RingStore store = _RingStore.__new__(_RingStore)
    _attach(ticket, "queue", KIND_QUEUE, &store.handle)
    return store
