# memory.pxi: plain memory of the arena, as a buffer of Python: what a Value, an Array or an ndarray lies in.

cdef enum:
    HELD_WHILE_FILLED = 1 << 16  # bytes; more are filled with the interpreter released


@cython.final
cdef class SharedBytes:
    """SharedBytes(size=None, initial=None, label=None, name=None, persist=False, description=None)\n--\n
    Writable memory of the arena that many processes may have, for as long as anybody refers to it.

    initial: what it begins with (a buffer of that size), None: zeroes. label: as bytes. name, persist: as those of Lock;
    description: what whoever opens the name must ask for, too. Whatever has its buffer (a memoryview, a ctypes object, a
    NumPy array) keeps it. Raises ArenaFullError.
    """

    cdef Handle handle
    cdef char* data
    cdef Py_ssize_t shape[1]
    cdef Py_ssize_t strides[1]
    cdef object __weakref__

    def __cinit__(self, size=None, initial=None, bytes label=None, name=None, bint persist=False, str description=None):
        cdef _Naming named
        if size is None:  # _rebuild_shared_bytes attaches it
            return
        named = _named(name, persist, True)
        if named is None or not named.found(description, self.handle):
            self._make(_arena_of(named), _whole(size), initial, label)
            if named is not None:
                named.publish(self.handle)
        self._look()

    def __dealloc__(self):
        drop_object(self.handle)

    cdef int _look(self) except -1:
        self.data = memory_data(self.handle.block)
        self.shape[0] = <Py_ssize_t>memory_bytes(self.handle.block)
        self.strides[0] = 1
        return 0

    cdef int _make(self, Mapping* mapping, size, initial, bytes label) except -1:
        cdef uint64_t bytes_ = min(size, CAPACITY)
        cdef const char* text = label
        cdef const unsigned char[::1] source
        if size < 0:
            raise ValueError("shared memory cannot have a negative size")
        if not make_memory(mapping, _token_in(mapping), bytes_, text, self.handle):
            raise _arena_full(f"{size} bytes", mapping)
        self._look()
        if bytes_ == 0:
            return 0
        if initial is None:
            _fill(self.data, NULL, bytes_)
            return 0
        source = memoryview(initial).cast("B")
        if <uint64_t>source.shape[0] != bytes_:
            raise ValueError(f"the initial bytes are {source.shape[0]}, and the memory has {bytes_}")
        _fill(self.data, <const char*>&source[0], bytes_)
        return 0

    @property
    def address(self):
        """Where it lies in this process."""
        return <size_t>self.data

    @property
    def label(self):
        """What reports call it."""
        return _text(memory_head(self.handle.block).label) if self.data != NULL else ""

    @property
    def name(self):
        """By what name other programs find it, or None."""
        return _name_of(self.handle)

    def __len__(self):
        return self.shape[0]

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        if self.data == NULL:
            raise BufferError("there is no memory in here")
        if not self.handle.mapping.member():
            raise _no_member()
        buffer.buf = self.data
        buffer.obj = self
        buffer.len = self.shape[0]
        buffer.itemsize = 1
        buffer.readonly = 0
        buffer.ndim = 1
        buffer.format = NULL
        buffer.shape = self.shape
        buffer.strides = self.strides
        buffer.suboffsets = NULL
        buffer.internal = NULL

    def __releasebuffer__(self, Py_buffer* buffer):
        pass

    def __reduce__(self):
        if self.data == NULL:
            raise TypeError("there is no memory in here to pickle")
        return _rebuild_shared_bytes, (_ticket_of(self.handle, self),)


cdef int _fill(char* data, const char* source, uint64_t size) except -1:
    if size <= HELD_WHILE_FILLED:
        _fill_now(data, source, size)
        return 0
    with nogil:
        _fill_now(data, source, size)
    return 0


cdef void _fill_now(char* data, const char* source, uint64_t size) noexcept nogil:
    if source == NULL:
        memset(data, 0, size)
    else:
        memcpy(data, source, size)


def _rebuild_shared_bytes(ticket):
    cdef SharedBytes memory = SharedBytes.__new__(SharedBytes)
    _attach(ticket, "shared memory", KIND_MEMORY, &memory.handle)
    memory._look()
    return memory
