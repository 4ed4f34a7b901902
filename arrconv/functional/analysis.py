"""What is to be known of a call beside its result: how far off it may be, what is exact, which kernel computes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from arrconv.bounds import Arithmetic
from arrconv.errors import SpecError
from arrconv.functional.calls import ConvGrads, call_of
from arrconv.functional.contraction import Contraction, bound, parts
from arrconv.functional.fourier_error import bound_by_fft

if TYPE_CHECKING:
    from arrconv._namespace import Array
    from arrconv.functional.contraction import Computation
    from arrconv.kernels import Choice


def error_bound(
    member: str, /, *arrays: Array, arithmetic: Arithmetic | str | None = None, **options: Any
) -> Array | ConvGrads:
    """An upper bound of |computed − exact| for each element of a member's result, whatever the order of summation.

    It holds where nothing overflows; where an input is not finite, neither is the bound.

    Args:
        member: the name of a function of this family, such as `"conv"` or `"conv_grad_weight"`.
        arrays: the arrays that function is given.
        arithmetic: the arithmetic to bound, or the name of a dtype for arrconv's own arithmetic with it; None is that
            of the arrays.
        options: the options that function is given. `algorithm="fft"` has a bound of its own, in which norms of whole
            arrays take the place of sums of magnitudes; others make no difference.

    Returns:
        float64, like the member's result; all zeros for integers. For complex arrays it bounds the modulus.

    Raises:
        SpecError: there is no such member or arithmetic.
        UnsupportedError: the array library has no float64.
        What the member raises.

    Source: C.-P. Jeannerod, S. M. Rump, "Improved error bounds for inner products in floating-point arithmetic",
    SIAM J. Matrix Anal. Appl. 34, 2013, theorem 3.1.

    >>> import numpy as np
    >>> x, w = np.ones((1, 1, 3), np.float32), np.ones((1, 1, 2), np.float32)
    >>> bool((error_bound("conv", x, w) < 2 * 2.0**-23 * 1.01).all())
    True
    """
    by_fft = options.pop("algorithm", "auto") == "fft"
    claimed = Arithmetic.of(arithmetic) if isinstance(arithmetic, str) else arithmetic
    if claimed is not None and not isinstance(claimed, Arithmetic):
        raise SpecError(f"arithmetic={arithmetic!r} is neither an Arithmetic nor the name of a dtype")
    call = call_of(member, arrays, options)

    def bounded(part: Computation) -> Array:
        if by_fft and isinstance(part, Contraction) and not part.backend.is_integer:
            return bound_by_fft(part, claimed or Arithmetic.of(part.backend.dtype))
        return bound(part, claimed)

    return call.map(bounded) if isinstance(call, ConvGrads) else bounded(call)


def exact_parts(member: str, /, *arrays: Array, **options: Any) -> tuple[Array, Array] | ConvGrads:
    """The exact result of a member as an unevaluated sum of two numbers, for whoever needs more than one rounding.

    With S the exact sum, high = RN(S) and low = RN(S − high), RN rounding to the nearest float64 number, ties to even.
    So high + low is S up to 2^−106·|S|, unless it is too small for that.

    Args:
        member: the name of a function of this family, such as `"conv"` or `"conv_grad_weight"`.
        arrays: the arrays that function is given.
        options: the options that function is given; `algorithm` makes no difference.

    Returns:
        (high, low), like the member's result: float64, or complex128 for complex arrays, part by part; low is 0 where
        high is not finite. For integers the result itself and zeros. A `ConvGrads` of such pairs for `conv_backward`
        and `conv_transpose_backward`.

    Raises:
        SpecError: there is no such member.
        UnsupportedError: the array library has no float64.
        What the member raises.

    >>> import numpy as np
    >>> x = np.asarray([[[1.0, 2.0**-60]]])
    >>> high, low = exact_parts("conv", x, np.ones((1, 1, 2)))
    >>> high.item(), low.item() == 2.0**-60
    (1.0, True)
    """
    options.pop("algorithm", None)
    call = call_of(member, arrays, options)
    return call.map(parts) if isinstance(call, ConvGrads) else parts(call)


def explain(member: str, /, *arrays: Array, **options: Any) -> Choice | ConvGrads:
    """Which kernel a call would use, and why each other one would not be.

    Args:
        member: the name of a function of this family, such as `"conv"` or `"conv_grad_weight"`.
        arrays: the arrays that function is given.
        options: the options that function is given.

    Returns:
        A `Choice` with the fields `kernel` and `passed_over`, readable with `print`; a `ConvGrads` of these for
        `conv_backward` and `conv_transpose_backward`.

    Raises:
        SpecError: there is no such member.
        What the member raises.

    >>> import numpy as np
    >>> print(explain("conv", np.ones((1, 2, 9)), np.ones((3, 2, 3))))
    table
      not tiles: 126 products are fewer than 8388608, and not worth the time to compile
      not gemm: table serves this problem and comes first
      not cuda: it works on CuPy arrays, not on those of numpy
      not implicit: it works on CuPy arrays, not on those of numpy
      not cudnn: it works on CuPy arrays, not on those of numpy
      not fft: its error bound is worse than that of direct summation; it runs only when asked for
      not taps: table serves this problem and comes first
      not exact: it is slower, and runs only when asked for
    """
    algorithm = options.pop("algorithm", "auto")
    call = call_of(member, arrays, options)
    return call.map(lambda part: part.explain(algorithm)) if isinstance(call, ConvGrads) else call.explain(algorithm)
