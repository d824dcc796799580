# views.pxi: messages of the arena, and copies of them, as buffers of Python.


@cython.final
cdef class _MessageMemory:
    """The bytes of one message in the arena, as a writable buffer; the message lives as long as this does.

    The process refers to the message through a slot of its own, so that the memory outlives the queue, and a fork.
    """

    cdef Mapping* mapping
    cdef MessageHold hold
    cdef uint64_t size
    cdef Py_ssize_t shape[1]
    cdef Py_ssize_t strides[1]

    def __cinit__(self):
        self.mapping = NULL

    def __dealloc__(self):
        if self.mapping != NULL:
            drop_slot(self.mapping, self.hold.slot)

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        if self.mapping == NULL:
            raise BufferError("there is no message in here: only a queue's items have one")
        self.shape[0] = <Py_ssize_t>self.size
        self.strides[0] = 1
        buffer.buf = message_data(self.hold)
        buffer.obj = self
        buffer.len = <Py_ssize_t>self.size
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


cdef _MessageMemory _message_memory(Mapping* mapping, MessageHold hold, uint64_t size):
    cdef _MessageMemory memory = _MessageMemory.__new__(_MessageMemory)
    memory.mapping = mapping
    memory.hold = hold
    memory.size = size
    return memory


cdef enum:
    LARGE_BUFFER = 1 << 20  # from here on a copy gets pages of its own


@cython.final
cdef class _LargeBuffer:
    """A copy of a large buffer, on huge pages: with small ones the page faults would cost more than the copy."""

    cdef char* data
    cdef uint64_t mapped
    cdef bint readonly
    cdef Py_ssize_t shape[1]
    cdef Py_ssize_t strides[1]

    def __dealloc__(self):
        if self.data != NULL:
            unmap(self.data, self.mapped)

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        if self.data == NULL:
            raise BufferError("there is no buffer in here: only a queue's items have one")
        if self.readonly and flags & 1:  # PyBUF_WRITABLE
            raise BufferError("this buffer was read-only where it came from")
        self.strides[0] = 1
        buffer.buf = self.data
        buffer.obj = self
        buffer.len = self.shape[0]
        buffer.itemsize = 1
        buffer.readonly = self.readonly
        buffer.ndim = 1
        buffer.format = NULL
        buffer.shape = self.shape
        buffer.strides = self.strides
        buffer.suboffsets = NULL
        buffer.internal = NULL

    def __releasebuffer__(self, Py_buffer* buffer):
        pass


cdef object _large_copy(const char* source, uint64_t size, bint readonly):
    cdef _LargeBuffer buffer = _LargeBuffer.__new__(_LargeBuffer)
    cdef char* target
    buffer.mapped = (size + HUGE_PAGE - 1) & ~<uint64_t>(HUGE_PAGE - 1)
    target = <char*>map_private(buffer.mapped)
    if target == NULL:
        raise MemoryError
    buffer.data = target
    buffer.shape[0] = <Py_ssize_t>size
    buffer.readonly = readonly
    with nogil:
        memcpy(target, source, size)
    return memoryview(buffer)  # whoever gets it bare can use it as he would bytes
