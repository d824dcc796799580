"""Attributes that processes share: a Dict's keys, written with a dot."""

from __future__ import annotations

from typing import Any

from treadle._core import Dict

__all__ = ["Namespace"]


class Namespace:
    """Attributes that threads, processes and tasks share: a ``Dict``'s keys, written with a dot.

    As with ``types.SimpleNamespace``, all names are the user's but for those that begin with an
    underscore, which raise AttributeError when they are set. Values are copies, as a Dict's: what
    is done to one does not reach the namespace.

    of: the Dict whose keys these are, by default a new one. What a namespace has no names for is
    had from it: a name for other programs, a lock, ``add``. attributes: are set.

    >>> import treadle
    >>> state = treadle.Namespace(done=0)
    >>> state.phase = "reading"
    >>> state, state.phase, hasattr(state, "error")
    (Namespace(done=0, phase='reading'), 'reading', False)
    >>> shared = treadle.Dict(done=0)
    >>> shared.add("done"), treadle.Namespace(shared).done
    (1, 1)
    """

    __slots__ = ("__weakref__", "_dict")

    _dict: Dict[str, Any]

    def __init__(self, of: Dict[str, Any] | None = None, /, **attributes: Any) -> None:
        if of is None:
            of = Dict()
        elif not isinstance(of, Dict):
            raise TypeError(f"a namespace shows the keys of a Dict, not of {type(of).__name__}")
        object.__setattr__(self, "_dict", of)
        for name, value in attributes.items():
            setattr(self, name, value)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_"):
            value = self._dict.get(name, _ABSENT)
            if value is not _ABSENT:
                return value
        raise AttributeError(f"this namespace has no {name!r}", name=name, obj=self)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            raise AttributeError(f"{name!r} cannot be set: it begins with an underscore")
        self._dict[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            if name.startswith("_"):
                raise KeyError(name)
            del self._dict[name]
        except KeyError:
            message = f"this namespace has no {name!r}"
            raise AttributeError(message, name=name, obj=self) from None

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *(key for key in self._dict if isinstance(key, str))})

    def __repr__(self) -> str:
        items = self._dict.copy().items()
        return f"Namespace({', '.join(f'{name}={value!r}' for name, value in items)})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Namespace):
            return NotImplemented
        return self._dict == other._dict

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._dict,)


_ABSENT: Any = object()
