# list_iterators.pxi: going over a List, by index, as list's iterators do: what is appended meanwhile is seen.

@cython.final
@cython.internal
cdef class _ListIterator:
    """Goes by the index, as a list's: what is appended meanwhile is met, too."""

    cdef List of  # None: at the end
    cdef int64_t index, step

    def __iter__(self):
        return self

    def __next__(self):
        cdef ListFound found
        if self.of is None:
            raise StopIteration
        item = _PENDING if self.index < 0 else self.of._get(self.index, &found)
        if item is _PENDING:
            self.of = None
            raise StopIteration
        self.index += self.step
        return item

    def __length_hint__(self):
        if self.of is None:
            return 0
        return max(self.index + 1 if self.step < 0 else len(self.of) - self.index, 0)

    def __reduce__(self):
        if self.of is None:
            return iter, ((),)
        return _list_iterator, (self.of, self.index, self.step)


def _list_iterator(List of not None, int64_t index, int64_t step):
    cdef _ListIterator iterator = _ListIterator.__new__(_ListIterator)
    iterator.of = of
    iterator.index = index
    iterator.step = step
    return iterator
