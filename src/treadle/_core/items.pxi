# items.pxi: items as frames and messages of a queue: written, rebuilt, and kept where a call cannot return them.

@cython.final
cdef class _Hold:
    """A message that was made and not put yet: given back if it never is."""

    cdef Mapping* mapping
    cdef MessageHold hold

    def __dealloc__(self):
        if self.mapping != NULL:
            drop_slot(self.mapping, self.hold.slot)


cdef _Hold _new_message(Mapping* mapping, uint64_t size):
    cdef _Hold hold = _Hold.__new__(_Hold)
    if not make_message(mapping, _token_in(mapping), size, &hold.hold):
        raise _arena_full(f"an item of {size} bytes", mapping)
    hold.mapping = mapping
    return hold


cdef uint32_t _encode_frame(Mapping* mapping, object item, char* out, list holds) except 0:
    """Writes the item's frame to `out` (LARGEST_FRAME_BYTES); returns its size. A message it needs goes to `holds`."""
    cdef Writer writer = Writer(out + FRAME_HEADER, 0, LARGEST_FRAME)
    cdef int result = _encode(item, &writer, 0)
    cdef _Pickled pickled
    cdef _Hold hold
    cdef const char* data
    cdef Py_ssize_t length
    cdef char* target
    if result == NATIVE:
        write_frame_header(mapping, writer.size, 0, out)
        return FRAME_HEADER + padded(writer.size)
    if result == TOO_LONG and (PyBytes_CheckExact(item) or PyUnicode_CheckExact(item)):
        if PyBytes_CheckExact(item):
            data = PyBytes_AS_STRING(item)
            length = PyBytes_GET_SIZE(item)
        else:
            data = PyUnicode_AsUTF8AndSize(item, &length)
        hold = _new_message(mapping, <uint64_t>length + 1)
        target = message_data(hold.hold)
        target[0] = TAG_LONG_BYTES if PyBytes_CheckExact(item) else TAG_LONG_STR
        with nogil:
            memcpy(target + 1, data, length)
        write_message_frame(mapping, hold.hold, <uint64_t>length + 1, 0, out)
        holds.append(hold)
        return MESSAGE_FRAME_BYTES
    pickled = _pickle(item)
    if pickled.size <= LARGEST_FRAME:
        pickled._write_to(out + FRAME_HEADER)
        write_frame_header(mapping, <uint32_t>pickled.size, 0, out)
        return FRAME_HEADER + padded(<uint32_t>pickled.size)
    hold = _new_message(mapping, pickled.size)
    pickled._write_to(message_data(hold.hold))
    write_message_frame(mapping, hold.hold, pickled.size, 0, out)
    holds.append(hold)
    return MESSAGE_FRAME_BYTES


cdef _MessageMemory _memory_of_frame(Mapping* mapping, const char* frame, uint32_t slot):
    """The message of a frame that was taken, or None. `slot`: this process's reference to it."""
    cdef MessageHold hold
    cdef uint64_t size
    if not frame_is_message(frame):
        return None
    read_message_frame(mapping, frame, slot, &hold, &size)
    return _message_memory(mapping, hold, size)


cdef object _rebuild_frame(_Store queue, const char* frame, _MessageMemory memory, bint copy):
    """The value of a frame that was taken; ItemError if there is none to be had here.

    Neither MemoryError nor what is no Exception says anything about the item, unless it does so again: see _rebuilds.
    """
    try:
        if memory is None:
            return _rebuild(frame + FRAME_HEADER, frame_at(frame).size, None, True)
        return _rebuild(message_data(memory.hold), memory.size, memory, copy)
    except MemoryError:
        raise
    except Exception as error:
        raise _item_error(queue, frame, error) from error


cdef _item_error(_Store queue, const char* frame, error):
    return ItemError(
        f"an item that pid {frame_at(frame).pid} put into queue {queue.label()!r} cannot be rebuilt here "
        f"({type(error).__name__}: {error}); it is gone, the queue goes on"
    )


cdef enum:
    TIMES_AT_ONCE = 5  # that many interrupts in a row are none


cdef bint _rebuilds(const char* frame, _MessageMemory memory) except -1:
    """Can it be rebuilt after all? To be asked of what has failed twice: interrupts come and go, but an item that itself raises
    SystemExit, say, does so every time, and would stand in the way of all that lies behind it."""
    for _ in range(TIMES_AT_ONCE):
        try:
            _message(frame, memory, True)
            return True
        except BaseException:
            pass
    return False


@cython.final
cdef class _Kept:
    """An item that a call took from its queue and could not return: a value, an error, or a frame not rebuilt yet."""

    cdef object value
    cdef object error
    cdef bytes frame
    cdef _MessageMemory memory
    cdef bint failed  # to be rebuilt, by no fault of its own as far as is known


cdef _Kept _kept_value(object value):
    cdef _Kept kept = _Kept.__new__(_Kept)
    kept.value = value
    return kept


cdef _Kept _kept_error(object error):
    cdef _Kept kept = _Kept.__new__(_Kept)
    kept.error = error
    return kept


cdef _Kept _kept_frame(const char* frame, _MessageMemory memory, bint failed=False):
    cdef _Kept kept = _Kept.__new__(_Kept)
    kept.failed = failed
    kept.frame = PyBytes_FromStringAndSize(frame, FRAME_HEADER + padded(frame_at(frame).size))
    kept.memory = memory
    return kept


cdef list _kept_frames(const char* at, uint32_t count, _MessageMemory memory, bint failed=False):
    """failed: the first of them."""
    frames = []
    for _ in range(count):
        frames.append(_kept_frame(at, memory, failed))
        failed = False
        at += FRAME_HEADER + padded(frame_at(at).size)
    return frames


@cython.final
cdef class _Leftovers:
    """What calls of this process took from a queue and could not return, since an exception came between.

    The next calls return it. A child of fork has none: what its parent took is its parent's.
    """

    cdef object items  # a deque of _Kept, or None
    cdef int pid

    cdef add(self, list kept, bint in_front=False):
        if not kept:
            return
        if self.items is None or self.pid != os.getpid():
            self.items = deque()
            self.pid = os.getpid()
        if in_front:
            self.items.extendleft(reversed(kept))
        else:
            self.items.extend(kept)

    cdef clear(self):
        self.items = None

    cdef inline Py_ssize_t count(self) except -1:
        return 0 if self.items is None else self._count()

    cdef Py_ssize_t _count(self) except -1:
        if self.pid != os.getpid():
            self.items = None
            return 0
        return len(self.items)

    cdef _Kept pop(self):
        if self.count() == 0:
            return None
        try:
            return <_Kept>self.items.popleft()
        except (AttributeError, IndexError):  # another thread was faster
            return None

    cdef object value_of(self, _Store queue, _Kept kept, bint copy):
        if kept.error is not None:
            raise kept.error
        if kept.frame is None:
            return kept.value
        try:
            return _rebuild_frame(queue, PyBytes_AS_STRING(kept.frame), kept.memory, copy)
        except ItemError:
            raise
        except BaseException as error:
            if kept.failed and not _rebuilds(PyBytes_AS_STRING(kept.frame), kept.memory):
                raise _item_error(queue, PyBytes_AS_STRING(kept.frame), error) from error
            kept.failed = True
            self.add([kept], True)
            raise

    cdef list next_values(self, _Store queue, uint32_t wanted):
        cdef _Kept kept
        values = []
        while <uint32_t>len(values) < wanted:
            kept = self.pop()
            if kept is None:
                break
            try:
                values.append(self.value_of(queue, kept, True))
            except ItemError as error:
                if not values:
                    raise
                self.add([_kept_error(error)], True)
                break
            except BaseException:
                self.add([_kept_value(value) for value in values], True)
                raise
        return values
