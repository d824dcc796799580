# lists.pxi: List, a list that processes share.
#
# What takes the values of many items (index, ==, +, a slice, ...) takes them from a copy made at one instant; what calls the
# user's code and then changes the list (sort, remove, ...) finds out whether somebody else has changed it meanwhile.

cdef enum:
    TRIES = 8  # of a change that depends on what was there, before the lock is taken for it


@cython.collection_type("sequence")
cdef class List:
    """List(iterable=(), /, *, name=None, persist=False, label=None)\n--\n
    A list that threads, processes and tasks share.

    It does what a ``list`` does, by value: an item is written when it is put in, and a new object each time it is read; what
    is done to that object does not reach the list. Each operation happens at one instant, entirely or not at all (``extend``,
    slices and ``sort``, too), whoever is killed; readers wait for nobody. For several operations in one: ``lock()``. Slices,
    copies and sums are lists of this process.

    Numbers, str, bytes, bool, None and tuples of them are written natively, everything else is pickled, by the caller, to
    whom the errors of it belong. An item may be another shared object; it lives as long as it is in the list.

    iterable: what a new one begins with; of one that is found by its name it is not looked at. name, persist: as those of
    Lock. label: what reports call it; by default the name, or the module and line that made it.

    Raises ArenaFullError where there is no memory, and ItemError where an item cannot be rebuilt; the list stays as it was.

    >>> import treadle
    >>> numbers = treadle.List([3, 1])
    >>> numbers.append(2)
    >>> numbers.sort()
    >>> numbers, numbers[1:], numbers == [1, 2, 3]
    (List([1, 2, 3]), [2, 3], True)
    """

    cdef Handle handle
    cdef Retired* retired
    cdef object __weakref__

    def __dealloc__(self):
        drop_object(self.handle)
        drop_retired(self.retired)

    def __init__(self, iterable=(), /, *, name=None, persist=False, label=None):
        cdef _Naming named = _named(name, persist, True)
        cdef bytes text = _label_of(label, name)
        cdef Mapping* mapping = _arena_of(named)
        cdef Handle made
        if named is None or not named.found("List()", made):
            self._make(mapping, text, iterable, made)
            if named is not None:
                named.publish(made)
        retire(self.handle, self.retired)  # __init__ may be called again
        self.handle = made

    cdef int _make(self, Mapping* mapping, bytes text, iterable, Handle& made) except -1:
        cdef uint64_t replaced
        cdef _Items items
        cdef list values = _values_of(iterable)
        cdef Handle handle
        if not make_list(mapping, _token_in(mapping), text, handle):
            raise _arena_full("a list", mapping)
        try:
            if values:
                items = _items_of(handle, values)
                self._settle(list_replace(handle, _token_in(mapping), _all(), items.items, items.count, &replaced), mapping)
        except BaseException:
            drop_object(handle)
            raise
        made = handle
        return 0

    cdef inline Token _me(self) except 0:
        """What this thread goes by; a task whose own lock is in the way, what the task goes by."""
        cdef Token token
        if self.handle.mapping == NULL:
            raise RuntimeError("List.__init__() was not called")
        token = _token(self.handle)
        return token if not map_locked_against(self.handle, token) else self._me_behind_lock(token)

    cdef Token _me_behind_lock(self, Token token) except 0:
        return _token_behind_lock(self.handle, token, "list", list_label(self.handle))

    cdef inline int _settle(self, int result, Mapping* mapping=NULL) except -1:
        """Raises what has kept an operation from ending."""
        return result if result == DONE else self._not_done(result, mapping)

    cdef int _not_done(self, int result, Mapping* mapping) except -1:
        if result == INTERRUPTED:
            _interrupted()
        if result == NO_MEMORY:
            raise _arena_full("an item of a list", self.handle.mapping if mapping == NULL else mapping)
        return result

    # ---- Items

    cdef object _get(self, int64_t index, ListFound* found):
        """The item, or PENDING if there is none."""
        cdef char out[LARGEST_PART]
        if self._settle(list_find(self.handle, self._me(), index, out, found)) == EMPTY:
            return _PENDING
        if found.cell & 1:
            return PyLong_FromLongLong(integer_in(found.cell))
        return _rebuild_item(self.handle, found.cell, found.value, out, found.bytes, found.slot, index)

    def __getitem__(self, key):
        cdef ListFound found
        if not PySlice_Check(key):
            item = self._get(_index(key), &found)
            if item is _PENDING:
                raise IndexError("list index out of range")
            return item
        return self._copies(_slice(key)).rest()

    cdef int _put(self, int64_t index, object value, const ListCondition& condition) except -1:
        """DONE, EMPTY or GONE."""
        cdef char room[LARGEST_PART]
        cdef ListItem item
        cdef list holds = []
        _encode_item(self.handle, value, &item, room, holds)
        return self._settle(list_set(self.handle, self._me(), index, &item, condition))

    def __setitem__(self, key, value):
        cdef ListCondition always
        if PySlice_Check(key):
            self._replace(_slice(key), value, "can only assign an iterable")
        elif self._put(_index(key), value, always) == EMPTY:
            raise IndexError("list assignment index out of range")

    cdef int _replace(self, ListSlice part, iterable, str refusal=None) except -1:
        cdef uint64_t replaced = 0
        cdef list values
        cdef _Items items
        if refusal is not None and not hasattr(type(iterable), "__iter__") and not hasattr(type(iterable), "__getitem__"):
            raise TypeError(refusal)
        values = _values_of(iterable)
        items = _items_of(self.handle, values)
        if NO_ROOM == self._settle(list_replace(self.handle, self._me(), part, items.items, items.count, &replaced)):
            raise ValueError(
                f"attempt to assign sequence of size {items.count} to extended slice of size {replaced}"
            )
        return 0

    def __delitem__(self, key):
        cdef ListCondition always
        if PySlice_Check(key):
            self._settle(list_remove(self.handle, self._me(), _slice(key), always))
        elif self._settle(list_set(self.handle, self._me(), _index(key), NULL, always)) == EMPTY:
            raise IndexError("list assignment index out of range")

    def __len__(self):
        cdef uint64_t count = 0
        self._settle(list_count(self.handle, self._me(), &count))
        return <Py_ssize_t>count

    def __bool__(self):
        return len(self) != 0

    # ---- What a list does

    def append(self, item, /):
        """Adds an item at the end.

        >>> import treadle
        >>> jobs = treadle.List()
        >>> jobs.append("first")
        >>> jobs[-1]
        'first'
        """
        cdef char room[LARGEST_PART]
        cdef ListItem encoded
        cdef list holds
        encoded.plain = 0
        if self.handle.mapping != NULL:
            encoded.plain = _cell_of(item)
        if encoded.plain == 0:
            self._me()
            holds = []
            _encode_item(self.handle, item, &encoded, room, holds)
        self._settle(list_append(self.handle, self._me(), encoded))

    def extend(self, iterable, /):
        """Adds all items of an iterable at the end, at one instant: all of them or, if there is an error, none.

        >>> import treadle
        >>> letters = treadle.List("ab")
        >>> letters.extend("cd")
        >>> len(letters)
        4
        """
        self._me()
        self._replace(ListSlice(INT64_MAX, INT64_MAX, 1), iterable)

    def insert(self, index, item, /):
        """Puts an item in before the one at the index.

        >>> import treadle
        >>> letters = treadle.List("bc")
        >>> letters.insert(0, "a")
        >>> letters
        List(['a', 'b', 'c'])
        """
        cdef int64_t at = PyNumber_AsSsize_t(index, NULL)
        self._me()
        self._replace(ListSlice(at, at, 1), [item])

    def pop(self, index=-1, /):
        """Takes an item out and returns it; the last, if no index is given. Raises IndexError if there is none.

        >>> import treadle
        >>> treadle.List([1, 2]).pop()
        2
        """
        cdef char out[LARGEST_PART]
        cdef ListFound found
        cdef ListCondition same
        cdef int64_t at = _index(index)
        cdef int result
        while True:
            result = list_pop(self.handle, self._me(), at, TAG_PICKLE, out, &found)
            if result != NO_ROOM:
                break
            # What may not be rebuilt is so before it goes.
            item = self._get(at, &found)
            if item is not _PENDING:
                same.kind = LIST_SAME
                same.cell = found.cell
                same.value = found.value
                result = self._settle(list_set(self.handle, self._me(), at, NULL, same))
                if result == DONE:
                    return item
        if self._settle(result) == EMPTY:
            raise IndexError("pop index out of range" if len(self) else "pop from empty list")
        return _rebuild_item(self.handle, found.cell, found.value, out, found.bytes, NO_SLOT, at)

    def remove(self, value, /):
        """Takes out the first item that is equal to the value. Raises ValueError if none is.

        >>> import treadle
        >>> letters = treadle.List("abca")
        >>> letters.remove("a")
        >>> letters
        List(['b', 'c', 'a'])
        """
        for _ in range(TRIES):
            if self._removes(value):
                return
        with self.lock():
            while not self._removes(value):
                pass

    cdef bint _removes(self, value) except -1:
        cdef _Copies copies = self._copies(_all())
        cdef ListCondition unchanged
        cdef int64_t at = _position(copies, value)
        if at < 0:
            raise ValueError("list.remove(x): x not in list")
        unchanged.kind = LIST_UNCHANGED
        unchanged.version = copies.basket.version
        return DONE == self._settle(list_remove(self.handle, self._me(), ListSlice(at, at + 1, 1), unchanged))

    def clear(self):
        """Takes all items out.

        >>> import treadle
        >>> letters = treadle.List("ab")
        >>> letters.clear()
        >>> len(letters)
        0
        """
        cdef ListCondition always
        self._settle(list_remove(self.handle, self._me(), _all(), always))

    def index(self, value, start=0, stop=9223372036854775807, /):
        """Returns the index of the first item that is equal to the value. Raises ValueError if none is.

        >>> import treadle
        >>> treadle.List("abc").index("b")
        1
        """
        cdef int64_t first = PyNumber_AsSsize_t(start, NULL)
        cdef int64_t last = PyNumber_AsSsize_t(stop, NULL)
        cdef _Copies copies = self._copies(_all())
        cdef int64_t length = <int64_t>copies.basket.items
        cdef int64_t at
        first = max(first + length, 0) if first < 0 else first
        last = last + length if last < 0 else last
        at = _position(copies, value, first, last)
        if at < 0:
            raise ValueError(f"{value!r} is not in list")
        return at

    def count(self, value, /):
        """Returns how many items are equal to the value.

        >>> import treadle
        >>> treadle.List("abca").count("a")
        2
        """
        return self.copy().count(value)

    def copy(self):
        """Returns a list of this process with what is in this one, at one instant.

        >>> import treadle
        >>> treadle.List("ab").copy()
        ['a', 'b']
        """
        return self._copies(_all()).rest()

    def reverse(self):
        """Puts the items into the opposite order.

        >>> import treadle
        >>> letters = treadle.List("ab")
        >>> letters.reverse()
        >>> letters
        List(['b', 'a'])
        """
        cdef ListCondition always
        self._settle(list_arrange(self.handle, self._me(), NULL, always))

    def sort(self, *, key=None, reverse=False):
        """Sorts the items, as ``list.sort``; others see them as they were, and then in order.

        The list's lock is held meanwhile. If a comparison or ``key`` raises, the list stays as it was. Raises ValueError if
        one of them changes the list.

        >>> import treadle
        >>> words = treadle.List(["pear", "fig", "apple"])
        >>> words.sort(key=len)
        >>> words
        List(['fig', 'pear', 'apple'])
        """
        with self.lock():
            self._sort(key, reverse)

    cdef int _sort(self, key, reverse) except -1:
        cdef _Copies copies = self._copies(_all())
        cdef ListCondition unchanged
        cdef list values = copies.rest()
        cdef uint64_t* places
        cdef uint64_t i, count = <uint64_t>len(values)
        if key is not None:
            values = [key(value) for value in values]
        order = sorted(range(count), key=values.__getitem__, reverse=reverse)
        places = <uint64_t*>malloc((count + 1) * sizeof(uint64_t))
        if places == NULL:
            raise MemoryError
        try:
            for i in range(count):
                places[i] = order[i]
            unchanged.kind = LIST_UNCHANGED
            unchanged.version = copies.basket.version
            if self._settle(list_arrange(self.handle, self._me(), places, unchanged)) == GONE:
                raise ValueError("list modified during sort")
        finally:
            free(places)
        return 0

    # ---- Read, decide, write: at one instant

    def add(self, index, n, /):
        """Adds n to the number at the index; returns the sum.

        Raises IndexError if there is no such item, and what ``item + n`` raises.

        >>> import treadle
        >>> counts = treadle.List([0, 0])
        >>> counts.add(1, 5)
        5
        """
        cdef int64_t at = _index(index)
        cdef MapNumber number
        cdef int overflow = 0
        cdef Cell cell = 0
        cdef int result
        cdef bint is_real = PyFloat_CheckExact(n)
        if is_real or PyLong_CheckExact(n):
            if is_real:
                number.real = PyFloat_AS_DOUBLE(n)
            else:
                number.integer = PyLong_AsLongLongAndOverflow(n, &overflow)
            if overflow == 0:
                result = self._settle(list_add(self.handle, self._me(), at, number, is_real, &cell))
                if result == EMPTY:
                    raise IndexError("list index out of range")
                if result == DONE:
                    return _value_in_cell(cell)
        for _ in range(TRIES):
            total = self._adds(at, n)
            if total is not _PENDING:
                return total
        with self.lock():
            while (total := self._adds(at, n)) is _PENDING:
                pass
        return total

    cdef object _adds(self, int64_t at, n):
        cdef ListFound found
        item = self._get(at, &found)
        if item is _PENDING:
            raise IndexError("list index out of range")
        total = item + n
        return total if self._swaps(at, found, total) else _PENDING

    cdef bint _swaps(self, int64_t at, const ListFound& found, value) except -1:
        cdef ListCondition same
        same.kind = LIST_SAME
        same.cell = found.cell
        same.value = found.value
        return self._put(at, value, same) == DONE

    def compare_and_set(self, index, expected, new, /):
        """Puts ``new`` at the index if what is there is equal to ``expected``; returns whether.

        Raises IndexError if there is no such item.

        >>> import treadle
        >>> states = treadle.List(["free"])
        >>> states.compare_and_set(0, "free", "taken"), states.compare_and_set(0, "free", "taken")
        (True, False)
        """
        cdef int64_t at = _index(index)
        for _ in range(TRIES):
            done = self._compares_and_sets(at, expected, new)
            if done is not _PENDING:
                return done
        with self.lock():
            while (done := self._compares_and_sets(at, expected, new)) is _PENDING:
                pass
        return done

    cdef object _compares_and_sets(self, int64_t at, expected, new):
        cdef ListFound found
        item = self._get(at, &found)
        if item is _PENDING:
            raise IndexError("list index out of range")
        if not PyObject_RichCompareBool(item, expected, Py_EQ):
            return False
        return True if self._swaps(at, found, new) else _PENDING

    def lock(self):
        """Returns the list's lock, an ``RLock``: whoever holds it does several operations in one, and those of others wait.

        If its holder dies, what it has done stands, the others go on, and the next to take the lock gets an OwnerDiedWarning.
        A task takes it by ``async with numbers.lock().aio``.

        >>> import treadle
        >>> numbers = treadle.List([1, 2])
        >>> with numbers.lock():
        ...     numbers[0], numbers[1] = numbers[1], numbers[0]
        >>> numbers
        List([2, 1])
        """
        self._me_for_lock()
        return _container_lock(self.handle, True)

    cdef int _me_for_lock(self) except -1:
        if self.handle.mapping == NULL:
            raise RuntimeError("List.__init__() was not called")
        return 0

    # ---- Looking at all of it

    cdef _Copies _copies(self, ListSlice part):
        cdef _Copies copies = _Copies.__new__(_Copies)
        copies.handle = self.handle
        copies.keep = self
        copies.step = part.step
        if NO_ROOM == self._settle(list_copy(self.handle, self._me(), part, &copies.basket)):
            raise MemoryError
        copies.at = copies.basket.data
        return copies

    def __contains__(self, value):
        return _position(self._copies(_all()), value) >= 0

    def __iter__(self):
        return _list_iterator(self, 0, 1)

    def __reversed__(self):
        return _list_iterator(self, len(self) - 1, -1)

    def __richcmp__(self, other, int how):
        if not isinstance(other, (List, list)):
            return NotImplemented
        mine, others = self.copy(), (<List>other).copy() if isinstance(other, List) else other
        return PyObject_RichCompare(mine, others, how)

    __hash__ = None

    def __add__(self, other):
        if not isinstance(other, (List, list)):
            return NotImplemented
        return _values_of(self) + _values_of(other)

    def __radd__(self, other):
        if not isinstance(other, (List, list)):
            return NotImplemented
        return _values_of(other) + _values_of(self)

    def __iadd__(self, other):
        self.extend(other)
        return self

    def __mul__(self, times):
        if not hasattr(type(times), "__index__"):
            return NotImplemented
        return self.copy() * times

    def __rmul__(self, times):
        if not hasattr(type(times), "__index__"):
            return NotImplemented
        return self.copy() * times

    def __imul__(self, times):
        cdef int64_t n
        if not hasattr(type(times), "__index__"):
            return NotImplemented
        n = PyNumber_AsSsize_t(times, PyExc_OverflowError)
        if n <= 0:
            self.clear()
        elif n > 1:
            with self.lock():
                self.extend(self.copy() * (n - 1))
        return self

    def __repr__(self):
        return _repr_of_list(self)

    # ---- What it is

    @property
    def label(self):
        """What reports call it.

        >>> import treadle
        >>> treadle.List(label="jobs").label
        'jobs'
        """
        self._me_for_lock()
        return _text(list_label(self.handle))

    @property
    def shared(self):
        """Whether the state lies in shared memory: always.

        >>> import treadle
        >>> treadle.List().shared
        True
        """
        return True

    @property
    def name(self):
        """By what name other programs find it, or None.

        >>> import treadle
        >>> treadle.List(name="jobs of today").name
        'jobs of today'
        """
        self._me_for_lock()
        return _name_of(self.handle)

    def statistics(self):
        """Returns a ``ListStatistics``.

        >>> import treadle
        >>> treadle.List("ab").statistics().length
        2
        """
        cdef ListFigures figures
        self._me_for_lock()
        figures = list_figures(self.handle)
        return _records().ListStatistics(
            label=self.label,
            length=figures.length,
            capacity=figures.capacity,
            bytes=figures.bytes,
            memory=figures.memory,
            recoveries=figures.mended,
            locked=map_locked_against(self.handle, 0),
            waiting=count_waiting(self.handle),
        )

    __class_getitem__ = classmethod(type(list[int]))  # types.GenericAlias

    def __reduce__(self):
        self._me_for_lock()
        return _reduced(self, _rebuild_list, (_ticket_of(self.handle, self),))


def _rebuild_list(of, bytes ticket):
    cdef List shared = of.__new__(of)
    _attach(ticket, "list", KIND_LIST, &shared.handle)
    return shared


# ---- Indexes and values

cdef inline int64_t _index(object key) except? -1:
    cdef int overflow = 0
    cdef long long number
    if PyLong_CheckExact(key):
        number = PyLong_AsLongLongAndOverflow(key, &overflow)
        if overflow == 0:
            return number
        raise IndexError("cannot fit 'int' into an index-sized integer")
    if not hasattr(type(key), "__index__"):
        raise TypeError(f"list indices must be integers or slices, not {type(key).__name__}")
    return PyNumber_AsSsize_t(key, PyExc_IndexError)


cdef ListSlice _slice(object key) except *:
    cdef Py_ssize_t start, stop, step
    PySlice_Unpack(key, &start, &stop, &step)
    return ListSlice(start, stop, step)


cdef inline ListSlice _all() noexcept:
    return ListSlice(0, INT64_MAX, 1)


cdef list _values_of(iterable):
    if isinstance(iterable, List):
        return (<List>iterable).copy()
    if type(iterable) in (list, tuple, range, str, bytes):
        return list(iterable)
    return [item for item in iterable]  # what it says of its length is not believed


cdef int64_t _position(_Copies copies, value, int64_t first=0, int64_t last=INT64_MAX) except -2:
    """The index of the first item that is equal to the value, or -1."""
    cdef int64_t at
    for at in range(<int64_t>copies.basket.items):
        item = copies.next()
        if first <= at < last and PyObject_RichCompareBool(item, value, Py_EQ):
            return at
    return -1


cdef set _under_repr = set()


cdef str _repr_of_list(List shared):
    shared._me_for_lock()
    key = (threading.get_ident(), <uintptr_t>shared.handle.block)
    if key in _under_repr:  # it is in itself
        return "List([...])"
    _under_repr.add(key)
    try:
        return f"List({shared.copy()!r})"
    finally:
        _under_repr.discard(key)


from _collections_abc import MutableSequence
MutableSequence.register(List)
