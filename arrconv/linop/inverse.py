"""Inverses that are operators themselves: pseudo-inverse, Tikhonov's and Wiener's, each by the way that fits."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal, get_args

from arrconv.errors import ShapeError, SpecError, UnsupportedError
from arrconv.functional.reals import as_number
from arrconv.linop.border import Embedding, bordered, has_zeros_around
from arrconv.linop.convolution import Conv
from arrconv.linop.frequencies import FrequencyForm, frequency_form
from arrconv.linop.iterated import Iterated
from arrconv.linop.matrices import BUDGET, Matrix, check_precision, matrix_within
from arrconv.linop.operator import Adjoint, Operator
from arrconv.linop.spectrum import cut_off
from arrconv.linop.stacked import check_finite, inverse_of, pinv_of, tikhonov_of, wiener_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrconv._namespace import Array
    from arrconv.linop.circular import Circulant


Found = tuple[Operator | None, str]
"""An operator, or why there is none."""

Method = Literal["auto", "frequencies", "border", "matrix", "iteration"]

_SMALL = 1024  # the sides of a matrix that is decomposed rather than anything cleverer


class Inverse(Operator):
    """An operator that undoes another, as well as can be, and says how it was made.

    Attributes:
        inner: the operator that does it.
        method: "frequencies", "border", "matrix" or "iteration".
        reasons: why that, and, before it, why no other that was looked at.
    """

    def __init__(self, inner: Operator, method: str, reasons: tuple[str, ...]) -> None:
        super().__init__(inner.shape_in, inner.shape_out, inner.example)
        self.inner, self.method, self.reasons = inner, method, reasons

    def explain(self) -> str:
        """Which way was taken and why, after those that were not.

        >>> import numpy as np
        >>> from arrconv.linop import CircularConv, pinv
        >>> print(pinv(CircularConv(np.asarray([2.0, 1.0]), (8,))).explain())
        frequencies: a product at each of 5 frequencies
        """
        return "\n".join(self.reasons)

    @property
    def H(self) -> Inverse:  # noqa: N802
        """The adjoint, made the same way."""
        return Inverse(self.inner.H, self.method, self.reasons)

    def _map(self, x: Array) -> Array:
        return self.inner._map(x)

    def _map_back(self, y: Array) -> Array:
        return self.inner._map_back(y)


def pinv(
    operator: Operator, /, *, rcond: float | None = None, method: Method = "auto", budget: int = BUDGET
) -> Inverse:
    """The Moore–Penrose pseudo-inverse: of all x with the least ‖A x − y‖ the one with the least ‖x‖.

    Convolutions of periodic arrays are inverted frequency by frequency, for any stride that divides the sizes. Those
    with zeros around their input are periodic on a larger torus but for its border, whose unknown numbers are found by
    a system of equations of their own, where A has full rank. Others go by their matrix, where the budget allows it,
    and by iteration, where it does not.

    Args:
        operator: any.
        rcond: singular values up to this share of the largest count as 0: one limit for all frequencies, since a limit
            of each would give another operator. Without it, the larger side of the matrix times the dtype's rounding.
            Where it is given, the border's system and iteration, which can leave nothing away, are not used.
        method: "frequencies", "border", "matrix" or "iteration"; "auto" takes the first that can be had, small matrices
            before the border, and `explain` of the result says which. Iteration solves anew for each array, and is as
            near to linear as it converges; where it does not, a `ConvergenceWarning` says how far it came.
        budget: the bytes that a matrix, or the symbol of a convolution, may take. About four times as much is needed
            while the inverse is made.

    Returns:
        An operator from (*shape_out) to (*shape_in).

    Raises:
        UnsupportedError: no way can be taken; the message says why for each, and what a matrix would need.
        SpecError: rcond is negative, numbers are not finite, or there is no such method.

    Source: R. Penrose, "A generalized inverse for matrices", 1955.

    >>> import numpy as np
    >>> from arrconv.linop import CircularConv
    >>> A = CircularConv(np.asarray([2.0, 1.0]), (4,))
    >>> np.round(pinv(A) @ (A @ np.asarray([1.0, 2.0, 3.0, 4.0])), 12)
    array([1., 2., 3., 4.])
    """
    cut_off(operator, rcond)  # which checks it
    is_open = rcond is None
    ways = _Ways(
        operator, budget, lambda matrices: pinv_of(operator, matrices, rcond),
        diagonal=_of_full_rank if is_open else None, damp=0.0 if is_open else None,
    )  # fmt: skip
    return ways.made(method)


def inverse(operator: Operator, /, *, method: Method = "auto", budget: int = BUDGET) -> Inverse:
    """The inverse B of an operator, B A = A B = 1, for those that have one.

    Args:
        operator: with as many numbers out as in.
        method, budget: as for `pinv`; not "iteration", which cannot tell whether there is an inverse.

    Returns:
        An operator from (*shape_out) to (*shape_in).

    Raises:
        ShapeError: the operator's matrix is not square.
        SpecError: it is singular, or its condition number exceeds what the dtype can hold; or as for `pinv`.
        UnsupportedError: as for `pinv`.

    >>> import numpy as np
    >>> from arrconv.linop import Conv
    >>> A = Conv(np.asarray([1.0, 4.0, 1.0]), (3,), padding=1)
    >>> np.round(inverse(A).to_matrix() * 56, 9)
    array([[15., -4.,  1.],
           [-4., 16., -4.],
           [ 1., -4., 15.]])
    """
    if operator.size_in != operator.size_out:
        raise ShapeError(
            f"{operator} maps {operator.size_in} numbers to {operator.size_out}, and has no inverse; pinv has one"
        )
    return _Ways(
        operator, budget, lambda matrices: inverse_of(operator, matrices), diagonal=_of_full_rank, damp=None
    ).made(method)


def tikhonov(operator: Operator, damp: float, /, *, method: Method = "auto", budget: int = BUDGET) -> Inverse:
    """The x with the least ‖A x − y‖² + damp²·‖x‖², for every y: (A.H A + damp²)⁻¹ A.H.

    Noise in y is amplified by 1/(2·damp) at most. About (0.3 … 1)·(relative noise)·(largest singular value) is a good
    damping.

    Args:
        operator, method, budget: as for `pinv`.
        damp: above 0.

    Returns:
        An operator from (*shape_out) to (*shape_in).

    Raises:
        UnsupportedError, SpecError: as for `pinv`.

    Source: A. N. Tikhonov, V. Y. Arsenin, "Solutions of ill-posed problems", 1977; P. C. Hansen, "Rank-deficient and
    discrete ill-posed problems", 1998, section 5.1.

    >>> import numpy as np
    >>> from arrconv.linop import Diagonal
    >>> tikhonov(Diagonal(np.asarray([3.0, 0.0])), 1.0).to_matrix()
    array([[0.3, 0. ],
           [0. , 0. ]])
    """
    damp = as_number(damp, "damp", above=0)
    return _Ways(
        operator, budget, lambda matrices: tikhonov_of(operator, matrices, damp**2),
        diagonal=lambda *_: (damp, -damp), damp=damp,
    ).made(method)  # fmt: skip


def wiener(operator: Operator, signal_psd: Array | float, noise_psd: Array | float, /) -> Inverse:
    """Wiener's filter for a convolution of periodic arrays: the linear estimate of x from A x + noise with least error.

    At each frequency S K.H (K S K.H + N)⁻¹, with the symbol K and the spectra S of the signal and N of the noise, both
    the same for all channels. It is no pseudo-inverse, nor is it one's limit for a given signal.

    Args:
        operator: a `Circulant`, or a `Conv` with circular padding and of stride 1.
        signal_psd, noise_psd: powers, from 0 on: one for all frequencies, or real arrays (*frequencies), as `fftn` has
            them for complex arrays and `rfftn` for real ones. Only their ratio matters.

    Returns:
        An operator from (*shape_out) to (*shape_in).

    Raises:
        UnsupportedError: the operator is no convolution of periodic arrays, or its stride is not 1.
        SpecError: a power is not finite, that of the signal negative, or that of the noise not above 0.
        ShapeError: the arrays do not fit the frequencies.

    Source: N. Wiener, "Extrapolation, interpolation, and smoothing of stationary time series", 1949.

    >>> import numpy as np
    >>> from arrconv.linop import CircularConv
    >>> wiener(CircularConv(np.asarray([1.0]), (2,)), 3.0, 1.0).to_matrix()
    array([[0.75, 0.  ],
           [0.  , 0.75]])
    """
    check_precision(operator)
    form = frequency_form(operator)
    if form is None or form.phases > 1:
        raise UnsupportedError(f"Wiener's filter needs a convolution of periodic arrays of stride 1, not {operator}")
    signal, noise = (_power(form.circulant, name, psd) for name, psd in (("signal", signal_psd), ("noise", noise_psd)))
    inner = _inverted(form, lambda symbol: wiener_of(operator, symbol, signal, noise))
    return Inverse(inner, "frequencies", (f"frequencies: {_counted(form)}",))


@dataclass(frozen=True, slots=True)
class _Ways:
    """The ways to an inverse: each gives it with the reason, or the reason alone why it cannot.

    Attributes:
        operator: of which.
        budget: the bytes that a matrix, or a symbol, may take.
        of_matrices: what the inverse is of matrices (..., rows, columns).
        diagonal: of the border's system, as `bordered` takes it; None where that cannot be used.
        damp: of the problem that is iterated; None where that cannot be used.
    """

    operator: Operator
    budget: int
    of_matrices: Callable[[Array], Array]
    diagonal: Callable[[Operator, Embedding], tuple[float, float] | None] | None
    damp: float | None

    def made(self, method: Method) -> Inverse:
        """The inverse, by a method or by the first that can."""
        if method not in get_args(Method):
            raise SpecError(f"method={method!r} is unknown; there are {', '.join(get_args(Method))}")
        check_precision(self.operator)
        if isinstance(self.operator, Adjoint):
            return replace(self, operator=self.operator.operator).made(method).H
        ways: list[tuple[str, Callable[[], Found]]] = [
            ("frequencies", self._by_frequencies),
            ("matrix", partial(self._by_matrix, most=_SMALL)),
            ("border", self._by_border),
            ("matrix", self._by_matrix),
            ("iteration", self._by_iteration),
        ]
        reasons: list[str] = []
        for name, way in ways if method == "auto" else dict(ways).items():
            if method in ("auto", name):
                try:
                    inner, reason = way()
                except UnsupportedError as error:
                    inner, reason = None, str(error)
                reasons.append(f"{name}: {reason}")
                if inner is not None:
                    return Inverse(inner, name, tuple(reasons))
        raise UnsupportedError(f"there is no way to invert {self.operator}; " + "; ".join(reasons))

    def _by_frequencies(self) -> Found:
        form = frequency_form(self.operator, self.budget)
        if form is None:
            return None, "it is no convolution of periodic arrays whose stride divides their sizes"
        return _inverted(form, self.of_matrices), _counted(form)

    def _by_matrix(self, most: int | None = None) -> Found:
        sides = (self.operator.size_out, self.operator.size_in)
        if most is not None and max(sides) > most:
            return None, f"its sides {sides} exceed {most}, from which on the border is tried first"
        matrix = self.of_matrices(matrix_within(self.operator, self.budget))
        return Matrix(matrix, self.operator.shape_out, self.operator.shape_in), f"its shape is {sides}"

    def _by_border(self) -> Found:
        operator = self.operator
        if not isinstance(operator, Conv) or not has_zeros_around(operator):
            return None, "it is no convolution with zeros around its input"
        if self.diagonal is None:
            return None, "a limit for singular values was given"
        if not operator.size_in or not operator.size_out:
            return None, "it has no elements"
        check_finite(operator, operator.w)
        return bordered(operator, self.diagonal, self.budget)

    def _by_iteration(self) -> Found:
        if self.damp is None:
            return None, "it cannot tell small singular values from those that are 0"
        return Iterated(self.operator, self.damp), "each solution by LSMR, to ‖A.H r‖ ≤ 1e-10·‖A.H y‖ or a warning"


def _counted(form: FrequencyForm) -> str:
    return f"a product at each of {math.prod(form.circulant.symbol.shape[: len(form.circulant.size)])} frequencies"


def _inverted(form: FrequencyForm, of_symbol: Callable[[Array], Array]) -> Operator:
    circulant = form.circulant
    symbol = circulant.symbol if circulant.has_channels else circulant.symbol[..., None, None]
    found = of_symbol(symbol)
    inverse = circulant.with_symbol(found if circulant.has_channels else found[..., 0, 0])
    return form.before.H @ (inverse @ form.after.H)


def _of_full_rank(operator: Operator, embedding: Embedding) -> tuple[float, float] | None:
    """The diagonal of the system for the pseudo-inverse, by the shape of the matrix.

    It is best conditioned where the number is that of the least singular value, by the square root of 2; the least
    one on the torus is near it.

    Source: Å. Björck, "Numerical methods for least squares problems", 1996, section 2.5.3.
    """
    circulant = embedding.circulant
    if operator.size_in == operator.size_out and circulant.shape_in == circulant.shape_out:
        return None
    scale = float(operator.xp.min(operator.xp.linalg.svdvals(circulant.symbol))) / math.sqrt(2)
    return (0.0, scale) if operator.size_out <= operator.size_in else (scale, 0.0)


def _power(circulant: Circulant, name: str, psd: Array | float) -> Array:
    """A spectrum (*frequencies or nothing, 1, 1), in the dtype of the symbol."""
    xp, frequencies = circulant.xp, circulant.symbol.shape[: len(circulant.size)]
    given = xp.asarray(psd, device=circulant.device)
    if given.ndim and tuple(given.shape) != tuple(frequencies):
        raise ShapeError(f"{name}_psd has shape {tuple(given.shape)}, but the frequencies are {tuple(frequencies)}")
    is_right = xp.isfinite(given) & (given > 0 if name == "noise" else given >= 0)
    if not bool(xp.all(is_right)):
        raise SpecError(
            f"{name}_psd must be finite and {'above' if name == 'noise' else 'not below'} 0 at each frequency"
            + ("; without noise the answer is the pseudo-inverse" if name == "noise" else "")
        )
    return xp.astype(given, circulant.symbol.dtype)[..., None, None]
