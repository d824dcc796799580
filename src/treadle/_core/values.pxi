# values.pxi: ctypes objects with a lock, as the standard library's sharedctypes has them, and atomic integers.
#
# What an object of ctypes does is done by that object. Plain numbers are read and written here, which is what ctypes would
# do with them, in a tenth of the time; a value of another type than the usual one is left to ctypes, and its errors are too.

cdef enum:
    NOT_A_NUMBER = 0
    REAL = 16  # a float or double: its size + REAL
    UNSIGNED = 32  # an integer: its size, and + UNSIGNED
    SIZE = 15


cdef class SynchronizedBase:
    """SynchronizedBase(obj, lock, numbers=0)\n--\n
    A ctypes object and its lock.

    numbers: of which plain numbers it consists, natively; 0: of none.
    """

    cdef object obj
    cdef object lock
    cdef RLock quick  # the lock, if it is treadle's own RLock
    cdef SharedBytes memory  # None: obj does not lie in the arena
    cdef object view  # where it lies elsewhere: keeps that
    cdef char* data
    cdef Py_ssize_t count  # of the numbers
    cdef int numbers
    cdef unsigned int width
    cdef object __weakref__

    def __cinit__(self, obj, lock, int numbers=0):
        cdef unsigned char[::1] view
        if not hasattr(lock, "acquire"):
            raise AttributeError(f"{lock!r} has no method 'acquire'")
        self.obj = obj
        self.lock = lock
        self.quick = <RLock>lock if type(lock) is RLock else None
        self.memory = getattr(obj, "_treadle_memory", None)
        self.numbers = numbers
        self.width = numbers & SIZE
        if numbers == 0:
            return
        if self.width not in (1, 2, 4, 8) or (numbers & REAL and self.width < 4):
            raise ValueError(f"there are no plain numbers {numbers}")
        view = memoryview(obj).cast("B")
        self.view = view
        self.count = view.shape[0] // <Py_ssize_t>self.width
        if self.count:
            self.data = <char*>&view[0]
        elif isinstance(self, Synchronized):
            raise ValueError(f"{obj!r} is smaller than its number")
        if <uintptr_t>self.data % self.width:  # laid there by from_buffer(): ctypes can, an instruction need not
            self.numbers = NOT_A_NUMBER

    cdef int _enter(self) except -1:
        if self.quick is None:
            self.lock.acquire()
        elif not rlock_try(self.quick.body, _token(self.quick.handle)):
            self.quick._acquire(True, FOREVER)
        return 0

    cdef int _leave(self) except -1:
        if self.quick is None:
            self.lock.release()
            return 0
        if rlock_release(self.quick.body, self.quick.handle, _token(self.quick.handle)) != DONE:
            raise RuntimeError("cannot release un-acquired lock")
        _tell()
        return 0

    cdef object _read(self, Py_ssize_t index):
        cdef char* at = self.data + index * <Py_ssize_t>self.width
        if self.numbers & REAL:
            if self.width == sizeof(double):
                return PyFloat_FromDouble((<double*>at)[0])
            return PyFloat_FromDouble((<float*>at)[0])
        return _integer(self, integer_load(at, self.width))

    cdef bint _write(self, Py_ssize_t index, value) except -1:
        """False: ctypes is to say what comes of it."""
        cdef char* at = self.data + index * <Py_ssize_t>self.width
        if self.numbers & REAL:
            if not PyFloat_CheckExact(value):
                return False
            if self.width == sizeof(double):
                (<double*>at)[0] = PyFloat_AS_DOUBLE(value)
            else:
                (<float*>at)[0] = <float>PyFloat_AS_DOUBLE(value)
            return True
        if not PyLong_CheckExact(value):
            return False
        integer_write(at, self.width, PyLong_AsUnsignedLongLongMask(value))
        return True

    # Atomic operations, by the address of an integer.

    cdef char* _atom_at(self, index) except NULL:
        cdef Py_ssize_t i = self._place(index if PyLong_CheckExact(index) else _whole(index))
        if i < 0 and self.numbers != NOT_A_NUMBER:
            raise IndexError("invalid index")
        return _atom(self) + i * <Py_ssize_t>self.width

    cdef Py_ssize_t _place(self, index) except? -1:
        """Of an item; less than 0: there is none."""
        cdef int overflow = 0
        cdef Py_ssize_t i = PyLong_AsLongLongAndOverflow(index, &overflow)
        if overflow or i >= self.count:
            return -1
        return i if i >= 0 else i + self.count

    cdef bint _swap(self, char* at, expected, new) except -1:
        cdef uint64_t bits = _bits(expected), made = _bits(new)
        if _integer(self, bits & (<uint64_t>-1 >> (64 - 8 * self.width))) != expected:
            return False  # no integer of this size is that
        return integer_compare_exchange(at, self.width, bits, made)

    def acquire(self, blocking=True, timeout=-1):
        """Takes the lock, as its own ``acquire``; returns whether it was had.

        >>> import treadle
        >>> treadle.Value("i").acquire()
        True
        """
        if timeout is not _DEFAULT_TIMEOUT:
            return self.lock.acquire(blocking, timeout)
        return self.lock.acquire() if blocking is True else self.lock.acquire(blocking)

    def release(self):
        """Frees the lock, as its own ``release``.

        >>> import treadle
        >>> value = treadle.Value("i")
        >>> _ = value.acquire()
        >>> value.release()
        """
        return self.lock.release()

    def __enter__(self):
        return self.lock.__enter__()

    def __exit__(self, kind, error, trace):
        return self.lock.__exit__(kind, error, trace)

    def get_obj(self):
        """Returns the ctypes object itself, whose use takes no lock.

        >>> import treadle
        >>> treadle.Value("i", 3).get_obj().value
        3
        """
        return self.obj

    def get_lock(self):
        """Returns the lock.

        >>> import treadle
        >>> hits = treadle.Value("i", 3)
        >>> with hits.get_lock():
        ...     hits.value += 1
        """
        return self.lock

    @property
    def label(self):
        """What reports call it.

        >>> import treadle
        >>> treadle.Value("i", label="hits").label
        'hits'
        """
        return "" if self.memory is None else self.memory.label

    @property
    def name(self):
        """By what name other programs find it, or None.

        >>> import treadle
        >>> treadle.Value("i", name="hits of the page").name
        'hits of the page'
        """
        return None if self.memory is None else self.memory.name

    def __repr__(self):
        return f"<{type(self).__name__} wrapper for {self.obj!r}>"

    def __reduce__(self):
        if self.memory is None:
            raise TypeError(
                f"cannot pickle {self!r}: its memory is this process's own; make it with treadle.Value or treadle.Array"
            )
        return import_lazily("treadle._values").synchronized, (self.obj, self.lock)


cdef class Synchronized(SynchronizedBase):
    """A simple ctypes value with a lock: what ``Value`` returns. Reading or setting ``value`` takes the lock.

    If it is an integer of 1, 2, 4 or 8 bytes, it has atomic operations as well. They take no lock, so that they also go
    through while somebody holds it, and whoever is killed amid one has done it or not. Numbers are taken modulo 2**bits, and
    wrap around, as those of ctypes do.

    >>> import treadle
    >>> value = treadle.Value("i", 7)
    >>> with value:
    ...     value.value += 1
    >>> value.fetch_add(1)
    8
    >>> value.value
    9
    """

    @property
    def value(self):
        """The value, read and set with the lock held.

        >>> import treadle
        >>> treadle.Value("d", 0.5).value
        0.5
        """
        self._enter()
        try:
            return self._read(0) if self.numbers else self.obj.value
        finally:
            self._leave()

    @value.setter
    def value(self, value):
        self._enter()
        try:
            if not self.numbers or not self._write(0, value):
                self.obj.value = value
        finally:
            self._leave()

    def load(self):
        """Returns the integer, without the lock. Raises TypeError if it is none.

        >>> import treadle
        >>> treadle.Value("i", 7).load()
        7
        """
        return _integer(self, integer_load(_atom(self), self.width))

    def store(self, value):
        """Sets the integer, without the lock. Raises TypeError if it is none.

        >>> import treadle
        >>> value = treadle.Value("B")
        >>> value.store(258)
        >>> value.load()
        2
        """
        integer_store(_atom(self), self.width, _bits(value))

    def exchange(self, value):
        """Sets the integer, without the lock; returns what it was. Raises TypeError if it is none.

        >>> import treadle
        >>> treadle.Value("i", 7).exchange(8)
        7
        """
        return _integer(self, integer_exchange(_atom(self), self.width, _bits(value)))

    def fetch_add(self, n):
        """Adds n to the integer, without the lock; returns what it was. Raises TypeError if it is none.

        >>> import treadle
        >>> value = treadle.Value("b", 127)
        >>> value.fetch_add(1)
        127
        >>> value.load()
        -128
        """
        return _integer(self, integer_fetch_add(_atom(self), self.width, _bits(n)))

    def compare_exchange(self, expected, new):
        """Sets the integer to `new` if it is `expected`, without the lock; returns whether. Raises TypeError if it is none.

        >>> import treadle
        >>> value = treadle.Value("i", 7)
        >>> value.compare_exchange(7, 8), value.compare_exchange(7, 9), value.load()
        (True, False, 8)
        """
        return self._swap(_atom(self), expected, new)


cdef class SynchronizedArray(SynchronizedBase):
    """A ctypes array with a lock: what ``Array`` returns. Reading or setting items takes the lock.

    Arrays of integers have atomic operations on their items, as ``Synchronized`` has: without the lock, modulo 2**bits.

    >>> import treadle
    >>> array = treadle.Array("i", range(5))
    >>> array[1:3] = [10, 20]
    >>> array[:], len(array)
    ([0, 10, 20, 3, 4], 5)
    >>> array.fetch_add(0, 5)
    0
    """

    def __len__(self):
        return len(self.obj)

    def __getitem__(self, index):
        cdef Py_ssize_t i
        self._enter()
        try:
            if self.numbers and PyLong_CheckExact(index):
                i = self._place(index)
                if i >= 0:
                    return self._read(i)
            return self.obj[index]
        finally:
            self._leave()

    def __setitem__(self, index, value):
        cdef Py_ssize_t i
        self._enter()
        try:
            if self.numbers and PyLong_CheckExact(index):
                i = self._place(index)
                if i >= 0 and self._write(i, value):
                    return
            self.obj[index] = value
        finally:
            self._leave()

    def load(self, index):
        """Returns the integer at an index, without the lock. Raises TypeError if it is none, and IndexError.

        >>> import treadle
        >>> treadle.Array("i", [5, 6]).load(1)
        6
        """
        return _integer(self, integer_load(self._atom_at(index), self.width))

    def store(self, index, value):
        """Sets the integer at an index, without the lock. Raises TypeError if it is none, and IndexError.

        >>> import treadle
        >>> array = treadle.Array("i", 2)
        >>> array.store(-1, 7)
        >>> array[:]
        [0, 7]
        """
        integer_store(self._atom_at(index), self.width, _bits(value))

    def exchange(self, index, value):
        """Sets the integer at an index, without the lock; returns what it was. Raises TypeError if it is none, and IndexError.

        >>> import treadle
        >>> treadle.Array("i", [5, 6]).exchange(1, 7)
        6
        """
        return _integer(self, integer_exchange(self._atom_at(index), self.width, _bits(value)))

    def fetch_add(self, index, n):
        """Adds n to the integer at an index, without the lock; returns what it was. Raises TypeError if it is none, and IndexError.

        >>> import treadle
        >>> counts = treadle.Array("Q", 256)
        >>> for byte in b"hello":
        ...     _ = counts.fetch_add(byte, 1)
        >>> counts.load(ord("l"))
        2
        """
        return _integer(self, integer_fetch_add(self._atom_at(index), self.width, _bits(n)))

    def compare_exchange(self, index, expected, new):
        """Sets the integer at an index to `new` if it is `expected`, without the lock; returns whether.

        Raises TypeError if it is none, and IndexError.

        >>> import treadle
        >>> owners = treadle.Array("i", 3)
        >>> owners.compare_exchange(2, 0, 812), owners.compare_exchange(2, 0, 813)
        (True, False)
        """
        return self._swap(self._atom_at(index), expected, new)


cdef class SynchronizedString(SynchronizedArray):
    """An array of characters with a lock: what ``Array("c", …)`` returns.

    >>> import treadle
    >>> text = treadle.Array("c", 10)
    >>> text.value = b"hello"
    >>> text.value, text.raw
    (b'hello', b'hello\\x00\\x00\\x00\\x00\\x00')
    """

    @property
    def value(self):
        """The bytes up to the first zero.

        >>> import treadle
        >>> treadle.Array("c", b"one\\0two").value
        b'one'
        """
        self._enter()
        try:
            return self.obj.value
        finally:
            self._leave()

    @value.setter
    def value(self, value):
        self._enter()
        try:
            self.obj.value = value
        finally:
            self._leave()

    @property
    def raw(self):
        """All of the bytes.

        >>> import treadle
        >>> treadle.Array("c", 3).raw
        b'\\x00\\x00\\x00'
        """
        self._enter()
        try:
            return self.obj.raw
        finally:
            self._leave()

    @raw.setter
    def raw(self, value):
        self._enter()
        try:
            self.obj.raw = value
        finally:
            self._leave()


cdef inline uint64_t _bits(number) except? 0xdead:
    """The lowest 64 bits of an integer, in two's complement."""
    return PyLong_AsUnsignedLongLongMask(number if PyLong_CheckExact(number) else _whole(number))


cdef inline object _integer(SynchronizedBase of, uint64_t bits):
    cdef unsigned int beyond = 64 - 8 * of.width
    if of.numbers & UNSIGNED:
        return PyLong_FromUnsignedLongLong(bits)
    return PyLong_FromLongLong(<int64_t>(bits << beyond) >> beyond)


cdef inline char* _atom(SynchronizedBase of) except NULL:
    if of.numbers == NOT_A_NUMBER or of.numbers & REAL:
        return _no_atom(of)
    return of.data


cdef char* _no_atom(SynchronizedBase of) except NULL:
    raise TypeError(
        f"{type(of.obj).__name__} is no integer of a fixed size: atomic operations are for those, "
        "for others take the lock"
    )
