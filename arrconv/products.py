"""Matrix products: the one function that kernels and layers call for them, so that another can take its place."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arrconv._namespace import Array


class Product(Protocol):
    """What may take the place of a library's `matmul`, which it is given."""

    def __call__(self, product: Any, first: Array, second: Array, /, **out: Array) -> Array:
        """The product, in `out` where that is given."""


_PLACE: ContextVar[Product | None] = ContextVar("arrconv_product", default=None)


def matmul(lib: Any, first: Array, second: Array, /, **out: Array) -> Array:
    """`lib.matmul`, or what has taken its place here."""
    instead = _PLACE.get()
    if instead is None:
        return lib.matmul(first, second, **out)
    return instead(lib.matmul, first, second, **out)


@contextmanager
def products_by(instead: Product) -> Iterator[None]:
    """Within the block, and in this thread, a function takes the place of all libraries' `matmul`."""
    token = _PLACE.set(instead)
    try:
        yield
    finally:
        _PLACE.reset(token)
