# batches.pxi: Batch, the record of the pool engine (src/treadle/_pool/engine.py) of which there is one for each task that is
# outstanding: native for its size, and since making one is on the way of every task.

cdef enum:
    NUMBER_BYTES = 8


@cython.final
@cython.freelist(256)
cdef class Batch:
    """Batch(job, function, how, items, first, policy, attempts=0)\n--\n
    Some items of a job, as a worker takes them at once.

    function, how, items: as they are sent; items is None while the crew has them. first: the index of the first item in the
    job. attempts: that were made before.
    """

    cdef readonly object job
    cdef public object function
    cdef public int how
    cdef public object items
    cdef readonly Py_ssize_t first
    cdef readonly Py_ssize_t count
    cdef readonly object policy
    cdef readonly int attempts
    cdef public uint64_t serial  # 0: not entered
    cdef public Py_ssize_t told  # how many of its items the job has heard of
    cdef public bint cancelled
    cdef public object stopped  # why its worker was stopped amid it: an Outcome
    cdef public object death  # at which item its worker died, and of what
    cdef public object given_back  # function and items, back from a lease

    def __init__(self, job, function, int how, items, Py_ssize_t first, policy, int attempts=0):
        self.job = job
        self.function = function
        self.how = how
        self.items = items
        self.first = first
        self.count = len(items) // NUMBER_BYTES if type(items) is bytes else len(items)  # packed_numbers
        self.policy = policy
        self.attempts = attempts


def plain(values, Py_ssize_t longest=-1):
    """plain(values, longest=-1)\n--\n
    Whether all of a list or tuple are numbers, bools, str, bytes or None, of no subclass: what queues write natively, and
    what nothing can go wrong with. longest: of str and bytes; -1 is no limit.
    """
    cdef Py_ssize_t length
    for value in values if type(values) is tuple or type(values) is list else tuple(values):
        if PyLong_CheckExact(value) or PyFloat_CheckExact(value) or value is None or value is True or value is False:
            continue
        if PyUnicode_CheckExact(value):
            length = PyUnicode_GET_LENGTH(value)
        elif PyBytes_CheckExact(value):
            length = PyBytes_GET_SIZE(value)
        else:
            return False
        if longest != -1 and length > longest:
            return False
    return True


def put_tasks(PriorityQueue tasks not None, list items not None):
    """put_tasks(tasks, items)\n--\n
    Puts as many items into a shared queue, from the first on, as there is memory for; returns how many. Raises as put does,
    ArenaFullError if there is no memory for one.
    """
    tasks._made()
    return (<_OrderedStore?>tasks.store).put_some(items)


def packed_numbers(values):
    """packed_numbers(values)\n--\n
    The values of a list or tuple as bytes, if all are floats, or all ints of 64 bits; else None. A third of pickle's price.
    """
    cdef Py_ssize_t count = len(values), at
    cdef object data
    cdef int64_t* ints
    cdef double* floats
    cdef int overflow = 0
    if count == 0 or type(values) is not tuple and type(values) is not list:
        return None
    data = PyBytes_FromStringAndSize(NULL, NUMBER_BYTES * count + 1)
    if PyFloat_CheckExact(values[0]):
        floats = <double*>PyBytes_AS_STRING(data)
        for at in range(count):
            if not PyFloat_CheckExact(values[at]):
                return None
            floats[at] = PyFloat_AS_DOUBLE(values[at])
        PyBytes_AS_STRING(data)[NUMBER_BYTES * count] = b"d"
        return data
    ints = <int64_t*>PyBytes_AS_STRING(data)
    for at in range(count):
        if not PyLong_CheckExact(values[at]):
            return None
        ints[at] = PyLong_AsLongLongAndOverflow(values[at], &overflow)
        if overflow != 0:
            return None
    PyBytes_AS_STRING(data)[NUMBER_BYTES * count] = b"q"
    return data


def unpacked_numbers(bytes data not None):
    """unpacked_numbers(data)\n--\n
    The values, as a tuple, of what packed_numbers has made.
    """
    cdef Py_ssize_t count = PyBytes_GET_SIZE(data) // NUMBER_BYTES, at
    cdef const char* start = PyBytes_AS_STRING(data)
    cdef bint floats = start[NUMBER_BYTES * count] == b"d"
    cdef tuple values = PyTuple_New(count)
    cdef int64_t integer
    cdef double number
    cdef object value
    for at in range(count):
        if floats:
            memcpy(&number, start + NUMBER_BYTES * at, NUMBER_BYTES)
            value = number
        else:
            memcpy(&integer, start + NUMBER_BYTES * at, NUMBER_BYTES)
            value = integer
        Py_INCREF(value)
        PyTuple_SET_ITEM(values, at, value)
    return values
