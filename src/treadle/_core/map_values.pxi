# map_values.pxi: values as parts of entries and items: bytes beside the key or in a block, or a message.
#
# A message is what is larger than LARGEST_PART, and what has handles of objects in it, which it then holds: they live as long
# as it does.

cdef uint32_t _encode_part(const Handle& handle, object value, MapPart* part, char* room, list holds) except? 0xffffffff:
    """Makes a part of a value, its bytes written to `room` (LARGEST_PART); returns how many. A message it needs goes to `holds`."""
    cdef Writer writer = Writer(room, 0, LARGEST_PART)
    cdef const char* text
    cdef Py_ssize_t length
    part.bytes = room
    part.size = part.large = 0
    if PyUnicode_CheckExact(value) or PyBytes_CheckExact(value):
        try:
            if PyBytes_CheckExact(value):
                text = PyBytes_AS_STRING(value)
                length = PyBytes_GET_SIZE(value)
            else:
                text = PyUnicode_AsUTF8AndSize(value, &length)
        except UnicodeEncodeError:  # a lone surrogate
            return _encode_pickled(handle, value, part, room, holds)
        return _encode_long(handle, part, TAG_LONG_BYTES if PyBytes_CheckExact(value) else TAG_LONG_STR, text, length, room, holds)
    if _encode(value, &writer, 0) != NATIVE:
        return _encode_pickled(handle, value, part, room, holds)
    part.size = writer.size
    return writer.size


cdef uint32_t _encode_long(
    const Handle& handle, MapPart* part, char tag, const char* text, Py_ssize_t length, char* room, list holds
) except? 0xffffffff:
    cdef _Hold hold
    cdef char* target = room
    if length + 1 > LARGEST_PART:
        hold = _new_message(handle.mapping, <uint64_t>length + 1)
        holds.append(hold)
        target = message_data(hold.hold)
        part[0] = large_part(handle.mapping, hold.hold, <uint64_t>length + 1)
    else:
        part.size = <uint64_t>length + 1
    target[0] = tag
    if length >= RELEASING_COPY:
        with nogil:
            memcpy(target + 1, text, length)
    else:
        memcpy(target + 1, text, length)
    return 0 if part.large != 0 else <uint32_t>part.size


cdef uint32_t _encode_pickled(const Handle& handle, object value, MapPart* part, char* room, list holds) except? 0xffffffff:
    cdef _Hold hold
    cdef _Pickled pickled
    cdef _Gathering gathering = _Gathering.__new__(_Gathering)
    cdef uint64_t* objects
    cdef uint32_t i, count
    gathering.keeper = <Handle*>&handle
    gathering.objects = []
    gathering.references = []
    thread = threading.get_ident()
    former = _gatherings.get(thread)
    _gatherings[thread] = gathering
    try:
        pickled = _pickle(value)
    finally:
        if former is None:
            del _gatherings[thread]
        else:
            _gatherings[thread] = former
    if pickled.size <= LARGEST_PART and not gathering.references:
        pickled._write_to(room)
        part.size = pickled.size
        return <uint32_t>pickled.size
    hold = _new_message(handle.mapping, pickled.size)
    pickled._write_to(message_data(hold.hold))
    count = <uint32_t>len(gathering.references)
    if count != 0:
        objects = <uint64_t*>malloc(count * sizeof(uint64_t))
        if objects == NULL:
            raise MemoryError
        try:
            for i in range(count):
                objects[i] = gathering.references[i]
            if not hold_objects(handle.mapping, _token_in(handle.mapping), hold.hold, objects, count):
                raise _arena_full("what a value has handles of", handle.mapping)
        finally:
            free(objects)
    holds.append(hold)
    part[0] = large_part(handle.mapping, hold.hold, pickled.size)
    return 0


cdef object _rebuild_part(const Handle& handle, const char* data, uint32_t bytes, uint32_t slot, str what, of):
    """The value of a part of an entry that was copied; the reference to a large one, `slot`, becomes the value's.

    what, of: what it is, for messages.
    """
    cdef MessageHold hold
    cdef LargeName name
    cdef _MessageMemory memory
    try:
        if slot == NO_SLOT:
            return _rebuild(data, bytes, None, True)
        name = large_name(data)
        message_of_large(handle, name, slot, &hold)
        memory = _message_memory(handle.mapping, hold, name.bytes)
        return _rebuild(message_data(hold), name.bytes, memory, True)
    except (MemoryError, RecursionError):
        raise
    except Exception as error:
        where = "" if of is None else f" of key {of!r}"
        raise ItemError(
            f"{what}{where} in dict {_text(map_label(handle))!r} cannot be rebuilt here ({type(error).__name__}: {error}); "
            "it stays in the dict"
        ) from error
