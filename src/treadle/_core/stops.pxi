# stops.pxi: a call that another thread can stop, by an exception that is raised in its midst.

cdef extern from "Python.h":
    int PyThreadState_SetAsyncExc(unsigned long thread, PyObject* error)


@cython.final
cdef class Stoppable:
    """Stoppable()\n--\n
    Calls a function so that another thread can stop it there, and nowhere else: an exception that comes too late is dropped
    before anything of Python runs again, and none can reach another thread that was given the same number meanwhile.

    The exception is raised where the function next runs Python code: a call that waits in the system is not ended by it.
    """

    cdef unsigned long thread
    cdef bint running, ended
    cdef object stopped_by  # before the call began

    def call(self, function, args, kwargs):
        """``function(*args, **kwargs)``; once."""
        if self.stopped_by is not None:
            self.ended = True
            raise self.stopped_by
        self.thread = PyThread_get_thread_ident()
        self.running = True
        try:
            return function(*args, **kwargs)
        finally:
            self.running = False
            self.ended = True
            PyThreadState_SetAsyncExc(self.thread, NULL)

    def stop(self, error):
        """Have the exception, a class, raised in the call, or in its place; returns False if the call is over."""
        if self.running:
            PyThreadState_SetAsyncExc(self.thread, <PyObject*>error)
        elif not self.ended:
            self.stopped_by = error
        return not self.ended
