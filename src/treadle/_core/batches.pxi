# batches.pxi: Batch, the record of the pool engine (src/treadle/_pool/engine.py) of which there is one for each task that is
# outstanding: native for its size, and since making one is on the way of every task.

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
        self.count = len(items)
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
