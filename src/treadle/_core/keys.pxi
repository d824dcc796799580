# keys.pxi: order keys: bytes that, compared as memcmp and then by length does it, are ordered as the values are in Python.
#
#   value    tag, then
#            None     nothing
#            number   8 bytes: the correctly rounded double, so that its bytes are ordered; then the exact rest, as below
#            bytes    the bytes, each 0 as 0 255; a 0
#            str      the UTF-8 (lone surrogates as if they had one), each 0 as 0 255; a 0
#            tuple    the values; a 0, which is less than any tag: a prefix comes first
#   rest     what the integer is beyond its double: 128 + n and n bytes, highest first; if negative 128 - n and the
#            complement of n bytes; 128 alone if nothing. Rounding is monotonous, so this order is exact: among numbers
#            with the same double the rest decides, and a float has none.
#
# Tags put what Python cannot compare in the order None < numbers < bytes < str < tuples.

cdef enum:
    KEY_END = 0
    KEY_NONE
    KEY_NUMBER
    KEY_BYTES
    KEY_STR
    KEY_TUPLE

cdef enum:
    DEEPEST_KEY = 100  # tuples in tuples
    MOST_KEY_BYTES = 0x40000000

cdef object _subtract_int = int.__sub__  # a subclass's own is not asked


cdef struct KeyWriter:
    char* base  # a record: its header, then the key, then LARGEST_FRAME_BYTES for its frame
    uint64_t size  # of the key
    uint64_t room
    char* grown  # `base`, where that is to be freed


cdef int _grow_key(KeyWriter* w, uint64_t more) except -1:
    cdef uint64_t room = 2 * (w.size + more)
    cdef char* larger
    if room > MOST_KEY_BYTES:
        raise OverflowError(f"an order key of more than {MOST_KEY_BYTES // 2} bytes")
    larger = <char*>realloc(w.grown, RECORD_HEADER + room + 8 + LARGEST_FRAME_BYTES)
    if larger == NULL:
        raise MemoryError
    if w.grown == NULL:
        memcpy(larger, w.base, RECORD_HEADER + w.size)
    w.base = w.grown = larger
    w.room = room
    return 0


cdef inline int _add_bytes(KeyWriter* w, const void* data, uint64_t size) except -1:
    if size > w.room - w.size:
        _grow_key(w, size)
    memcpy(w.base + RECORD_HEADER + w.size, data, size)
    w.size += size
    return 0


cdef inline int _add_byte(KeyWriter* w, unsigned int byte) except -1:
    cdef char value = <char>byte
    return _add_bytes(w, &value, 1)


cdef int _encode_key(object item, KeyWriter* w) except -1:
    """Writes the key of an item: the item itself, or as many elements of a tuple as can be ordered (one at least)."""
    cdef uint64_t end
    if not (isinstance(item, tuple) and compares_as(item, tuple)):
        if not _add_value(item, w, 0):
            _refuse_key(item)
        return 0
    _add_byte(w, KEY_TUPLE)
    for i in range(PyTuple_GET_SIZE(item)):
        end = w.size
        value = <object>PyTuple_GET_ITEM(item, i)
        if not _add_value(value, w, 1):
            if i == 0:
                _refuse_key(value)
            w.size = end
            break
    return _add_byte(w, KEY_END)


cdef int _refuse_key(object value) except -1:
    if isinstance(value, float):
        raise TypeError(f"{value!r} has no place in an order; put (priority, item) with another priority")
    raise TypeError(
        f"a value of type {type(value).__qualname__!r} cannot be ordered between processes; put (priority, item), where "
        "priority is a number, str, bytes, None, or a tuple of these"
    )


cdef bint _add_value(object value, KeyWriter* w, int depth) except -1:
    """False: it cannot be ordered; what was written of it then does not count."""
    if isinstance(value, int):
        return compares_as(value, int) and _add_int(value, w)
    if isinstance(value, float):
        return compares_as(value, float) and _add_float(PyFloat_AS_DOUBLE(value), w)
    if isinstance(value, str):
        return compares_as(value, str) and _add_str(value, w)
    if isinstance(value, bytes):
        return compares_as(value, bytes) and _add_text(KEY_BYTES, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value), w)
    if value is None:
        _add_byte(w, KEY_NONE)
        return True
    if not isinstance(value, tuple) or not compares_as(value, tuple) or depth >= DEEPEST_KEY:
        return False
    _add_byte(w, KEY_TUPLE)
    for i in range(PyTuple_GET_SIZE(value)):
        if not _add_value(<object>PyTuple_GET_ITEM(value, i), w, depth + 1):
            return False
    _add_byte(w, KEY_END)
    return True


cdef int _add_double(double value, KeyWriter* w) except -1:
    cdef unsigned char text[9]
    cdef uint64_t bits
    cdef int i
    value += 0.0  # -0.0 becomes 0.0
    memcpy(&bits, &value, 8)
    # Positive ones above negative ones, and of these the larger magnitude below.
    bits = ~bits if bits >> 63 else bits | (<uint64_t>1 << 63)
    text[0] = KEY_NUMBER
    for i in range(8):
        text[1 + i] = <unsigned char>(bits >> (56 - 8 * i))
    return _add_bytes(w, text, 9)


cdef bint _add_float(double value, KeyWriter* w) except -1:
    if value != value:
        return False
    _add_double(value, w)
    _add_byte(w, 128)
    return True


cdef bint _add_int(object value, KeyWriter* w) except -1:
    cdef int overflow = 0
    cdef long long number = PyLong_AsLongLongAndOverflow(value, &overflow)
    cdef double rounded
    cdef unsigned int bytes
    if overflow == 0 and -(1 << 53) <= number <= (1 << 53):
        _add_double(<double>number, w)
        _add_byte(w, 128)
        return True
    try:
        rounded = PyLong_AsDouble(value)
    except OverflowError:
        raise OverflowError("an int of more than 1023 bits cannot be ordered between processes") from None
    rest = _subtract_int(value, int(rounded))
    _add_double(rounded, w)
    bytes = <unsigned int>((rest.bit_length() + 7) // 8)
    if rest >= 0:
        _add_byte(w, 128 + bytes)
        text = rest.to_bytes(bytes, "big")
    else:
        _add_byte(w, 128 - bytes)
        text = (rest + ((<object>1) << (8 * bytes)) - 1).to_bytes(bytes, "big")
    _add_bytes(w, PyBytes_AS_STRING(text), bytes)
    return True


cdef bint _add_str(object value, KeyWriter* w) except -1:
    cdef const char* text
    cdef Py_ssize_t length
    try:
        text = PyUnicode_AsUTF8AndSize(value, &length)
    except UnicodeEncodeError:  # a lone surrogate
        encoded = str.encode(value, "utf-8", "surrogatepass")
        return _add_text(KEY_STR, PyBytes_AS_STRING(encoded), PyBytes_GET_SIZE(encoded), w)
    return _add_text(KEY_STR, text, length, w)


cdef bint _add_text(unsigned int tag, const char* text, Py_ssize_t length, KeyWriter* w) except -1:
    cdef const char* zero
    cdef Py_ssize_t part
    _add_byte(w, tag)
    while True:
        zero = <const char*>memchr(text, 0, length)
        part = zero - text if zero != NULL else length
        _add_bytes(w, text, part)
        _add_byte(w, 0)
        if zero == NULL:
            return True
        _add_byte(w, 255)
        text += part + 1
        length -= part + 1
