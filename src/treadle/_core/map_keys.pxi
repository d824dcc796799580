# map_keys.pxi: keys of shared maps as bytes, which are equal where the keys are.
#
#   number     codec.pxi's int if it is whole and has 64 bits; its float if that is exactly the number (one nan); else WIDE
#              (4 bytes size, two's complement), RATIO (two whole numbers), or COMPLEX (two floats)
#   str, bytes, None, tuple: as in codec.pxi, the elements by these rules
#   FROZENSET, SET, DICT    4 bytes count, the elements (key and value) in the order of their bytes
#   LIST       4 bytes count, the elements
#   NAME       what pickle writes as a name: module and qualified name, as texts
#   OBJECT     what __reduce_ex__ gives: 4 bytes count, its parts
#
# So what equals a plain key has the bytes of the plain key. They give the key back if it was exactly that; else its *form*, as a
# value is written, lies beside them.

cdef enum:
    KEY_ROOM = 256  # of short plain keys, which need no memory
    KEY_WIDE = 32
    KEY_RATIO
    KEY_COMPLEX
    KEY_FROZENSET
    KEY_SET
    KEY_DICT
    KEY_LIST
    KEY_NAME
    KEY_OBJECT

cdef enum:
    DEEPEST_OF_A_MAP = 200  # parts in parts

cdef tuple _named_types = (type, type(threading.settrace))  # classes, and functions in Python


cdef struct KeyBytes:
    const char* data
    uint32_t size
    bint exact  # they give the key back
    char room[KEY_ROOM]


cdef inline object _key_bytes(object key, KeyBytes* out):
    """Writes a key; returns what keeps its bytes, if they are not in `out`."""
    cdef const char* text
    cdef Py_ssize_t length
    cdef uint32_t count
    cdef long long number
    cdef int overflow = 0
    if PyUnicode_CheckExact(key):
        if PyUnicode_IS_COMPACT_ASCII(key):
            text = <const char*>PyUnicode_DATA(key)
            length = PyUnicode_GET_LENGTH(key)
            if length <= KEY_ROOM - 5:
                count = <uint32_t>length
                out.room[0] = TAG_STR
                memcpy(out.room + 1, &count, 4)
                memcpy(out.room + 5, text, length)
                out.data = out.room
                out.size = count + 5
                out.exact = True
                return None
    elif PyLong_CheckExact(key):
        number = PyLong_AsLongLongAndOverflow(key, &overflow)
        if overflow == 0:
            out.room[0] = TAG_INT
            memcpy(out.room + 1, &number, 8)
            out.data = out.room
            out.size = 9
            out.exact = True
            return None
    return _written_key(key, out)


cdef bytes _written_key(object key, KeyBytes* out):
    cdef _KeyWriting writing = _KeyWriting.__new__(_KeyWriting)
    cdef bytes data
    hash(key)  # TypeError, if it has none
    writing.exact = True
    writing.names = None
    writing.add(key, 0)
    data = writing.written()
    if PyBytes_GET_SIZE(data) > MOST_KEY_BYTES:
        raise OverflowError(f"a key of more than {MOST_KEY_BYTES} bytes")
    out.data = PyBytes_AS_STRING(data)
    out.size = <uint32_t>PyBytes_GET_SIZE(data)
    out.exact = writing.exact
    return data


cdef bytes _count_bytes(Py_ssize_t count):
    cdef uint32_t number = <uint32_t>count
    if count > MOST_KEY_BYTES:
        raise OverflowError(f"a key of more than {MOST_KEY_BYTES} bytes")
    return PyBytes_FromStringAndSize(<char*>&number, 4)


@cython.final
@cython.internal
cdef class _KeyWriting:
    """A key's bytes while they are written."""

    cdef list parts
    cdef bint exact
    cdef object names

    def __cinit__(self):
        self.parts = []

    cdef bytes written(self):
        return b"".join(self.parts)

    cdef int tagged(self, int tag, bytes rest) except -1:
        self.parts.append(bytes((tag,)) + rest)
        return 0

    cdef int add(self, object value, int depth) except -1:
        if depth > DEEPEST_OF_A_MAP:
            raise RecursionError("a key of parts in parts, too deep (or a part of itself)")
        if depth > DEEPEST:
            self.exact = False  # _decode goes no deeper
        if isinstance(value, str) and equals_as(value, str):
            self.exact = self.exact and PyUnicode_CheckExact(value)
            return self.add_text(value)
        if isinstance(value, int) and equals_as(value, int):  # bool, IntEnum
            return self.add_whole(_plain_int(value), PyLong_CheckExact(value))
        if isinstance(value, float) and equals_as(value, float):
            self.exact = self.exact and PyFloat_CheckExact(value)
            return self.add_real(PyFloat_AS_DOUBLE(value))
        if isinstance(value, bytes) and equals_as(value, bytes):
            self.exact = self.exact and PyBytes_CheckExact(value)
            text = bytes.__getitem__(value, slice(None))
            return self.tagged(TAG_BYTES, _count_bytes(len(text)) + text)
        if value is None:
            return self.tagged(TAG_NONE, b"")
        if isinstance(value, tuple) and equals_as(value, tuple):
            self.exact = self.exact and PyTuple_CheckExact(value)
            return self.add_all(TAG_TUPLE, tuple.__getitem__(value, slice(None)), depth)
        self.exact = False
        return self.add_other(value, depth)

    cdef int add_text(self, value) except -1:
        try:
            text = str.encode(value, "utf-8")
        except UnicodeEncodeError:  # a lone surrogate, which _decode does not take
            self.exact = False
            text = str.encode(value, "utf-8", "surrogatepass")
        return self.tagged(TAG_STR, _count_bytes(len(text)) + text)

    cdef int add_whole(self, number, bint exact) except -1:
        cdef int overflow = 0
        cdef long long small = PyLong_AsLongLongAndOverflow(number, &overflow)
        self.exact = self.exact and exact and overflow == 0
        if overflow == 0:
            return self.tagged(TAG_INT, PyBytes_FromStringAndSize(<char*>&small, 8))
        text = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
        return self.tagged(KEY_WIDE, _count_bytes(len(text)) + text)

    cdef int add_real(self, double number) except -1:
        if number - number == 0 and number == floor(number):
            return self.add_whole(int(number), False)
        if number != number:
            self.exact = False
            number = PyFloat_AS_DOUBLE(_nan)
        return self.tagged(TAG_FLOAT, PyBytes_FromStringAndSize(<char*>&number, 8))

    cdef int add_ratio(self, value) except -1:
        """A number that says which one it is."""
        try:
            above, below = value.as_integer_ratio()
        except (ValueError, OverflowError):  # of no size, or none at all
            return self.add_real(float(value))
        if below == 1:
            return self.add_whole(int(above), False)
        try:
            real = above / below
        except OverflowError:
            real = 0.0
        if real.as_integer_ratio() == (above, below):
            return self.add_real(real)
        self.tagged(KEY_RATIO, b"")
        self.add_whole(int(above), False)
        return self.add_whole(int(below), False)

    cdef int add_all(self, int tag, values, int depth) except -1:
        self.tagged(tag, _count_bytes(len(values)))
        for value in values:
            self.add(value, depth + 1)
        return 0

    cdef bytes apart(self, values, int depth):
        """The bytes of these alone."""
        former, self.parts = self.parts, []
        try:
            for value in values:
                self.add(value, depth + 1)
            return self.written()
        finally:
            self.parts = former

    cdef int add_in_any_order(self, int tag, groups, int depth) except -1:
        texts = sorted([self.apart(group, depth) for group in groups])
        return self.tagged(tag, _count_bytes(len(texts)) + b"".join(texts))

    cdef int add_other(self, value, int depth) except -1:
        kind = type(value)
        if isinstance(value, frozenset) and equals_as(value, frozenset):
            return self.add_in_any_order(KEY_FROZENSET, [(item,) for item in value], depth)
        if kind is list:
            return self.add_all(KEY_LIST, list(value), depth)
        if kind is set:
            return self.add_in_any_order(KEY_SET, [(item,) for item in value], depth)
        if kind is dict:
            return self.add_in_any_order(KEY_DICT, list(value.items()), depth)
        if isinstance(value, complex) and equals_as(value, complex):
            return self.add_complex(value)
        if isinstance(value, _ratio_types()) and (
            equals_as(value, _ratio_types()[0]) or equals_as(value, _ratio_types()[1])
        ):
            return self.add_ratio(value)
        numpy = _modules.get("numpy")
        if numpy is not None and isinstance(value, numpy.generic):
            item = value.item()
            if type(item) is not kind:
                return self.add(item, depth)
        if isinstance(value, _named_types):
            if "<" in value.__qualname__:
                raise TypeError(f"{value!r} cannot be a key: it cannot be found by its name")
            return self.add_name(value.__module__, value.__qualname__)
        return self.add_reduced(value, depth)

    cdef int add_complex(self, value) except -1:
        cdef double parts[2]
        real, imaginary = complex.real.__get__(value), complex.imag.__get__(value)
        if imaginary == 0:
            return self.add_real(PyFloat_AS_DOUBLE(real))
        parts[0] = PyFloat_AS_DOUBLE(real if real == real else _nan) + 0.0
        parts[1] = PyFloat_AS_DOUBLE(imaginary if imaginary == imaginary else _nan) + 0.0
        return self.tagged(KEY_COMPLEX, PyBytes_FromStringAndSize(<char*>parts, 16))

    cdef int add_name(self, module, name) except -1:
        self.tagged(KEY_NAME, b"")
        self.add_text(str(module))
        return self.add_text(str(name))

    cdef int add_reduced(self, value, int depth) except -1:
        cdef _Gathering gathering = _Gathering.__new__(_Gathering)
        gathering.names = True
        reducer = import_lazily("copyreg").dispatch_table.get(type(value))
        thread = threading.get_ident()
        former = _gatherings.get(thread)
        _gatherings[thread] = gathering  # a handle is who it is of
        try:
            reduced = value.__reduce_ex__(4) if reducer is None else reducer(value)
        finally:
            if former is None:
                del _gatherings[thread]
            else:
                _gatherings[thread] = former
        if isinstance(reduced, str):
            return self.add_name(getattr(value, "__module__", None) or type(value).__module__, reduced)
        parts = [list(part) if hasattr(type(part), "__next__") else part for part in reduced[:5]]
        while parts and parts[-1] is None:
            parts.pop()
        return self.add_all(KEY_OBJECT, parts, depth)


cdef object _nan = float("nan")
cdef object _plain_int = int.__int__  # a subclass's own is not asked


cdef tuple _ratio_types():
    """Fraction and Decimal; those that are not imported have no objects."""
    fractions, decimal = _modules.get("fractions"), _modules.get("decimal")
    return (
        _NoType if fractions is None else fractions.Fraction,
        _NoType if decimal is None else decimal.Decimal,
    )


class _NoType:
    """Has no objects."""


cdef uint32_t _encode_form(
    const Handle& handle, object key, const KeyBytes& written, MapPart* form, char* room, list holds
) except? 0xffffffff:
    """What a new key has beside its bytes."""
    if written.exact:
        form.bytes = NULL
        form.size = form.large = 0
        return 0
    return _encode_part(handle, key, form, room, holds)


cdef object _rebuild_key(const Handle& handle, const MapRecord& record):
    """The key that was put first."""
    cdef Reader reader
    if record.sizes.form == 0:
        reader = Reader(record.content, record.content + record.sizes.key)
        return _decode(&reader)
    return _rebuild_part(
        handle, record.content + record.sizes.form_at(), record.sizes.form, record.head.form_slot, "a key", None
    )
