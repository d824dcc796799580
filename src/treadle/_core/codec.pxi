# codec.pxi: values as bytes. Scalars, str, bytes and tuples of them natively; everything else as pickle protocol 5, its
# large buffers beside the pickle and not in it.
#
#   value   tag, then
#           int      8 bytes, two's complement          float   8 bytes
#           str      4 bytes length, UTF-8              bytes   4 bytes length, the bytes
#           tuple    4 bytes count, the values          none, true, false: nothing
#   long    (only alone) tag, str or bytes as in the tag: all that follows
#   pickle  (only alone) tag, 3 bytes padding, 4 bytes count of buffers, 8 bytes length of the pickle,
#           count × (8 bytes length << 1 | read-only), the pickle, the buffers, each at a multiple of 64

cdef enum:
    TAG_NONE = 1
    TAG_TRUE
    TAG_FALSE
    TAG_INT
    TAG_FLOAT
    TAG_STR
    TAG_BYTES
    TAG_TUPLE
    TAG_LONG_STR
    TAG_LONG_BYTES
    TAG_PICKLE

cdef enum:
    RELEASING_COPY = 65536  # bytes from which on the interpreter is released for a copy

cdef enum:
    DEEPEST = 32  # tuples in tuples; deeper ones are pickled

cdef enum:
    NATIVE = 0
    NOT_NATIVE = 1
    TOO_LONG = 2


cdef struct Writer:
    char* out
    uint32_t size
    uint32_t room


cdef inline bint _fits(Writer* w, Py_ssize_t more) noexcept:
    return more <= <Py_ssize_t>(w.room - w.size)


cdef inline void _write_tag(Writer* w, uint8_t tag) noexcept:
    w.out[w.size] = <char>tag
    w.size += 1


cdef inline void _write(Writer* w, const void* data, Py_ssize_t size) noexcept:
    memcpy(w.out + w.size, data, size)
    w.size += <uint32_t>size


cdef int _encode(object value, Writer* w, int depth) except -1:
    """Writes a value natively; NOT_NATIVE or TOO_LONG where that cannot be."""
    cdef long long number
    cdef double real
    cdef int overflow = 0
    cdef const char* text
    cdef Py_ssize_t length
    cdef uint32_t count
    cdef int result
    if PyLong_CheckExact(value):
        number = PyLong_AsLongLongAndOverflow(value, &overflow)
        if overflow != 0:
            return NOT_NATIVE
        if not _fits(w, 9):
            return TOO_LONG
        _write_tag(w, TAG_INT)
        _write(w, &number, 8)
    elif PyUnicode_CheckExact(value):
        if PyUnicode_IS_COMPACT_ASCII(value):
            text = <const char*>PyUnicode_DATA(value)
            length = PyUnicode_GET_LENGTH(value)
        else:
            try:
                text = PyUnicode_AsUTF8AndSize(value, &length)
            except UnicodeEncodeError:  # a lone surrogate
                return NOT_NATIVE
        if not _fits(w, length + 5):
            return TOO_LONG
        count = <uint32_t>length
        _write_tag(w, TAG_STR)
        _write(w, &count, 4)
        _write(w, text, length)
    elif PyBytes_CheckExact(value):
        length = PyBytes_GET_SIZE(value)
        if not _fits(w, length + 5):
            return TOO_LONG
        count = <uint32_t>length
        _write_tag(w, TAG_BYTES)
        _write(w, &count, 4)
        _write(w, PyBytes_AS_STRING(value), length)
    elif PyTuple_CheckExact(value):
        length = PyTuple_GET_SIZE(value)
        if depth >= DEEPEST:
            return NOT_NATIVE
        if not _fits(w, length + 5):
            return TOO_LONG
        count = <uint32_t>length
        _write_tag(w, TAG_TUPLE)
        _write(w, &count, 4)
        for item in <tuple>value:
            result = _encode(item, w, depth + 1)
            if result != NATIVE:
                return result
    elif PyFloat_CheckExact(value):
        if not _fits(w, 9):
            return TOO_LONG
        real = PyFloat_AS_DOUBLE(value)
        _write_tag(w, TAG_FLOAT)
        _write(w, &real, 8)
    elif value is None or value is True or value is False:
        if not _fits(w, 1):
            return TOO_LONG
        _write_tag(w, TAG_NONE if value is None else TAG_TRUE if value is True else TAG_FALSE)
    else:
        return NOT_NATIVE
    return NATIVE


cdef struct Reader:
    const char* at
    const char* end


cdef int _short() except -1:
    raise EOFError("the item's bytes end too early")


cdef inline const char* _read(Reader* r, Py_ssize_t size) except NULL:
    cdef const char* data = r.at
    if size > r.end - r.at:
        _short()
    r.at += size
    return data


cdef object _decode(Reader* r):
    cdef uint8_t tag = <uint8_t>_read(r, 1)[0]
    cdef long long number
    cdef double real
    cdef uint32_t count = 0
    cdef const char* data
    if tag == TAG_INT:
        memcpy(&number, _read(r, 8), 8)
        return PyLong_FromLongLong(number)
    if tag == TAG_STR:
        memcpy(&count, _read(r, 4), 4)
        data = _read(r, count)
        return PyUnicode_DecodeUTF8(data, count, NULL)
    if tag == TAG_BYTES:
        memcpy(&count, _read(r, 4), 4)
        data = _read(r, count)
        return PyBytes_FromStringAndSize(data, count)
    if tag == TAG_TUPLE:
        memcpy(&count, _read(r, 4), 4)
        if count > r.end - r.at:
            _short()
        values = PyTuple_New(count)
        for i in range(count):
            item = _decode(r)
            Py_INCREF(item)
            PyTuple_SET_ITEM(values, i, item)
        return values
    if tag == TAG_FLOAT:
        memcpy(&real, _read(r, 8), 8)
        return PyFloat_FromDouble(real)
    if tag == TAG_NONE:
        return None
    if tag == TAG_TRUE:
        return True
    if tag == TAG_FALSE:
        return False
    raise ValueError(f"an item cannot begin with the tag {tag}")


# ---- Pickles

cdef class _Pickled:
    """A value as a pickle and the buffers beside it, laid out but not written."""

    cdef bytes data
    cdef list buffers  # of memoryview
    cdef uint64_t size

    cdef uint64_t _lay_out(self) except 0:
        cdef uint64_t at = 16 + 8 * <uint64_t>len(self.buffers) + <uint64_t>len(self.data)
        for view in self.buffers:
            at = ((at + 63) & ~<uint64_t>63) + <uint64_t>view.nbytes
        self.size = at
        return at

    cdef _write_to(self, char* out):
        cdef uint32_t count = <uint32_t>len(self.buffers)
        cdef uint64_t length = <uint64_t>len(self.data)
        cdef uint64_t at = 16
        cdef const unsigned char[::1] part
        cdef const char* source
        out[0] = TAG_PICKLE
        out[1] = out[2] = out[3] = 0
        memcpy(out + 4, &count, 4)
        memcpy(out + 8, &length, 8)
        for view in self.buffers:
            length = (<uint64_t>view.nbytes << 1) | (1 if view.readonly else 0)
            memcpy(out + at, &length, 8)
            at += 8
        memcpy(out + at, PyBytes_AS_STRING(self.data), len(self.data))
        at += <uint64_t>len(self.data)
        for view in self.buffers:
            at = (at + 63) & ~<uint64_t>63
            if view.nbytes != 0:
                part = view
                source = <const char*>&part[0]
                length = <uint64_t>part.shape[0]
                if length >= RELEASING_COPY:
                    with nogil:
                        memcpy(out + at, source, length)
                else:
                    memcpy(out + at, source, length)
                at += length


cdef _Pickled _pickle(object value):
    cdef _Pickled pickled = _Pickled.__new__(_Pickled)
    buffers = []
    data = _dumped(value, buffers)
    try:
        views = [buffer.raw() for buffer in buffers]
    except BufferError:  # not contiguous: let it be copied into the pickle
        data = _dumped(value, None)
        views = []
    pickled.data = data
    pickled.buffers = views
    pickled._lay_out()
    return pickled


cdef bytes _dumped(object value, list buffers):
    """The pickle; its buffers are added to the list, or are in it where that is None."""
    beside = None if buffers is None else buffers.append
    pickle = import_lazily("pickle")
    try:
        return pickle.dumps(value, protocol=5, buffer_callback=beside)
    except (pickle.PicklingError, AttributeError, TypeError) as error:  # a function without a name, perhaps
        if buffers is not None:
            buffers.clear()
        return import_lazily("treadle._by_value").dumps(value, error, beside)


cdef bytes _bytes_of(const char* data, uint64_t size):
    """A copy; of much, without stopping the other threads."""
    cdef bytes copied
    cdef char* target
    if size < RELEASING_COPY:
        return PyBytes_FromStringAndSize(data, <Py_ssize_t>size)
    copied = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>size)
    target = PyBytes_AS_STRING(copied)
    with nogil:
        memcpy(target, data, size)
    return copied


cdef object _unpickle(const char* data, uint64_t size, _MessageMemory memory, bint copy):
    """Rebuilds a pickled value; its buffers are copies, or (copy false) views of `memory`."""
    cdef uint32_t count
    cdef uint64_t length, at, first
    cdef const char* source
    cdef char* target
    if size < 16:
        _short()
    memcpy(&count, data + 4, 4)
    memcpy(&length, data + 8, 8)
    at = 16 + 8 * <uint64_t>count
    if at > size or length > size - at:
        _short()
    first = at
    at += length
    buffers = []
    view = None if memory is None or copy else memoryview(memory)
    cdef uint64_t entry, part
    for i in range(count):
        memcpy(&entry, data + 16 + 8 * <uint64_t>i, 8)
        part = entry >> 1
        at = (at + 63) & ~<uint64_t>63
        if at > size or part > size - at:
            _short()
        if view is not None:
            piece = view[at:at + part]
            buffers.append(piece.toreadonly() if entry & 1 else piece)
        elif part >= LARGE_BUFFER:
            buffers.append(_large_copy(data + at, part, entry & 1))
        elif entry & 1:
            buffers.append(_bytes_of(data + at, part))
        else:
            buffer = PyByteArray_FromStringAndSize(NULL, <Py_ssize_t>part)
            source = data + at
            target = PyByteArray_AS_STRING(buffer)
            if part >= RELEASING_COPY:
                with nogil:
                    memcpy(target, source, part)
            else:
                memcpy(target, source, part)
            buffers.append(buffer)
        at += part
    return import_lazily("pickle").loads(PyBytes_FromStringAndSize(data + first, <Py_ssize_t>length), buffers=buffers)


cdef object _rebuild(const char* data, uint64_t size, _MessageMemory memory, bint copy):
    """The value that lies at `data`."""
    cdef Reader reader
    cdef uint8_t tag
    if size == 0:
        _short()
    tag = <uint8_t>data[0]
    if tag == TAG_PICKLE:
        return _unpickle(data, size, memory, copy)
    if tag == TAG_LONG_BYTES:
        return _bytes_of(data + 1, size - 1)
    if tag == TAG_LONG_STR:
        return PyUnicode_DecodeUTF8(data + 1, <Py_ssize_t>(size - 1), NULL)
    reader = Reader(data, data + size)
    return _decode(&reader)
