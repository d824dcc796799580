# dict_copies.pxi: copies of a Dict's entries as of one instant, which iteration goes over.

cdef enum:
    KEYS = 1
    VALUES
    ITEMS


@cython.final
@cython.internal
@cython.no_gc_clear
cdef class _Records:
    """Entries that were copied from a dict at one instant, and become keys and values one after another."""

    cdef Handle handle  # the dict's, which `keep` keeps
    cdef object keep
    cdef MapBasket basket
    cdef const char* at
    cdef uint64_t done
    cdef int what

    def __dealloc__(self):
        if self.basket.data != NULL:
            drop_records(self.handle, self.basket, self.at, self.basket.records - self.done)

    def __iter__(self):
        return self

    def __next__(self):
        cdef uint64_t entry
        if self.done == self.basket.records:
            raise StopIteration
        return self.next(&entry)

    cdef object next(self, uint64_t* entry):
        cdef MapRecord record
        cdef MessageHold unused
        self.at = read_record(self.at, &record)
        self.done += 1
        entry[0] = record.head.entry
        if self.what == VALUES:
            key = None
            if record.head.form_slot != NO_SLOT:
                drop_slot(self.handle.mapping, record.head.form_slot)
        else:
            try:
                key = _rebuild_key(self.handle, record)
            except BaseException:
                if record.head.value_slot != NO_SLOT:
                    drop_slot(self.handle.mapping, record.head.value_slot)
                raise
            if self.what == KEYS:
                return key
        value = _rebuild_part(
            self.handle, record.content + record.sizes.value_at(), record.sizes.value, record.head.value_slot, "the value", key
        )
        return value if self.what == VALUES else (key, value)

    def __length_hint__(self):
        return <Py_ssize_t>(self.basket.records - self.done)
