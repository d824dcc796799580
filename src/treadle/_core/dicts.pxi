# dicts.pxi: Dict, a dict that processes share.
#
# What takes many items takes them from a copy made at one instant. What calls the user's code and then changes the dict puts the
# value if the entry is still the one that it saw.

cdef object _ABSENT = object()  # no argument


@cython.collection_type("mapping")
cdef class Dict:
    """Dict(mapping_or_items=(), /, *, name=None, persist=False, label=None, **items)\n--\n
    A dict that threads, processes and tasks share.

    It does what a ``dict`` does, by value: keys and values are written when they are put, and new objects each time they are
    read; what is done to such an object does not reach the dict. Each operation on a key happens at one instant, entirely or
    not at all, whoever is killed; ``update`` is one such operation after another. Readers wait for nobody. For several
    operations in one: ``lock()``. Iteration, views, ``copy`` and ``==`` look at a copy of one instant: what is changed
    meanwhile they do not meet.

    Keys are equal as in Python (``1 == 1.0 == True``), but for objects of classes with an ``__eq__`` of their own and none
    of Python's: they are one key if they have one class and state. nan is one key. Numbers, str, bytes, bool, None and tuples
    of them are written natively, everything else is pickled, by the caller, to whom the errors of it belong. A value may be
    another shared object; it lives as long as it is in the dict.

    mapping_or_items, items: what a new one begins with; of one that is found by its name they are not looked at. name,
    persist: as those of Lock. label: what reports call it; by default the name, or the module and line that made it.

    Raises ArenaFullError where there is no memory, and ItemError where a value cannot be rebuilt; the dict stays as it was.

    >>> import treadle
    >>> ages = treadle.Dict(ann=30)
    >>> ages["bob"] = 25
    >>> ages, "bob" in ages, ages | {"ann": 31}
    (Dict({'ann': 30, 'bob': 25}), True, {'ann': 31, 'bob': 25})
    """

    cdef Handle handle
    cdef Retired* retired
    cdef object __weakref__

    def __dealloc__(self):
        drop_object(self.handle)
        drop_retired(self.retired)

    def __init__(self, mapping_or_items=(), /, *, name=None, persist=False, label=None, **items):
        cdef _Naming named = _named(name, persist, True)
        cdef bytes text = _label_of(label, name)
        cdef Mapping* mapping = _arena_of(named)
        cdef Handle made
        if named is None or not named.found("Dict()", made):
            self._make(mapping, text, mapping_or_items, items, made)
            if named is not None:
                named.publish(made)
        retire(self.handle, self.retired)  # __init__ may be called again
        self.handle = made

    cdef int _make(self, Mapping* mapping, bytes text, mapping_or_items, dict items, Handle& made) except -1:
        cdef Dict new = Dict.__new__(Dict)  # whatever a subclass makes of update()
        cdef Handle handle
        if not make_map(mapping, _token_in(mapping), text, handle):
            raise _arena_full("a dict", mapping)
        new.handle = handle
        new._put_all(mapping_or_items, items)
        if not share_handle(new.handle, _token_in(mapping), handle):
            raise _arena_full("a dict", mapping)
        made = handle
        return 0

    cdef inline Token _me(self) except 0:
        """What this thread goes by; a task whose own lock is in the way, what the task goes by."""
        cdef Token token
        if self.handle.mapping == NULL:
            raise RuntimeError("Dict.__init__() was not called")
        token = _token(self.handle)
        return token if not map_locked_against(self.handle, token) else self._me_behind_lock(token)

    cdef Token _me_behind_lock(self, Token token) except 0:
        return _token_behind_lock(self.handle, token, "dict", map_label(self.handle))

    cdef inline int _settle(self, int result) except -1:
        """Raises what has kept an operation from ending."""
        return result if result == DONE or result == EMPTY else self._not_done(result)

    cdef int _not_done(self, int result) except -1:
        if result == INTERRUPTED:
            _interrupted()
        if result == NO_MEMORY:
            raise _arena_full("an entry of a dict", self.handle.mapping)
        return result

    cdef int _check_made(self) except -1:
        if self.handle.mapping == NULL:
            raise RuntimeError("Dict.__init__() was not called")
        return 0

    # ---- One key

    cdef object _get(self, object key, MapFound* found):
        """The value, or PENDING if there is none."""
        cdef char out[LARGEST_PART]
        cdef KeyBytes written
        keep = _key_bytes(key, &written)
        if self._settle(map_find(self.handle, self._me(), written.data, written.size, out, found)) == EMPTY:
            return _PENDING
        return self._value(key, out, found)

    cdef object _value(self, key, char* out, MapFound* found):
        if found.slot == NO_SLOT:
            if out[0] != TAG_PICKLE:
                return _rebuild(out, found.bytes, None, True)
        else:
            memcpy(out, &found.large, sizeof(LargeName))
        return _rebuild_part(self.handle, out, found.bytes, found.slot, "the value", key)

    cdef int _put(self, object key, object value, const MapCondition& condition) except -1:
        """DONE or GONE."""
        cdef char room[LARGEST_PART]
        cdef char form_room[LARGEST_PART]
        cdef KeyBytes written
        cdef MapPart form, part
        cdef list holds
        self._me()
        keep = _key_bytes(key, &written)
        if written.exact and _encode_plain(value, &part, room):
            return self._settle(
                map_put(self.handle, self._me(), written.data, written.size, form, part, condition)
            )
        holds = []
        _encode_form(self.handle, key, written, &form, form_room, holds)
        _encode_part(self.handle, value, &part, room, holds)
        return self._settle(map_put(self.handle, self._me(), written.data, written.size, form, part, condition))

    def __getitem__(self, key):
        cdef MapFound found
        value = self._get(key, &found)
        if value is _PENDING:
            missing = getattr(type(self), "__missing__", None)
            if missing is None:
                raise KeyError(key)
            return missing(self, key)
        return value

    def __setitem__(self, key, value):
        cdef MapCondition always
        self._put(key, value, always)

    def __delitem__(self, key):
        cdef KeyBytes written
        keep = _key_bytes(key, &written)
        if self._settle(map_remove(self.handle, self._me(), written.data, written.size)) == EMPTY:
            raise KeyError(key)

    def __contains__(self, key):
        cdef MapFound found
        cdef KeyBytes written
        keep = _key_bytes(key, &written)
        return DONE == self._settle(map_find(self.handle, self._me(), written.data, written.size, NULL, &found))

    def __len__(self):
        cdef uint64_t count = 0
        self._settle(map_count(self.handle, self._me(), &count))
        return <Py_ssize_t>count

    def __bool__(self):
        return len(self) != 0

    def get(self, key, default=None, /):
        """Returns the key's value, or the default if there is none.

        >>> import treadle
        >>> treadle.Dict(a=1).get("b", 0)
        0
        """
        cdef MapFound found
        value = self._get(key, &found)
        return default if value is _PENDING else value

    def setdefault(self, key, default=None, /):
        """Returns the key's value; if there is none, puts the default and returns that.

        >>> import treadle
        >>> flags = treadle.Dict()
        >>> flags.setdefault("verbose", False), flags.setdefault("verbose", True)
        (False, False)
        """
        cdef MapFound found
        cdef MapCondition absent
        absent.kind = PUT_ABSENT
        while True:
            value = self._get(key, &found)
            if value is not _PENDING:
                return value
            if self._put(key, default, absent) == DONE:
                return default

    def pop(self, key, default=_ABSENT, /):
        """Takes a key out and returns its value; if there is none, the default. Raises KeyError where none is given.

        >>> import treadle
        >>> treadle.Dict(a=1).pop("a")
        1
        """
        cdef char out[LARGEST_PART]
        cdef MapFound found
        cdef KeyBytes written
        cdef int result
        keep = _key_bytes(key, &written)
        while True:
            result = self._settle(map_pop(self.handle, self._me(), written.data, written.size, TAG_PICKLE, out, &found))
            if result == DONE:
                found.slot = NO_SLOT
                return self._value(key, out, &found)
            if result != EMPTY:  # What may not be rebuilt is so before it goes.
                value = self._get(key, &found)
                if value is not _PENDING and DONE == self._settle(map_remove_entry(self.handle, self._me(), found.entry)):
                    return value
            elif default is _ABSENT:
                raise KeyError(key)
            else:
                return default

    def popitem(self):
        """Takes out the key that was put last, and returns it and its value. Raises KeyError if the dict is empty.

        Where others put keys meanwhile: the last of one instant, if it is still there at another.

        >>> import treadle
        >>> treadle.Dict(a=1, b=2).popitem()
        ('b', 2)
        """
        cdef _Records records
        cdef uint64_t entry
        while True:
            records = self._copied(True, True, ITEMS)
            if records.basket.records == 0:
                raise KeyError("popitem(): dictionary is empty")
            item = records.next(&entry)
            if DONE == self._settle(map_remove_entry(self.handle, self._me(), entry)):
                return item

    def clear(self):
        """Takes all keys out, at one instant.

        >>> import treadle
        >>> ages = treadle.Dict(ann=30)
        >>> ages.clear()
        >>> len(ages)
        0
        """
        self._settle(map_clear(self.handle, self._me()))

    cdef int _put_all(self, mapping_or_items, dict items) except -1:
        cdef MapCondition always
        if isinstance(mapping_or_items, dict):
            pairs = list(mapping_or_items.items())
        elif isinstance(mapping_or_items, Dict):
            pairs = (<Dict>mapping_or_items)._copied(False, True, ITEMS)
        elif hasattr(mapping_or_items, "keys"):
            pairs = ((key, mapping_or_items[key]) for key in mapping_or_items.keys())
        else:
            pairs = _pairs(mapping_or_items)
        for key, value in pairs:
            self._put(key, value, always)
        for key, value in items.items():
            self._put(key, value, always)
        return 0

    def update(self, mapping_or_items=(), /, **items):
        """Puts the items of a mapping, of an iterable of pairs, and those given by keyword, one after another.

        >>> import treadle
        >>> ages = treadle.Dict()
        >>> ages.update([("ann", 30)], bob=25)
        >>> ages
        Dict({'ann': 30, 'bob': 25})
        """
        self._check_made()
        self._put_all(mapping_or_items, items)

    @classmethod
    def fromkeys(cls, iterable, value=None, /):
        """Returns a new one with these keys, all of one value.

        >>> import treadle
        >>> treadle.Dict.fromkeys("ab", 0)
        Dict({'a': 0, 'b': 0})
        """
        new = cls()
        for key in iterable:
            new[key] = value
        return new

    # ---- Read, decide, write: at one instant

    cdef bint _swaps(self, key, value, bint was_there, const MapFound& found) except -1:
        cdef MapCondition condition
        condition.kind = PUT_SAME if was_there else PUT_ABSENT
        condition.entry = found.entry
        return self._put(key, value, condition) == DONE

    def update_with(self, key, f, default=None):
        """Puts ``f(value)`` in the place of the key's value, and returns it. If others change that meanwhile, f is called again.

        default: what f is called with if there is no such key.

        >>> import treadle
        >>> words = treadle.Dict()
        >>> words.update_with("a", lambda seen: seen + ["here"], [])
        ['here']
        """
        self._me()
        for _ in range(TRIES):
            new = self._updates(key, f, default)
            if new is not _PENDING:
                return new
        with self.lock():
            while (new := self._updates(key, f, default)) is _PENDING:
                pass
        return new

    cdef object _updates(self, key, f, default):
        cdef MapFound found
        value = self._get(key, &found)
        new = f(default if value is _PENDING else value)
        return new if self._swaps(key, new, value is not _PENDING, found) else _PENDING

    def add(self, key, n=1, /):
        """Adds n to the key's number, 0 if there is none; returns the sum. Raises what ``value + n`` raises.

        >>> import treadle
        >>> counts = treadle.Dict()
        >>> counts.add("seen"), counts.add("seen", 5)
        (1, 6)
        """
        cdef char out[LARGEST_PART]
        cdef char form_room[LARGEST_PART]
        cdef KeyBytes written
        cdef MapFound found
        cdef MapPart form
        cdef MapNumber number
        cdef int overflow = 0
        if PyLong_CheckExact(n) or PyFloat_CheckExact(n):
            if PyFloat_CheckExact(n):
                number.tag = TAG_FLOAT
                number.real = PyFloat_AS_DOUBLE(n)
            else:
                number.tag = TAG_INT
                number.integer = PyLong_AsLongLongAndOverflow(n, &overflow)
            if overflow == 0:
                self._me()
                keep = _key_bytes(key, &written)
                holds = []
                _encode_form(self.handle, key, written, &form, form_room, holds)
                if DONE == self._settle(map_add(
                    self.handle, self._me(), written.data, written.size, form, number, TAG_INT, TAG_FLOAT, out, &found
                )):
                    return _rebuild(out, found.bytes, None, True)
        return self.update_with(key, lambda value: value + n, 0)

    def compare_and_set(self, key, expected, new, /):
        """Puts ``new`` if the key's value is equal to ``expected``; returns whether. A key that is not there has none.

        >>> import treadle
        >>> states = treadle.Dict(job="free")
        >>> states.compare_and_set("job", "free", "taken"), states.compare_and_set("job", "free", "taken")
        (True, False)
        """
        self._me()
        for _ in range(TRIES):
            done = self._compares_and_sets(key, expected, new)
            if done is not _PENDING:
                return done
        with self.lock():
            while (done := self._compares_and_sets(key, expected, new)) is _PENDING:
                pass
        return done

    cdef object _compares_and_sets(self, key, expected, new):
        cdef MapFound found
        value = self._get(key, &found)
        if value is _PENDING or not PyObject_RichCompareBool(value, expected, Py_EQ):
            return False
        return True if self._swaps(key, new, True, found) else _PENDING

    def lock(self):
        """Returns the dict's lock, an ``RLock``: whoever holds it does several operations in one, and the others wait.

        If its holder dies, what it has done stands, the others go on, and the next to take the lock gets an OwnerDiedWarning.
        A task takes it by ``async with ages.lock().aio``.

        >>> import treadle
        >>> stock = treadle.Dict(here=1, there=0)
        >>> with stock.lock():
        ...     stock["there"] = stock.pop("here")
        >>> stock
        Dict({'there': 1})
        """
        self._check_made()
        return _container_lock(self.handle, False)

    # ---- Looking at all of it

    cdef _Records _copied(self, bint newest, bint values, int what):
        cdef _Records records = _Records.__new__(_Records)
        cdef int result
        records.keep = self
        records.what = what
        records.basket.values = values
        self._me()
        records.handle = self.handle
        result = map_copy(self.handle, self._me(), newest, &records.basket)
        records.at = records.basket.data
        if self._settle(result) == NO_ROOM:
            raise MemoryError
        return records

    def copy(self):
        """Returns a dict of this process with what is in this one, at one instant.

        >>> import treadle
        >>> treadle.Dict(a=1).copy()
        {'a': 1}
        """
        return dict(self._copied(False, True, ITEMS))

    def __iter__(self):
        return self._copied(False, False, KEYS)

    def __reversed__(self):
        return reversed(list(self._copied(False, False, KEYS)))

    def _snapshot(self, int what):
        """An iterator over what there is at this instant: for the views."""
        return self._copied(False, what != KEYS, what)

    def keys(self):
        """Returns a view of the keys: a set.

        >>> import treadle
        >>> treadle.Dict(a=1, b=2).keys() & {"a"}
        {'a'}
        """
        self._check_made()
        return DictKeys(self)

    def values(self):
        """Returns a view of the values.

        >>> import treadle
        >>> list(treadle.Dict(a=1, b=2).values())
        [1, 2]
        """
        self._check_made()
        return DictValues(self)

    def items(self):
        """Returns a view of the keys with their values: a set, if the values are hashable.

        >>> import treadle
        >>> for key, value in treadle.Dict(a=1).items():
        ...     print(key, value)
        a 1
        """
        self._check_made()
        return DictItems(self)

    def __eq__(self, other):
        if not isinstance(other, (Dict, dict)):
            return NotImplemented
        return self.copy() == ((<Dict>other).copy() if isinstance(other, Dict) else other)

    __hash__ = None

    def __or__(self, other):
        if not isinstance(other, (Dict, dict)):
            return NotImplemented
        return _joined(self, other)

    def __ror__(self, other):
        if not isinstance(other, (Dict, dict)):
            return NotImplemented
        return _joined(other, self)

    def __ior__(self, other):
        self.update(other)
        return self

    def __repr__(self):
        return _repr_of_dict(self)

    # ---- What it is

    @property
    def label(self):
        """What reports call it.

        >>> import treadle
        >>> treadle.Dict(label="ages").label
        'ages'
        """
        self._check_made()
        return _text(map_label(self.handle))

    @property
    def shared(self):
        """Whether the state lies in shared memory: always.

        >>> import treadle
        >>> treadle.Dict().shared
        True
        """
        return True

    @property
    def name(self):
        """By what name other programs find it, or None.

        >>> import treadle
        >>> treadle.Dict(name="ages of today").name
        'ages of today'
        """
        self._check_made()
        return _name_of(self.handle)

    def statistics(self):
        """Returns a ``DictStatistics``.

        >>> import treadle
        >>> treadle.Dict(a=1).statistics().length
        1
        """
        cdef MapFigures figures
        self._check_made()
        figures = map_figures(self.handle)
        return _records().DictStatistics(
            label=self.label,
            length=figures.count,
            buckets=figures.buckets,
            bytes=figures.bytes,
            memory=figures.memory,
            recoveries=figures.mended,
            locked=map_locked_against(self.handle, 0),
            waiting=count_waiting(self.handle),
        )

    __class_getitem__ = classmethod(type(list[int]))  # types.GenericAlias

    def __reduce__(self):
        self._check_made()
        return _reduced(self, _rebuild_dict, (_ticket_of(self.handle, self),))


def _rebuild_dict(of, bytes ticket):
    cdef Dict shared = of.__new__(of)
    _attach(ticket, "dict", KIND_MAP, &shared.handle)
    return shared


cdef inline bint _encode_plain(object value, MapPart* part, char* room) except -1:
    """Writes a small value of the commonest kinds; false: it is none."""
    cdef Writer writer = Writer(room, 0, LARGEST_PART)
    if not (PyLong_CheckExact(value) or PyFloat_CheckExact(value) or PyUnicode_CheckExact(value)):
        return False
    if _encode(value, &writer, 0) != NATIVE:
        return False
    part.bytes = room
    part.size = writer.size
    part.large = 0
    return True


def _pairs(iterable):
    for at, pair in enumerate(iterable):
        try:
            pair = tuple(pair)
        except TypeError:
            raise TypeError(f"cannot convert dictionary update sequence element #{at} to a sequence") from None
        if len(pair) != 2:
            raise ValueError(f"dictionary update sequence element #{at} has length {len(pair)}; 2 is required")
        yield pair


cdef dict _joined(first, second):
    joined = first.copy() if isinstance(first, Dict) else dict(first)
    joined.update(second.copy() if isinstance(second, Dict) else second)
    return joined


cdef str _repr_of_dict(Dict shared):
    shared._check_made()
    key = (threading.get_ident(), <uintptr_t>shared.handle.block)
    if key in _under_repr:  # it is in itself
        return "Dict({...})"
    _under_repr.add(key)
    try:
        return f"Dict({shared.copy()!r})"
    finally:
        _under_repr.discard(key)


from _collections_abc import MutableMapping
MutableMapping.register(Dict)
