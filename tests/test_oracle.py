"""The oracle itself is right: hand-worked numbers, laws, and PyTorch. Nothing of the library takes part."""

import math
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import oracle
import pytest

TORCH_MODES = {"zeros": "constant", "circular": "circular", "reflect": "reflect", "replicate": "replicate"}
MODES = ("zeros", "circular", "reflect", "replicate")
Pair = tuple[int, int]


def options(
    d: int = 1,
    *,
    stride: int = 1,
    padding: Pair = (0, 0),
    dilation: int = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
) -> Any:
    """The oracle's full set of options, the same on each of d axes."""
    return {
        "stride": (stride,) * d,
        "padding": (padding,) * d,
        "dilation": (dilation,) * d,
        "groups": groups,
        "padding_mode": padding_mode,
    }


def transposed_options(d: int = 1, *, output_padding: int = 0, **others: Any) -> Any:
    """The same for the transposed convolution, which has an output padding and no padding mode."""
    result = options(d, **others) | {"output_padding": (output_padding,) * d}
    del result["padding_mode"]
    return result


def line(*values: Any) -> np.ndarray:
    """One item (or one weight) with one channel and one spatial axis."""
    return np.array([[values]], dtype=object)


def assert_same(got: np.ndarray, expected: np.ndarray) -> None:
    assert got.dtype == object
    assert got.shape == expected.shape
    assert got.tolist() == expected.tolist()


def values(result: np.ndarray, *leading: int) -> list[Any]:
    """The entries of the result, whose shape must begin with `leading` (one item, one channel by default)."""
    leading = leading or (1, 1)
    assert result.dtype == object
    assert result.shape[: len(leading)] == leading
    return result.ravel().tolist()


# By hand: padding


@pytest.mark.parametrize(
    ("mode", "n", "expected"),
    [
        ("zeros", 3, [None, None, None, None, 0, 1, 2, None, None, None, None, None]),
        ("circular", 3, [2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1]),
        ("reflect", 3, [0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2, 1]),
        ("replicate", 3, [0, 0, 0, 0, 0, 1, 2, 2, 2, 2, 2, 2]),
        ("reflect", 2, [0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1]),
        ("reflect", 1, [0] * 12),
        ("circular", 1, [0] * 12),
        ("replicate", 1, [0] * 12),
        ("zeros", 0, [None] * 12),
    ],
)
def test_source(mode: str, n: int, expected: list[int | None]) -> None:
    assert [oracle.source(i, n, mode) for i in range(-4, 8)] == expected


@pytest.mark.parametrize(("mode", "numpy_mode"), [("circular", "wrap"), ("reflect", "reflect"), ("replicate", "edge")])
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_source_agrees_with_numpy_pad_at_any_distance(mode: str, numpy_mode: Any, n: int) -> None:
    begin, end = 17, 23
    expected = np.pad(np.arange(n), (begin, end), mode=numpy_mode)
    assert [oracle.source(i, n, mode) for i in range(-begin, n + end)] == expected.tolist()


@pytest.mark.parametrize("mode", MODES[1:])
def test_source_refuses_to_pad_with_nothing(mode: str) -> None:
    with pytest.raises(ValueError, match="size 0"):
        oracle.source(-1, 0, mode)


def test_source_refuses_an_unknown_mode() -> None:
    with pytest.raises(ValueError, match="'symmetric'"):
        oracle.source(-1, 3, "symmetric")


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("zeros", [0, 0, 0, 10, 21, 32, 3, 0, 0, 0, 0]),
        ("circular", [13, 21, 32, 13, 21, 32, 13, 21, 32, 13, 21]),
        ("reflect", [21, 32, 23, 12, 21, 32, 23, 12, 21, 32, 23]),
        ("replicate", [11, 11, 11, 11, 21, 32, 33, 33, 33, 33, 33]),
    ],
)
def test_conv_padded_by_more_than_the_input(mode: str, expected: list[int]) -> None:
    padded = options(padding=(4, 5), padding_mode=mode)
    assert values(oracle.conv(line(1, 2, 3), line(1, 10), None, **padded)) == expected


@pytest.mark.parametrize(
    ("mode", "gx", "gw"),
    [
        # Stride 3 over 2 + 3 + 3 padded entries: the two taps read positions -2 -1, then 1 2, then 4 5, and
        # the products w * y are 1, 10, ..., 10^5 in that order. On the right, the entries of x that are read.
        ("zeros", [0, 100, 1_000], [700, 1_100]),  #                        - - | 1 2 | - -
        ("circular", [0, 10_101, 101_010], [70_707, 111_111]),  #           1 2 | 1 2 | 1 2
        ("reflect", [10_000, 100_110, 1_001], [50_711, 71_107]),  #         2 1 | 1 2 | 0 1
        ("replicate", [11, 100, 111_000], [110_705, 111_105]),  #           0 0 | 1 2 | 2 2
    ],
)
def test_transposes_with_each_padding_mode(mode: str, gx: list[int], gw: list[int]) -> None:
    chosen = options(stride=3, padding=(2, 3), padding_mode=mode)
    y = line(1, 100, 10_000)
    assert values(oracle.transpose_input(line(1, 10), y, (3,), **chosen)) == gx
    assert values(oracle.transpose_weight(line(5, 7, 11), y, (2,), **chosen)) == gw


# By hand: the forward pass


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_output_size_counts_the_places_where_the_kernel_fits(stride: int, dilation: int) -> None:
    for n, k, begin, end in product(range(7), range(1, 5), range(-2, 4), range(-3, 3)):
        starts = range(0, 20, stride)
        places = sum(start + dilation * (k - 1) < begin + n + end for start in starts)
        assert oracle.output_size(n, k, stride, dilation, begin, end) == places, (n, k, begin, end)


@pytest.mark.parametrize(
    ("n", "chosen", "expected"),
    [
        (5, {}, [321, 432, 543]),
        (5, {"dilation": 2}, [531]),
        (5, {"stride": 2}, [321, 543]),
        (6, {"stride": 2}, [321, 543]),  # the floor drops the last entry
        (7, {"stride": 2, "dilation": 2}, [531, 753]),
        (5, {"padding": (1, 2)}, [210, 321, 432, 543, 54, 5]),
        (5, {"padding": (2, 1), "stride": 2}, [100, 321, 543]),
        (5, {"padding": (-1, -1)}, [432]),
        (5, {"padding": (-2, 1)}, [543, 54]),
        (2, {}, []),  # a kernel longer than its input
        (5, {"padding": (-2, -4)}, []),
    ],
)
def test_conv_in_one_dimension(n: int, chosen: dict[str, Any], expected: list[int]) -> None:
    y = oracle.conv(line(*range(1, n + 1)), line(1, 10, 100), None, **options(**chosen))
    assert values(y) == expected
    with_bias = oracle.conv(line(*range(1, n + 1)), line(1, 10, 100), [7000], **options(**chosen))
    assert values(with_bias) == [7000 + value for value in expected]


def test_conv_in_two_dimensions_keeps_the_axes_apart() -> None:
    x = np.array([[[[1, 2, 3, 4], [5, 6, 7, 8]]]])
    w = np.array([[[[1, 10, 100], [1_000, 10_000, 100_000]]]])
    assert values(oracle.conv(x, w, None, **options(2)), 1, 1, 1, 2) == [765_321, 876_432]
    y = oracle.conv(
        x, w, None, stride=(1, 3), padding=((2, 0), (0, 4)), dilation=(1, 2), groups=1, padding_mode="zeros"
    )
    assert values(y, 1, 1, 3, 2) == [0, 0, 31_000, 4_000, 75_031, 8_004]


# Two groups of 2 input and 3 output channels; output channel o of 1 .. 6 has the weights o and 10 * o
GROUPED_WEIGHT = np.array([[[o], [10 * o]] for o in range(1, 7)])
GROUPED_Y = np.array([[[1], [10], [100], [2], [20], [200]]])


def test_conv_groups() -> None:
    x = np.array([[[1], [2], [3], [4]]])
    y = oracle.conv(x, GROUPED_WEIGHT, [0, 0, 0, 0, 0, 5_000], **options(groups=2))
    assert values(y, 1, 6, 1) == [21, 42, 63, 172, 215, 5_258]
    gx = oracle.transpose_input(GROUPED_WEIGHT, GROUPED_Y, (1,), **options(groups=2))
    assert values(gx, 1, 4, 1) == [321, 3_210, 1_308, 13_080]
    gw = oracle.transpose_weight(x, GROUPED_Y, (1,), **options(groups=2))
    assert values(gw, 6, 2, 1) == [1, 2, 10, 20, 100, 200, 6, 8, 60, 80, 600, 800]


def test_batch_items_stay_apart_forward_and_add_up_in_the_weight() -> None:
    x = np.array([[[1, 2, 3]], [[4, 5, 6]]])
    assert values(oracle.conv(x, line(1, 10), None, **options()), 2, 1, 2) == [21, 32, 54, 65]
    y = np.array([[[1, 10]], [[100, 1_000]]])
    assert values(oracle.transpose_input(line(1, 5), y, (3,), **options()), 2, 1, 3) == [
        *(1, 15, 50),
        *(100, 1_500, 5_000),
    ]
    assert values(oracle.transpose_weight(x, y, (2,), **options())) == [
        1 + 20 + 400 + 5_000,
        2 + 30 + 500 + 6_000,
    ]


def test_transposes_take_fewer_positions_than_the_forward_pass_has() -> None:
    assert values(oracle.transpose_input(line(1, 10, 100), line(1, 2), (5,), **options())) == [
        1,
        12,
        120,
        200,
        0,
    ]
    assert values(oracle.transpose_weight(line(1, 2, 3, 4, 5), line(1, 100), (3,), **options())) == [
        201,
        302,
        403,
    ]


def test_grad_bias() -> None:
    gy = np.array([[[1, 2], [3, 4], [5, 6]], [[10, 20], [30, 40], [50, 60]]])
    assert values(oracle.grad_bias(gy), 3) == [33, 77, 121]
    assert values(oracle.grad_bias(gy[..., 0]), 3) == [11, 33, 55]
    assert values(oracle.grad_bias(np.zeros((0, 3, 2), dtype=np.int64)), 3) == [0, 0, 0]


# By hand: the transposed convolution


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, [1, 12, 120, 200]),
        ({"stride": 2}, [1, 10, 102, 20, 200]),
        ({"stride": 3, "output_padding": 1}, [1, 10, 100, 2, 20, 200, 0]),
        ({"stride": 2, "padding": (1, 0)}, [10, 102, 20, 200]),
        ({"stride": 2, "padding": (1, 2)}, [10, 102]),
        ({"stride": 2, "padding": (0, 1), "output_padding": 1}, [1, 10, 102, 20, 200]),
        ({"stride": 2, "padding": (-1, -2)}, [0, 1, 10, 102, 20, 200, 0, 0]),
        ({"dilation": 2}, [1, 2, 10, 20, 100, 200]),
        ({"dilation": 3, "output_padding": 2}, [1, 2, 0, 10, 20, 0, 100, 200, 0, 0]),  # beyond the stride
        ({"dilation": 3, "output_padding": 4, "padding": (1, 2)}, [2, 0, 10, 20, 0, 100, 200, 0, 0]),
        ({"padding": (2, 2)}, []),
        ({"padding": (2, 3)}, []),
    ],
)
def test_conv_transpose_in_one_dimension(chosen: dict[str, Any], expected: list[int]) -> None:
    chosen = transposed_options(**chosen)
    assert values(oracle.conv_transpose(line(1, 2), line(1, 10, 100), None, **chosen)) == expected
    with_bias = oracle.conv_transpose(line(1, 2), line(1, 10, 100), [7_000], **chosen)
    assert values(with_bias) == [7_000 + value for value in expected]


def test_conv_transpose_groups() -> None:
    x = oracle.conv_transpose(GROUPED_Y, GROUPED_WEIGHT, [0, 0, 0, 50_000], **transposed_options(groups=2))
    assert values(x, 1, 4, 1) == [321, 3_210, 1_308, 63_080]


# The edges: no spatial axis, nothing at all, and every kind of number


def test_no_spatial_axes_is_the_matrix_product_of_each_group() -> None:
    x = np.array([[1, 2, 3, 4], [10, 20, 30, 40]])
    w = GROUPED_WEIGHT[..., 0]
    y = oracle.conv(x, w, None, **options(0, groups=2))
    assert values(y, 2, 6) == [21, 42, 63, 172, 215, 258, 210, 420, 630, 1_720, 2_150, 2_580]
    gy = GROUPED_Y[..., 0]
    assert values(oracle.transpose_input(w, gy, (), **options(0, groups=2)), 1, 4) == [
        321,
        3_210,
        1_308,
        13_080,
    ]
    assert values(oracle.transpose_weight(x[:1], gy, (), **options(0, groups=2)), 6, 2) == [
        *(1, 2, 10, 20, 100, 200),
        *(6, 8, 60, 80, 600, 800),
    ]
    transposed = oracle.conv_transpose(gy, w, None, **transposed_options(0, groups=2))
    assert values(transposed, 1, 4) == [321, 3_210, 1_308, 13_080]


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "y_shape"),
    [
        ((0, 2, 5), (3, 2, 4), (0, 3, 2)),
        ((2, 0, 5), (3, 0, 4), (2, 3, 2)),
        ((2, 3, 5), (0, 3, 4), (2, 0, 2)),
        ((2, 3, 4), (6, 3, 5), (2, 6, 0)),
        ((2, 3, 0), (4, 3, 5), (2, 4, 0)),
        ((2, 3, 7, 4), (6, 3, 2, 5), (2, 6, 6, 0)),
    ],
)
def test_empty_sums_are_zero_and_empty_results_have_their_shape(
    x_shape: tuple[int, ...], w_shape: tuple[int, ...], y_shape: tuple[int, ...]
) -> None:
    x, w, y = (np.ones(shape, dtype=np.int64) for shape in (x_shape, w_shape, y_shape))
    d = len(x_shape) - 2
    bias = np.arange(10, 10 + w_shape[0])
    expected = np.broadcast_to(bias.reshape(-1, *(1,) * d), y_shape)
    assert_same(oracle.conv(x, w, bias, **options(d)), expected)
    assert_same(oracle.transpose_input(w, y, x_shape[2:], **options(d)), np.zeros(x_shape))
    assert_same(oracle.transpose_weight(x, y, w_shape[2:], **options(d)), np.zeros(w_shape))


def test_padding_alone_makes_positions_and_an_empty_y_still_makes_a_result() -> None:
    y = oracle.conv(np.ones((1, 1, 0)), line(1, 10), [7], **options(padding=(1, 3)))
    assert values(y) == [7, 7, 7]
    x = oracle.conv_transpose(np.ones((1, 1, 0)), line(1, 10, 100), [7], **transposed_options(output_padding=2))
    assert values(x) == [7, 7, 7, 7]  # (0 - 1) * 1 + 3 + 2


def test_narrow_entries_do_not_wrap() -> None:
    x, w = np.array([[[200, 100]]], dtype=np.uint8), np.array([[[250, 3]]], dtype=np.uint8)
    assert values(oracle.conv(x, w, np.array([255], dtype=np.uint8), **options())) == [50_555]
    assert values(oracle.transpose_input(w, x, (3,), **options())) == [50_000, 25_600, 300]
    assert values(oracle.transpose_weight(x, x, (1,), **options())) == [50_000]
    assert values(oracle.conv_transpose(x, w, None, **transposed_options())) == [50_000, 25_600, 300]
    assert values(oracle.grad_bias(x), 1) == [300]
    big = np.array([[[2**62, 2**62]]])
    assert values(oracle.conv(big, 4 * np.ones((1, 1, 2), dtype=np.int64), None, **options())) == [2**65]


def test_fractions_stay_fractions_and_complex_is_not_conjugated() -> None:
    third = line(Fraction(1, 3), Fraction(1, 7))
    assert values(oracle.conv(third, third, [Fraction(1, 2)], **options())) == [
        Fraction(1, 2) + Fraction(1, 9) + Fraction(1, 49)
    ]
    x, w, y = line(1j, 2), line(3, 1 + 1j), line(2j)
    assert values(oracle.conv(x, w, None, **options())) == [2 + 5j]
    assert values(oracle.transpose_input(w, y, (2,), **options())) == [6j, -2 + 2j]
    assert values(oracle.transpose_weight(x, y, (2,), **options())) == [-2, 4j]
    assert values(oracle.conv_transpose(y, w, None, **transposed_options())) == [6j, -2 + 2j]


def test_nothing_is_skipped_because_it_is_zero() -> None:
    y = values(oracle.conv(line(1.0, 2.0), line(math.inf, 1.0), None, **options(padding=(1, 0))))
    assert math.isnan(y[0])  # inf times the zero of the padding
    assert y[1] == math.inf
    y = values(oracle.conv(line(1.0, math.nan, 2.0, 3.0), line(0.0, 5.0), None, **options()))
    assert [math.isnan(value) for value in y] == [True, True, False]
    gy = line(math.inf, 1.0)
    gw = values(oracle.transpose_weight(line(1.0, 2.0), gy, (2,), **options(padding=(1, 0))))
    assert math.isnan(gw[0])  # inf times the zero of the padding
    assert gw[1] == math.inf
    gx = values(oracle.transpose_input(line(0.0, 5.0), gy, (3,), **options()))
    assert math.isnan(gx[0])
    assert gx[1:] == [math.inf, 5.0]


@pytest.mark.parametrize(
    ("shapes", "chosen", "message"),
    [
        (((2, 4, 5), (6, 3, 1), (2, 6, 5)), {}, "input channels differ"),
        (((2, 4, 5), (6, 4, 1), (2, 6, 5)), {"groups": 2}, "input channels differ"),
        (((2, 4, 5), (6, 4, 1), (3, 6, 5)), {}, "batch sizes differ"),
        (((2, 4, 5), (6, 4, 1), (2, 3, 5)), {}, "output channels differ"),
        (((2, 4, 5), (3, 2, 1), (2, 3, 5)), {"groups": 2}, "3 output channels do not split into 2 groups"),
        (((2, 4, 5), (6, 4, 3), (2, 6, 4)), {}, "too many positions"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    shapes: tuple[tuple[int, ...], ...], chosen: dict[str, Any], message: str
) -> None:
    with pytest.raises(AssertionError, match=message):
        next(oracle.products(*shapes, **options(**chosen)))


def test_other_arguments_that_do_not_fit_are_refused() -> None:
    with pytest.raises(AssertionError, match="2 bias entries for 1 channels"):
        oracle.conv(line(1, 2), line(1), [1, 2], **options())
    with pytest.raises(AssertionError, match="channels differ"):
        oracle.conv_transpose(np.ones((1, 2, 3)), np.ones((3, 2, 1)), None, **transposed_options())
    with pytest.raises(AssertionError, match="3 channels do not split into 2 groups"):
        oracle.conv_transpose(np.ones((1, 3, 4)), np.ones((3, 2, 1)), None, **transposed_options(groups=2))
    with pytest.raises(ValueError, match="shorter"):
        oracle.conv(line(1, 2), line(1), None, **options(d=0))
