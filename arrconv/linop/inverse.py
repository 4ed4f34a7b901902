"""Inverses that are operators themselves: pseudo-inverse, Tikhonov's and Wiener's, each by the way that fits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from arrconv.errors import ShapeError, SpecError, UnsupportedError
from arrconv.functional.reals import as_number
from arrconv.linop.frequencies import FrequencyForm, frequency_form
from arrconv.linop.matrices import Matrix
from arrconv.linop.operator import Adjoint, Operator
from arrconv.linop.spectrum import BUDGET, cut_off, matrix_within

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrconv._namespace import Array
    from arrconv.linop.circular import Circulant


class Inverse(Operator):
    """An operator that undoes another, as well as can be, and says how it was made.

    Attributes:
        inner: the operator that does it.
        method: "frequencies" or "matrix".
    """

    def __init__(self, inner: Operator, method: str, reason: str) -> None:
        super().__init__(inner.shape_in, inner.shape_out, inner.example)
        self.inner, self.method, self._reason = inner, method, reason

    def explain(self) -> str:
        """Which way was taken, and why.

        >>> import numpy as np
        >>> from arrconv.linop import CircularConv, pinv
        >>> print(pinv(CircularConv(np.asarray([2.0, 1.0]), (8,))).explain())
        frequencies: it is a product at each of 5 frequencies
        """
        return f"{self.method}: {self._reason}"

    @property
    def H(self) -> Inverse:  # noqa: N802
        """The adjoint, made the same way."""
        return Inverse(self.inner.H, self.method, self._reason)

    def _map(self, x: Array) -> Array:
        return self.inner._map(x)

    def _map_back(self, y: Array) -> Array:
        return self.inner._map_back(y)


def pinv(operator: Operator, /, *, rcond: float | None = None, budget: int = BUDGET) -> Inverse:
    """The Moore–Penrose pseudo-inverse: of all x with the least ‖A x − y‖ the one with the least ‖x‖.

    Convolutions of periodic arrays are inverted frequency by frequency, for any stride that divides the sizes; others
    by their matrix, where the budget allows it.

    Args:
        operator: any.
        rcond: singular values up to this share of the largest count as 0: one limit for all frequencies, since a limit
            of each would give another operator. Without it, the larger side of the matrix times the dtype's rounding.
        budget: the bytes that a matrix may take.

    Returns:
        An operator from (*shape_out) to (*shape_in).

    Raises:
        UnsupportedError: the matrix would exceed the budget.
        SpecError: rcond is negative, or numbers are not finite.

    Source: R. Penrose, "A generalized inverse for matrices", 1955.

    >>> import numpy as np
    >>> from arrconv.linop import CircularConv
    >>> A = CircularConv(np.asarray([2.0, 1.0]), (4,))
    >>> np.round(pinv(A) @ (A @ np.asarray([1.0, 2.0, 3.0, 4.0])), 12)
    array([1., 2., 3., 4.])
    """
    cut_off(operator, rcond)  # which checks it
    return _made(
        operator, budget,
        lambda symbol: _pinv_of(operator, symbol, rcond),
        lambda matrix: _pinv_of(operator, matrix, rcond),
    )  # fmt: skip


def tikhonov(operator: Operator, damp: float, /, *, budget: int = BUDGET) -> Inverse:
    """The x with the least ‖A x − y‖² + damp²·‖x‖², for every y: (A.H A + damp²)⁻¹ A.H.

    Noise in y is amplified by 1/(2·damp) at most. About (0.3 … 1)·(relative noise)·(largest singular value) is a good
    damping.

    Args:
        operator, budget: as for `pinv`.
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
    power = as_number(damp, "damp", above=0) ** 2
    return _made(
        operator, budget, lambda symbol: _damped(operator, symbol, power), lambda m: _damped(operator, m, power)
    )


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
    form = frequency_form(operator)
    if form is None or form.phases > 1:
        raise UnsupportedError(f"Wiener's filter needs a convolution of periodic arrays of stride 1, not {operator}")
    signal, noise = (_power(form.circulant, name, psd) for name, psd in (("signal", signal_psd), ("noise", noise_psd)))
    return Inverse(_inverted(form, lambda symbol: _filter(operator, symbol, signal, noise)), *_by_frequencies(form))


def _made(
    operator: Operator, budget: int, of_symbol: Callable[[Array], Array], of_matrix: Callable[[Array], Array]
) -> Inverse:
    """An inverse by the frequencies, or by the matrix."""
    if isinstance(operator, Adjoint):
        return _made(operator.operator, budget, of_symbol, of_matrix).H
    form = frequency_form(operator)
    if form is not None:
        return Inverse(_inverted(form, of_symbol), *_by_frequencies(form))
    matrix = of_matrix(matrix_within(operator, budget))
    reason = f"of shape {(operator.size_out, operator.size_in)}, within {budget / 2**20:,.0f} MiB"
    return Inverse(Matrix(matrix, operator.shape_out, operator.shape_in), "matrix", reason)


def _by_frequencies(form: FrequencyForm) -> tuple[str, str]:
    """The method, and the reason."""
    count = math.prod(form.circulant.symbol.shape[: len(form.circulant.size)])
    return "frequencies", f"it is a product at each of {count} frequencies"


def _inverted(form: FrequencyForm, of_symbol: Callable[[Array], Array]) -> Operator:
    circulant = form.circulant
    symbol = circulant.symbol if circulant.has_channels else circulant.symbol[..., None, None]
    found = of_symbol(symbol)
    inverse = circulant.with_symbol(found if circulant.has_channels else found[..., 0, 0])
    return form.before.H @ (inverse @ form.after.H)


def _pinv_of(operator: Operator, matrices: Array, rcond: float | None) -> Array:
    """The pseudo-inverses of matrices (..., rows, columns), with one limit for all singular values."""
    xp = operator.xp
    if 0 in matrices.shape:
        return xp.matrix_transpose(matrices)
    _check_finite(operator, matrices)
    share = cut_off(operator, rcond)
    left, values, right = xp.linalg.svd(matrices, full_matrices=False)
    is_kept = values > share * xp.max(values)
    factors = xp.where(is_kept, 1 / xp.where(is_kept, values, xp.ones_like(values)), xp.zeros_like(values))
    return xp.matmul(_adjoint(xp, right) * factors[..., None, :], _adjoint(xp, left))


def _damped(operator: Operator, matrices: Array, power: float) -> Array:
    """(A.H A + p)⁻¹ A.H = A.H (A A.H + p)⁻¹, whichever is smaller."""
    xp = operator.xp
    _check_finite(operator, matrices)
    rows, columns = matrices.shape[-2:]
    back = _adjoint(xp, matrices)
    gram = xp.matmul(matrices, back) if rows <= columns else xp.matmul(back, matrices)
    gram = gram + power * xp.eye(min(rows, columns), dtype=matrices.dtype, device=operator.device)
    return _adjoint(xp, xp.linalg.solve(gram, matrices)) if rows <= columns else xp.linalg.solve(gram, back)


def _filter(operator: Operator, symbol: Array, signal: Array, noise: Array) -> Array:
    """S K.H (S K K.H + N)⁻¹ at each frequency."""
    xp = operator.xp
    _check_finite(operator, symbol)
    eye = xp.eye(symbol.shape[-2], dtype=symbol.dtype, device=operator.device)
    scaled = symbol * signal
    return _adjoint(xp, xp.linalg.solve(xp.matmul(scaled, _adjoint(xp, symbol)) + noise * eye, scaled))


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


def _check_finite(operator: Operator, matrices: Array) -> None:
    if not bool(operator.xp.all(operator.xp.isfinite(matrices))):
        raise SpecError(f"{operator} has numbers that are not finite, and no inverse")


def _adjoint(xp: Any, matrices: Array) -> Array:
    back = xp.matrix_transpose(matrices)
    return xp.conj(back) if xp.isdtype(matrices.dtype, "complex floating") else back
