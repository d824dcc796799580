# list_items.pxi: values as items of a shared list, and back.
#
# In a cell: whole numbers, floats, and a tag with what follows it, if that is short. In a block: what codec.pxi writes, str and
# bytes as the long ones there. In a message: what is larger, and what has handles of objects in it, which it then holds.

cdef enum:
    MOST_IN_CELL = 6  # characters, beside the tag


cdef inline Cell _cell_of(object value) except? 0:
    """The cell of a value that needs no block; 0: it needs one, or another look."""
    cdef long long number
    cdef int overflow = 0
    cdef char text[8]
    cdef Py_ssize_t length
    if PyLong_CheckExact(value):
        number = PyLong_AsLongLongAndOverflow(value, &overflow)
        return 0 if overflow != 0 else cell_of_integer(number)
    if PyFloat_CheckExact(value):
        return cell_of_real(PyFloat_AS_DOUBLE(value))
    if PyUnicode_CheckExact(value):
        if not PyUnicode_IS_COMPACT_ASCII(value):
            return 0
        length = PyUnicode_GET_LENGTH(value)
        if length > MOST_IN_CELL:
            return 0
        text[0] = TAG_STR
        memcpy(text + 1, PyUnicode_DATA(value), length)
        return cell_of_bytes(text, <uint32_t>(length + 1))
    if PyBytes_CheckExact(value):
        length = PyBytes_GET_SIZE(value)
        if length > MOST_IN_CELL:
            return 0
        text[0] = TAG_BYTES
        memcpy(text + 1, PyBytes_AS_STRING(value), length)
        return cell_of_bytes(text, <uint32_t>(length + 1))
    if value is None or value is True or value is False:
        text[0] = TAG_NONE if value is None else TAG_TRUE if value is True else TAG_FALSE
        return cell_of_bytes(text, 1)
    return 0


cdef object _value_in_cell(Cell cell):
    cdef char text[8]
    cdef uint32_t size
    if cell & 1:
        return PyLong_FromLongLong(integer_in(cell))
    if cell & 2:
        return PyFloat_FromDouble(real_in(cell))
    size = bytes_in(cell, text)
    if text[0] == TAG_STR:
        return PyUnicode_DecodeUTF8(text + 1, size - 1, NULL)
    if text[0] == TAG_BYTES:
        return PyBytes_FromStringAndSize(text + 1, size - 1)
    return True if text[0] == TAG_TRUE else False if text[0] == TAG_FALSE else None


cdef uint32_t _encode_item(const Handle& handle, object value, ListItem* item, char* room, list holds) except? 0xffffffff:
    """Makes an item of a value, its bytes written to `room` (LARGEST_PART); returns how many. A message it needs goes to `holds`."""
    item.plain = _cell_of(value)
    item.part.bytes = room
    item.part.size = item.part.large = 0
    if item.plain != 0:
        return 0
    return _encode_part(handle, value, &item.part, room, holds)


@cython.final
@cython.no_gc_clear
cdef class _Items:
    """Values as items, encoded all before the first of them is put."""

    cdef ListItem* items
    cdef uint64_t count, room
    cdef char* data
    cdef uint64_t data_size, data_room
    cdef list holds

    def __dealloc__(self):
        free(self.items)
        free(self.data)

    cdef int add(self, const Handle& handle, object value) except -1:
        cdef uint64_t room
        cdef void* larger
        if self.count == self.room:
            room = max(2 * self.room, <uint64_t>16)
            larger = realloc(self.items, room * sizeof(ListItem))
            if larger == NULL:
                raise MemoryError
            self.items = <ListItem*>larger
            self.room = room
        if self.data_size + LARGEST_PART > self.data_room:
            room = max(2 * self.data_room, <uint64_t>2 * LARGEST_PART)
            larger = realloc(self.data, room)
            if larger == NULL:
                raise MemoryError
            self.data = <char*>larger
            self.data_room = room
        self.data_size += _encode_item(handle, value, &self.items[self.count], self.data + self.data_size, self.holds)
        self.count += 1
        return 0

    cdef _place(self):
        """Says where the bytes lie, once they lie there for good."""
        cdef uint64_t i, at = 0
        for i in range(self.count):
            if self.items[i].plain == 0 and self.items[i].part.large == 0:
                self.items[i].part.bytes = self.data + at
                at += self.items[i].part.size


cdef _Items _items_of(const Handle& handle, object values):
    """values: a list or tuple of this process's, which nothing changes meanwhile."""
    cdef _Items items = _Items.__new__(_Items)
    items.holds = []
    for value in values:
        items.add(handle, value)
    items._place()
    return items


cdef object _rebuild_item(const Handle& handle, Cell cell, uint64_t ref, const char* data, uint32_t bytes, uint32_t slot, index):
    """The value of what was found or copied: a message with this process's reference to it, which becomes the value's."""
    cdef MessageHold hold
    cdef uint64_t size
    cdef _MessageMemory memory
    if is_plain(cell):
        return _value_in_cell(cell)
    try:
        if slot == NO_SLOT:
            return _rebuild(data, bytes, None, True)
        message_of_item(handle, ref, slot, &hold, &size)
        memory = _message_memory(handle.mapping, hold, size)
        return _rebuild(message_data(hold), size, memory, True)
    except (MemoryError, RecursionError):
        raise
    except Exception as error:
        raise ItemError(
            f"item {index} of list {_text(list_label(handle))!r} cannot be rebuilt here ({type(error).__name__}: {error}); "
            "it stays in the list"
        ) from error


@cython.final
@cython.no_gc_clear
cdef class _Copies:
    """Items that were copied from a list at one instant, and become values one after another."""

    cdef Handle handle  # the list's, which `keep` keeps
    cdef object keep
    cdef ListBasket basket
    cdef const char* at
    cdef uint64_t done
    cdef int64_t step  # of the slice

    def __dealloc__(self):
        if self.basket.data != NULL:
            drop_copies(self.handle, self.basket, self.at, self.basket.items - self.done)

    cdef object next(self):
        cdef ListCopy copy
        self.at = read_copy(self.at, &copy)
        self.done += 1
        return _rebuild_item(
            self.handle, copy.cell, copy.head.value, copy.bytes, copy.head.bytes, copy.head.slot,
            <int64_t>self.basket.first + (<int64_t>self.done - 1) * self.step,
        )

    cdef list rest(self):
        cdef list values = []
        while self.done != self.basket.items:
            values.append(self.next())
        return values
