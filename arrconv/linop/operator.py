"""Linear operators: what they are, their adjoints and transposes, and their algebra."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, overload

from arrconv._namespace import backend_of, device_of, namespace_of
from arrconv.errors import DTypeError, ShapeError, SpecError
from arrconv.spec import as_int

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arrconv._namespace import Array

_AT_ONCE = 2**24  # numbers of a matrix that are computed together


class Operator:
    """A linear map between arrays of two shapes, of one dtype, on one device; subclasses define it and its adjoint.

    `A @ x` and `A.apply(x)` map an array, or many at once along axes before its own. Operators of fitting shapes are
    combined: `A @ B` (first B), `A + B`, `A - B`, `2 * A`, and `stack`, `block`.

    Args:
        shape_in, shape_out: of what it takes and gives.
        like: an array of the library and dtype that it works with, on its device; real or complex floating-point.

    Attributes:
        shape_in, shape_out: the same.

    Raises:
        DTypeError: the dtype is neither real nor complex floating-point.
        SpecError: a size is no integer from 0 on.
    """

    def __init__(self, shape_in: Sequence[int], shape_out: Sequence[int], like: Array) -> None:
        backend = backend_of(like=like)
        if backend.is_integer or backend.dtype == "bfloat16":
            raise DTypeError(
                f"an operator has real or complex floating-point numbers, no bfloat16, but got dtype {backend.dtype}"
            )
        self.shape_in, self.shape_out = _sizes(shape_in, "shape_in"), _sizes(shape_out, "shape_out")
        self._example = backend.xp.zeros((0,), dtype=like.dtype, device=device_of(like))

    def _map(self, x: Array) -> Array:
        """The map of (N, *shape_in), checked, to (N, *shape_out)."""
        raise NotImplementedError

    def _map_back(self, y: Array) -> Array:
        """The adjoint's map of (N, *shape_out), checked, to (N, *shape_in)."""
        raise NotImplementedError

    @property
    def xp(self) -> Any:
        """The namespace of its array library."""
        return namespace_of(self._example)

    @property
    def dtype(self) -> Any:
        """Of what it takes and gives."""
        return self._example.dtype

    @property
    def device(self) -> Any:
        """Where it takes and gives it."""
        return device_of(self._example)

    @property
    def example(self) -> Array:
        """An array without elements, of its library, dtype and device."""
        return self._example

    @property
    def is_complex(self) -> bool:
        """Whether its numbers are complex."""
        return bool(self.xp.isdtype(self.dtype, "complex floating"))

    @property
    def size_in(self) -> int:
        """How many numbers it takes: the columns of its matrix."""
        return math.prod(self.shape_in)

    @property
    def size_out(self) -> int:
        """How many numbers it gives: the rows of its matrix."""
        return math.prod(self.shape_out)

    def apply(self, x: Array) -> Array:
        """The operator's value.

        Args:
            x: (*batch, *shape_in), of its dtype, with any number of axes before its own.

        Returns:
            (*batch, *shape_out).

        Raises:
            ShapeError: x has another shape.
            DTypeError, DeviceError: x is of another library or dtype, or on another device.
        """
        backend_of(x=x, **{"the operator": self._example})
        axes = len(self.shape_in)
        batch, own = tuple(x.shape[: x.ndim - axes]), tuple(x.shape[x.ndim - axes :]) if axes else ()
        if x.ndim < axes or own != self.shape_in:
            raise ShapeError(f"x has shape {tuple(x.shape)}, but this {self} takes (…, {_listed(self.shape_in)})")
        xp = self.xp
        y = self._map(xp.reshape(x, (math.prod(batch), *self.shape_in)))
        return xp.reshape(y, (*batch, *self.shape_out))

    @property
    def H(self) -> Operator:  # noqa: N802 - the field's name
        """The adjoint: ⟨A x, y⟩ = ⟨x, A.H y⟩, where ⟨u, v⟩ is the sum of conj(u)·v."""
        return Adjoint(self)

    @property
    def T(self) -> Operator:  # noqa: N802 - the field's name
        """The transpose, whose matrix is that of this one with rows for columns, and nothing conjugated."""
        return self.H.conj()

    def conj(self) -> Operator:
        """The operator whose matrix is the conjugate of this one's: itself, where numbers are real."""
        return Conjugate(self) if self.is_complex else self

    def gram(self) -> Operator:
        """A.H @ A."""
        return Composition(self.H, self)

    def to_matrix(self) -> Array:
        """Its matrix, (size_out, size_in), in the order of the elements as `reshape` takes them.

        >>> import numpy as np
        >>> from arrconv.linop import Diagonal
        >>> Diagonal(np.asarray([2.0, 3.0])).to_matrix()
        array([[2., 0.],
               [0., 3.]])
        """
        xp, n = self.xp, self.size_in
        step = max(1, _AT_ONCE // max(1, n, self.size_out))
        eye = xp.eye(n, dtype=self.dtype, device=self.device)
        parts = [eye[start : min(n, start + step), :] for start in range(0, n, step)]
        rows = [
            xp.reshape(self._map(xp.reshape(part, (part.shape[0], *self.shape_in))), (part.shape[0], self.size_out))
            for part in parts
        ]
        if not rows:
            return xp.zeros((self.size_out, 0), dtype=self.dtype, device=self.device)
        return xp.matrix_transpose(xp.concat(rows))

    @overload
    def __matmul__(self, other: Operator) -> Operator: ...

    @overload
    def __matmul__(self, other: Array) -> Array: ...

    def __matmul__(self, other: Any) -> Any:
        return Composition(self, other) if isinstance(other, Operator) else self.apply(other)

    def __add__(self, other: Operator) -> Operator:
        return Sum(self, other) if isinstance(other, Operator) else NotImplemented

    def __sub__(self, other: Operator) -> Operator:
        return Sum(self, -other) if isinstance(other, Operator) else NotImplemented

    def __neg__(self) -> Operator:
        return Scaled(self, -1.0)

    def __mul__(self, factor: complex) -> Operator:
        return Scaled(self, factor) if isinstance(factor, int | float | complex) else NotImplemented

    __rmul__ = __mul__

    def __truediv__(self, divisor: complex) -> Operator:
        return Scaled(self, 1 / divisor) if isinstance(divisor, int | float | complex) else NotImplemented

    def __repr__(self) -> str:
        return f"{type(self).__name__}(({_listed(self.shape_in)}) → ({_listed(self.shape_out)}))"


class Adjoint(Operator):
    """The adjoint of an operator."""

    def __init__(self, operator: Operator) -> None:
        super().__init__(operator.shape_out, operator.shape_in, operator.example)
        self.operator = operator

    def _map(self, x: Array) -> Array:
        return self.operator._map_back(x)

    def _map_back(self, y: Array) -> Array:
        return self.operator._map(y)

    @property
    def H(self) -> Operator:  # noqa: N802
        """The operator itself."""
        return self.operator


class Conjugate(Operator):
    """The operator whose matrix is the conjugate of another's."""

    def __init__(self, operator: Operator) -> None:
        super().__init__(operator.shape_in, operator.shape_out, operator.example)
        self.operator = operator

    def _map(self, x: Array) -> Array:
        return self.xp.conj(self.operator._map(self.xp.conj(x)))

    def _map_back(self, y: Array) -> Array:
        return self.xp.conj(self.operator._map_back(self.xp.conj(y)))

    def conj(self) -> Operator:
        """The operator itself."""
        return self.operator


class Composition(Operator):
    """One operator after another: x ↦ first(second(x))."""

    def __init__(self, first: Operator, second: Operator) -> None:
        _check_alike(first, second)
        if first.shape_in != second.shape_out:
            raise ShapeError(f"{first} does not take what {second} gives")
        super().__init__(second.shape_in, first.shape_out, first.example)
        self.first, self.second = first, second

    def _map(self, x: Array) -> Array:
        return self.first._map(self.second._map(x))

    def _map_back(self, y: Array) -> Array:
        return self.second._map_back(self.first._map_back(y))


class Sum(Operator):
    """Two operators, whose results are added."""

    def __init__(self, first: Operator, second: Operator) -> None:
        _check_alike(first, second)
        if (first.shape_in, first.shape_out) != (second.shape_in, second.shape_out):
            raise ShapeError(f"{first} and {second} cannot be added")
        super().__init__(first.shape_in, first.shape_out, first.example)
        self.first, self.second = first, second

    def _map(self, x: Array) -> Array:
        return self.first._map(x) + self.second._map(x)

    def _map_back(self, y: Array) -> Array:
        return self.first._map_back(y) + self.second._map_back(y)


class Scaled(Operator):
    """An operator times a number, complex only where the operator is."""

    def __init__(self, operator: Operator, factor: complex) -> None:
        super().__init__(operator.shape_in, operator.shape_out, operator.example)
        if isinstance(factor, complex) and not self.is_complex:
            raise DTypeError(f"an operator of dtype {self.dtype} cannot be multiplied by the complex number {factor}")
        self.operator, self.factor = operator, factor

    def _map(self, x: Array) -> Array:
        return self.operator._map(x) * self.factor

    def _map_back(self, y: Array) -> Array:
        return self.operator._map_back(y) * self.factor.conjugate()


class Stack(Operator):
    """Operators that take the same, whose results are joined along an axis, or as one list of numbers: `stack`."""

    def __init__(self, operators: Sequence[Operator], axis: int | None) -> None:
        if not operators:
            raise SpecError("there is no operator to stack")
        first, *others = operators
        for other in others:
            _check_alike(first, other)
            if first.shape_in != other.shape_in:
                raise ShapeError(f"{first} and {other} do not take the same, and cannot be stacked")
        if axis is not None:
            axis = as_int(axis, "axis", 0)
            rests = {(*op.shape_out[:axis], None, *op.shape_out[axis + 1 :]) for op in operators}
            if len(rests) > 1 or axis >= len(first.shape_out):
                raise ShapeError(f"{', '.join(map(str, operators))} give shapes that do not join along axis {axis}")
            joined = (
                *first.shape_out[:axis],
                sum(op.shape_out[axis] for op in operators),
                *first.shape_out[axis + 1 :],
            )
        else:
            joined = (sum(op.size_out for op in operators),)
        super().__init__(first.shape_in, joined, first.example)
        self.operators, self.axis = tuple(operators), axis

    def _map(self, x: Array) -> Array:
        xp, results = self.xp, [op._map(x) for op in self.operators]
        if self.axis is None:
            results = [xp.reshape(y, (y.shape[0], op.size_out)) for y, op in zip(results, self.operators, strict=True)]
        return xp.concat(results, axis=1 + (self.axis or 0))

    def _map_back(self, y: Array) -> Array:
        parts = [op._map_back(part) for op, part in zip(self.operators, self._parts(y), strict=True)]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    def _parts(self, y: Array) -> list[Array]:
        """Of a result (N, *shape_out), what each operator gave."""
        start, found = 0, []
        for op in self.operators:
            length = op.size_out if self.axis is None else op.shape_out[self.axis]
            window = (*(slice(None),) * (1 + (self.axis or 0)), slice(start, start + length), ...)
            found.append(self.xp.reshape(y[window], (y.shape[0], *op.shape_out)))
            start += length
        return found


def stack(operators: Sequence[Operator], *, axis: int | None = None) -> Operator:
    """Operators one below the other: x ↦ (A x, B x, …).

    Args:
        operators: at least one; all take the same shape.
        axis: of their results, along which these are joined; without it the result is one list of all their numbers.

    Raises:
        ShapeError: they take different shapes, or give such that do not join.
        DTypeError, DeviceError: they differ in library, dtype or device.
        SpecError: there is none.

    >>> import numpy as np
    >>> from arrconv.linop import Diagonal
    >>> A = Diagonal(np.asarray([1.0, 2.0]))
    >>> stack([A, 3 * A]) @ np.asarray([1.0, 1.0])
    array([1., 2., 3., 6.])
    """
    return Stack(tuple(operators), axis)


def block(rows: Sequence[Sequence[Operator]]) -> Operator:
    """A matrix of operators: each row is applied to the parts of a list of numbers and added up; rows are stacked.

    Args:
        rows: of equally many operators; those below each other take the same, those beside each other give the same.

    Returns:
        An operator between lists of numbers: all elements of what a row's operators take, one after the other.

    Raises:
        ShapeError, DTypeError, DeviceError, SpecError: as for `stack`.

    >>> import numpy as np
    >>> from arrconv.linop import Diagonal
    >>> A = Diagonal(np.asarray([1.0, 2.0]))
    >>> block([[A, -1 * A], [A, A]]) @ np.asarray([1.0, 1.0, 1.0, 0.0])
    array([0., 2., 2., 2.])
    """
    lengths = sorted({len(row) for row in rows})
    if len(lengths) != 1:
        raise SpecError(f"rows of as many operators are needed, but they have {lengths}")
    return stack([stack([op.H for op in row]).H for row in rows])


def _check_alike(first: Operator, second: Operator) -> None:
    backend_of(**{"the first operator": first.example, "the second": second.example})


def _sizes(shape: Sequence[int], name: str) -> tuple[int, ...]:
    return tuple(as_int(size, f"{name}[{axis}]", 0) for axis, size in enumerate(shape))


def _listed(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
