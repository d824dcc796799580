# pipe_names.pxi: an end of a pipe by name, and what pipes with names leave in the file system.

cdef Connection _end_by_name(bint duplex, name, end, bytes label):
    cdef Connection taken = Connection.__new__(Connection)
    cdef Refused refused
    if end is None:
        raise TypeError("of a pipe with a name each program takes one end: say which, end=0 or end=1")
    if _whole(end) not in (0, 1):
        raise ValueError(f"end must be 0 or 1, not {end}")
    cdef _Naming named = _naming(name, False, True)
    taken.end.side = _whole(end)
    if not named.found(f"Pipe(duplex={duplex})", taken.end.handle):
        remove_bells()  # of those that were killed: else they would be ever more
        if not make_channel(named.mapping, _token_in(named.mapping), duplex, CHANNEL_BYTES, label, taken.end.handle):
            raise _arena_full("a pipe", named.mapping)
        named.publish(taken.end.handle)
    if not take_end(taken.end, refused):
        raise _bell_error(refused, _user_name(named.text))
    taken._open = True
    return taken


cdef _bell_error(const Refused& refused, str name):
    cdef Refusal why = refused.why
    what = f"the doorbell of pipe {name!r}, {names_path()}.bell-...,"
    if why == SYMBOLIC_LINK:
        reason = "is a symbolic link"
    elif why == NOT_REGULAR:
        reason = "is no named pipe"
    elif why == FOREIGN:
        reason = "belongs to another user"
    elif why == EXPOSED:
        reason = "lets other users in by its mode"
    elif why == HARD_LINKED:
        reason = "has a second name"
    else:
        return OSError(refused.error, f"{what} cannot be opened: {os.strerror(refused.error)}")
    return HandleError(f"{what} {reason}; choose another name, and see who writes to that folder")


def remove_bells():
    """Removes the doorbells of named pipes that are no more, as the killed leave them; returns how many."""
    cdef NamedFailure failure
    cdef Mapping* mapping
    cdef bytes bell, path
    where = names_path()
    folder, _, name = where.rpartition("/")
    try:
        found = [each for each in os.listdir(folder) if each.startswith(f"{name}.bell-")]
    except OSError:
        return 0
    if not found:
        return 0
    # After they were found: so whoever made one that is in use had named its channel before.
    mapping = _open_names(False, &failure)
    path = os.fsencode(where)
    removed = 0
    for each in found:
        bell = os.fsencode(f"{folder}/{each}")
        if bell_file_is_useless(mapping, PyBytes_AS_STRING(path), PyBytes_AS_STRING(bell)):
            try:
                if import_lazily("stat").S_ISFIFO(os.lstat(bell).st_mode):
                    os.unlink(bell)
                    removed += 1
            except OSError:  # another was faster, or it is another user's
                pass
    return removed
