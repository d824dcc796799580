# ordered.pxi: the store of a shared priority queue or stack: items in the order of their keys, or the newest first.

@cython.no_gc_clear
@cython.final
cdef class _OrderedStore(_ByValueStore):
    cdef bint by_key

    cdef uint64_t _write_record(self, object item, KeyWriter* w, list holds) except 0:
        """Writes an item's record to where the writer ends up (`w.base`); returns its size."""
        cdef uint64_t at
        w.size = 0
        if self.by_key:
            _encode_key(item, w)
        at = write_record_header(w.base, <uint32_t>w.size)
        return at + _encode_frame(self.handle.mapping, item, w.base + at, holds)

    cdef int put(self, object item, int64_t ns) except -1:
        cdef uint64_t words[SHORT_RECORD_WORDS]
        cdef char* start = <char*>words
        cdef KeyWriter w = KeyWriter(start, 0, SHORT_KEY, NULL)
        cdef list holds = []
        try:
            self._write_record(item, &w, holds)
            return self._put_entries(w.base, 1, ns)
        finally:
            free(w.grown)

    cdef int put_many(self, object items, int64_t ns) except -1:
        self._put_batch(items, ns, False)
        return 0

    cdef int put_some(self, object items) except -1:
        """Puts as many of these, from the first on, as there is memory for; returns how many. Raises if it is none."""
        return self._put_batch(items, FOREVER, True)

    cdef int _put_batch(self, object items, int64_t ns, bint some) except -1:
        cdef uint64_t words[SHORT_RECORD_WORDS]
        cdef char* start = <char*>words
        cdef KeyWriter w = KeyWriter(start, 0, SHORT_KEY, NULL)
        cdef char* records = NULL
        cdef uint64_t size = 0, room = 0, bytes
        cdef uint32_t count = 0
        cdef char* larger
        cdef list holds = []
        try:
            for item in items:
                bytes = self._write_record(item, &w, holds)
                if size + bytes > room:
                    room = max(2 * room, size + bytes, <uint64_t>BATCH_BYTES)
                    larger = <char*>realloc(records, room)
                    if larger == NULL:
                        raise MemoryError
                    records = larger
                memcpy(records + size, w.base, bytes)
                size += bytes
                count += 1
            return 0 if count == 0 else self._put_entries(records, count, ns, some)
        finally:
            free(w.grown)
            free(records)

    cdef object prepare(self, list items):
        cdef uint64_t words[SHORT_RECORD_WORDS]
        cdef char* start = <char*>words
        cdef KeyWriter w = KeyWriter(start, 0, SHORT_KEY, NULL)
        cdef _Entries prepared = _Entries.__new__(_Entries)
        cdef uint64_t size
        prepared.holds = []
        parts = []
        try:
            for item in items:
                size = self._write_record(item, &w, prepared.holds)
                parts.append(PyBytes_FromStringAndSize(w.base, size))
        finally:
            free(w.grown)
        prepared.count = <uint32_t>len(parts)
        prepared.entries = b"".join(parts)
        return prepared

    cdef int doubt(self, Waiter waiter) except -1:
        doubt_ordered(waiter.place, self.handle)
        return 0

    cdef int hand_over(self, const char* entries, uint32_t count, int64_t ns, Taken* accepted) except? -1:
        return ordered_put(self.handle, _token(self.handle), entries, count, ns, accepted)

    cdef int hand_over_once(self, Waiter waiter, const char* entries, uint32_t count, Taken* accepted) except? -1:
        return ordered_put_attempt(
            self.handle, _token(self.handle), waiter.look, entries, count, accepted, &waiter.wait
        )

    cdef int take(self, uint32_t max_items, char* out, uint32_t room, int64_t ns, Taken* got) except? -1:
        return ordered_get(self.handle, _token(self.handle), max_items, out, room, ns, got)

    cdef int take_once(self, Waiter waiter, uint32_t max_items, char* out, uint32_t room, Taken* got) except? -1:
        return ordered_get_attempt(
            self.handle, _token(self.handle), waiter.look, max_items, out, room, got, &waiter.wait
        )

    cdef int take_on_lease(self, char* out, int64_t ns, LeaseName* name, Taken* got) except? -1:
        return ordered_lease(self.handle, _token(self.handle), out, ns, name, got)

    cdef int take_on_lease_once(self, Waiter waiter, char* out, LeaseName* name, Taken* got) except? -1:
        return ordered_lease_attempt(self.handle, _token(self.handle), waiter.look, out, name, got, &waiter.wait)

    cdef int settle(self, const LeaseName& name, bint done) except? -1:
        if done:
            return ordered_ack(self.handle, _token(self.handle), name)
        return ordered_nack(self.handle, _token(self.handle), name)

    cdef object attempt_join(self, Waiter waiter):
        waiter._begin(self.handle)
        self.doubt(waiter)
        cdef int result = ordered_join_attempt(self.handle, _token(self.handle), waiter.look, &waiter.wait)
        return True if result == DONE else _PENDING

    cdef int done(self) except -1:
        cdef int result = ordered_done(self.handle, _token(self.handle), 1)
        _tell()
        return result

    cdef int join(self, int64_t ns) except -2:
        return ordered_join(self.handle, _token(self.handle), ns)

    cdef int shut_down(self, bint immediate) except -1:
        ordered_shut_down(self.handle, immediate)
        _tell()
        if immediate:
            self.leftovers.clear()
        while immediate and ordered_discard(self.handle, _token(self.handle)) == DONE:
            pass
        return 0

    cdef uint64_t size(self) noexcept:
        return ordered_size(self.handle)

    cdef bint full(self) noexcept:
        return ordered_full(self.handle)

    cdef int figures(self, QueueFigures* f) except -1:
        ordered_figures(self.handle, f[0])
        return 0

    cdef str label(self):
        return _text(ordered_label(self.handle))


cdef _Store _ordered_store(
    bint by_key, uint64_t maxsize, uint64_t maxbytes, bytes label, _Naming named, str described
):
    cdef _OrderedStore store = _OrderedStore.__new__(_OrderedStore)
    cdef Mapping* mapping = _arena_of(named)
    store.by_key = by_key
    if named is None or not named.found(described, store.handle):
        if not make_ordered(mapping, _token_in(mapping), by_key, maxsize, maxbytes, label, store.handle):
            raise _arena_full("a queue", mapping)
        if named is not None:
            named.publish(store.handle)
    return store


cdef _Store _attached_ordered_store(bint by_key, bytes ticket):
    cdef _OrderedStore store = _OrderedStore.__new__(_OrderedStore)
    store.by_key = by_key
    _attach(
        ticket,
        "priority queue" if by_key else "stack",
        KIND_PRIORITY_QUEUE if by_key else KIND_LIFO_QUEUE,
        &store.handle,
    )
    return store
