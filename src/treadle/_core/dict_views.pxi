# dict_views.pxi: views of a Dict: each look takes a copy of one instant.

from _collections_abc import ItemsView, KeysView, ValuesView


class _View:
    """What is common to the views of a Dict."""

    _what = KEYS

    def __iter__(self):
        return self._mapping._snapshot(self._what)

    def __reversed__(self):
        return reversed(list(self))

    def __repr__(self):
        return f"{type(self).__name__}({list(self)!r})"

    @property
    def mapping(self):
        """The dict that is looked at."""
        return self._mapping


class _SetView(_View):
    """One that is a set: operations are those of a dict's view, on a dict of one instant."""

    def __and__(self, other):
        return self._now() & _now(other)

    def __or__(self, other):
        return self._now() | _now(other)

    def __sub__(self, other):
        return self._now() - _now(other)

    def __xor__(self, other):
        return self._now() ^ _now(other)

    def __rsub__(self, other):
        return other - self._now()

    __rand__ = __and__
    __ror__ = __or__
    __rxor__ = __xor__

    def isdisjoint(self, other):
        """Whether nothing is in both."""
        return self._now().isdisjoint(_now(other))

    def __le__(self, other):
        return self._now() <= _now(other)

    def __lt__(self, other):
        return self._now() < _now(other)

    def __ge__(self, other):
        return self._now() >= _now(other)

    def __gt__(self, other):
        return self._now() > _now(other)

    def __eq__(self, other):
        return self._now() == _now(other)

    __hash__ = None


def _now(other):
    return other._now() if isinstance(other, _SetView) else other


class DictKeys(_SetView, KeysView):
    """The keys of a Dict."""

    def _now(self):
        return dict.fromkeys(self).keys()


class DictItems(_SetView, ItemsView):
    """The keys of a Dict with their values."""

    _what = ITEMS

    def _now(self):
        return self._mapping.copy().items()

    def __contains__(self, item):
        if not isinstance(item, tuple) or len(item) != 2:
            return False
        found = self._mapping.get(item[0], _ABSENT)
        return found is not _ABSENT and bool(found == item[1])


class DictValues(_View, ValuesView):
    """The values of a Dict."""

    _what = VALUES

    def __contains__(self, value):
        return value in list(self)
