"""What every linear operator and its adjoint must fulfil, measured: for arrconv's operators and for anybody's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from arrconv._namespace import device_of, dtype_name, namespace_of
from arrconv.functional.random import uniform
from arrconv.spec import as_int

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from arrconv._namespace import Array
    from arrconv.linop.operator import Operator

LIMIT = 4.0
"""Units of the dtype's rounding that a gap may have: correct operators stay below 1, faulty ones exceed it by far."""


@dataclass(frozen=True, slots=True)
class DotTest:
    """What a dot test found; true where the operators are adjoint to each other.

    Attributes:
        gaps: |⟨A u, v⟩ − ⟨u, B v⟩| / (‖A u‖·‖v‖) for each pair of vectors, in units of the dtype's rounding.
        limit: what they must not exceed.
    """

    gaps: tuple[float, ...]
    limit: float = LIMIT

    @property
    def largest(self) -> float:
        """The largest gap; NaN where one is."""
        return math.nan if any(map(math.isnan, self.gaps)) else max(self.gaps, default=0.0)

    def __bool__(self) -> bool:
        return self.largest <= self.limit


def adjoint_gap(forward: Callable[[Array], Array], adjoint: Callable[[Array], Array], u: Array, v: Array, /) -> float:
    """|⟨A u, v⟩ − ⟨u, B v⟩| / (‖A u‖·‖v‖), which is 0 for all u and v where B is the adjoint of A.

    It is the angle by which both sides differ, and does not grow where ⟨A u, v⟩ happens to be small. The products are
    added up in float64.

    Args:
        forward, adjoint: A and B, from arrays to arrays.
        u, v: what A takes and gives.

    Returns:
        The gap; 0 where A u or v is 0 and both sides are.

    >>> import numpy as np
    >>> w = np.asarray([1.0, 1j])
    >>> u, v = np.asarray([1.0 + 2j, 3.0]), np.asarray([1j, 1.0])
    >>> adjoint_gap(lambda x: w * x, lambda y: np.conj(w) * y, u, v)
    0.0
    >>> round(adjoint_gap(lambda x: w * x, lambda y: w * y, u, v), 3)  # a transpose is no adjoint
    1.134
    """
    image, back = forward(u), adjoint(v)
    left, right = _inner(image, v), _inner(u, back)
    scale = math.sqrt(abs(_inner(image, image))) * math.sqrt(abs(_inner(v, v)))
    return float(abs(left - right) / scale if scale else abs(left - right))


def linearity_gap(forward: Callable[[Array], Array], u: Array, v: Array, /, factor: complex = 0.75) -> float:
    """‖A(u + c·v) − A u − c·A v‖ / (‖A u‖ + |c|·‖A v‖), which is 0 up to rounding where A is linear.

    Args:
        forward: A, from arrays to arrays.
        u, v: two arrays that it takes.
        factor: c; complex only for complex arrays.

    Returns:
        The gap.

    >>> import numpy as np
    >>> u, v = np.asarray([1.0, 2.0]), np.asarray([3.0, -1.0])
    >>> linearity_gap(lambda x: 2 * x, u, v)
    0.0
    >>> linearity_gap(lambda x: 2 * x + 1, u, v) > 0.05
    True
    """
    a, b = forward(u), forward(v)
    difference = forward(u + factor * v) - a - factor * b
    scale = math.sqrt(abs(_inner(a, a))) + abs(factor) * math.sqrt(abs(_inner(b, b)))
    size = math.sqrt(abs(_inner(difference, difference)))
    return size / scale if scale else size


def dot_test(operator: Operator, /, *, rounds: int = 3, seed: int = 0) -> DotTest:
    """Whether an operator's adjoint is its adjoint, on random arrays.

    Args:
        operator: an operator of arrconv; for others there is `adjoint_gap`.
        rounds: how many pairs of arrays are tried.
        seed: what decides them.

    Returns:
        A `DotTest`, true where no gap exceeds 4 units of rounding. Correct operators stay below 1, also in float32 and
        for a million elements; a kernel that is flipped without its shift, or not conjugated, is far above. Small
        operators are the sharper test.

    >>> import numpy as np
    >>> from arrconv.linop import Conv
    >>> bool(dot_test(Conv(np.ones((4, 3, 2, 2), np.float32), (5, 6), stride=2)))
    True
    """
    found = []
    unit = float(operator.xp.finfo(operator.dtype).eps)
    for number in range(as_int(rounds, "rounds", 1)):
        u, v = (
            random_like(operator.example, shape, seed, number, side)
            for side, shape in enumerate((operator.shape_in, operator.shape_out))
        )
        found.append(adjoint_gap(operator.apply, operator.H.apply, u, v) / unit)
    return DotTest(tuple(found))


def random_like(like: Array, shape: Sequence[int], *key: int) -> Array:
    """Numbers between −1 and 1, in both parts where they are complex, which the integers of the key decide."""
    xp, device = namespace_of(like), device_of(like)
    real = xp.float64 if dtype_name(like.dtype) in ("float64", "complex128") else xp.float32
    first, second = (2 * uniform(xp, tuple(shape), *key, part, dtype=real, device=device) - 1 for part in (0, 1))
    if not xp.isdtype(like.dtype, "complex floating"):
        return xp.astype(first, like.dtype)
    return xp.astype(first, like.dtype) + 1j * xp.astype(second, like.dtype)


def two_norm(array: Array) -> float:
    """The square root of the sum of squared magnitudes."""
    return float(namespace_of(array).linalg.vector_norm(array))


def _inner(a: Array, b: Array) -> Any:
    """Σ conj(a)·b, in double precision."""
    xp = namespace_of(a)
    is_complex = xp.isdtype(a.dtype, "complex floating")
    a, b = (xp.reshape(xp.astype(array, xp.complex128 if is_complex else xp.float64), (-1,)) for array in (a, b))
    total = xp.sum(xp.conj(a) * b) if is_complex else xp.sum(a * b)
    return complex(total) if is_complex else float(total)
