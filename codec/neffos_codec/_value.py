"""Small immutable values, as frozen dataclasses with slots are.

Programs that run for an instant import the codec and the session. ``dataclasses`` takes longer to
import, and to make some thirty classes, than all the rest of both.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final, NoReturn, Self

store: Final = object.__setattr__
"""Sets a field in a constructor; nothing else may."""


class Value:
    """Equal to what has the same type and the same fields: ``__match_args__``."""

    __slots__ = ()
    __match_args__: ClassVar[tuple[str, ...]] = ()

    def replace(self, **changes: Any) -> Self:
        """Give a copy with the named fields changed; raises as the constructor does."""
        return type(self)(**{each: getattr(self, each) for each in self.__match_args__} | changes)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, each) for each in self.__match_args__)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.__reduce__() == other.__reduce__()

    def __hash__(self) -> int:
        return hash(self.__reduce__())

    def __repr__(self) -> str:
        fields = [f"{each}={getattr(self, each)!r}" for each in self.__match_args__]
        return f"{type(self).__qualname__}({', '.join(fields)})"

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"cannot set {name!r}: a {type(self).__name__} does not change")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"cannot delete {name!r}: a {type(self).__name__} does not change")
