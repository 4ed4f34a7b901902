"""Proximal gradients against coordinate descent, and the convex functions they are given against their conjugates."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import array_api_strict
import numpy as np
import pytest

from arrconv import DTypeError, ShapeError, SpecError
from arrconv.linop import Conv, Diagonal, Matrix
from arrconv.linop.solve import L1, Box, NonNegative, Step, TotalVariation, fista, landweber, objective

if TYPE_CHECKING:
    from collections.abc import Callable

DTYPES = ("float64", "complex128")
SINGLE = ("float32", "complex64")


def normal(*shape: int, dtype: str = "float64", seed: int = 0) -> Any:
    rng = np.random.default_rng((seed, *shape))
    real = rng.standard_normal(shape)
    return (real + 1j * rng.standard_normal(shape) if dtype.startswith("complex") else real).astype(dtype)


def shrunk(z: Any, size: float) -> Any:
    """Each of the complex numbers nearer to 0 by a size."""
    return np.maximum(np.abs(z) - size, 0) * np.exp(1j * np.angle(z))


def descent(a: Any, b: Any, prox: Callable[[Any, float], Any], sweeps: int = 500) -> Any:
    """The x with the least ½‖A x − b‖² + Σ g(x), coordinate by coordinate, for right-hand sides (N, rows)."""
    x = np.zeros((len(b), a.shape[1]), np.result_type(a, b))
    r = b.copy()
    for _ in range(sweeps):
        for j, column in enumerate(a.T):
            size = np.vdot(column, column).real
            new = prox(x[:, j] + r @ column.conj() / size, 1 / size)
            r = r - (new - x[:, j])[:, None] * column
            x[:, j] = new
    return x


CASES: dict[str, Any] = {
    "L1": (L1(0.8), lambda z, step: np.sign(z) * np.maximum(np.abs(z) - 0.8 * step, 0)),
    "box": (Box(-0.1, 0.3), lambda z, _: np.clip(z, -0.1, 0.3)),
    "not negative": (NonNegative(), lambda z, _: np.maximum(z, 0)),
    "nothing": (None, lambda z, _: z),
}


@pytest.mark.parametrize("solver", [fista, landweber])
@pytest.mark.parametrize("name", CASES)
def test_small_problems_agree_with_coordinate_descent(name: str, solver: Any) -> None:
    """Within the norm of a subgradient over the least eigenvalue of A.H A, as strong convexity has it."""
    a, b = normal(12, 5), normal(2, 3, 12, seed=1)
    proximal, prox = CASES[name]
    found = solver(Matrix(a), b, proximal=proximal, rtol=1e-12)
    expected = descent(a, b.reshape(6, 12), prox)
    assert found.is_converged.all()
    assert found.message == f"converged after {found.iterations} iterations"
    distances = np.linalg.norm(found.x - expected.reshape(2, 3, 5), axis=2)
    assert (distances <= found.norms[-1] / np.linalg.svd(a)[1][-1] ** 2 + 1e-14).all()
    if name != "nothing":
        assert np.abs(expected - descent(a, b.reshape(6, 12), lambda z, _: z)).max() > 0.1  # it matters
    again = solver(Matrix(a), b, proximal=proximal, x0=found.x, rtol=1e-11)
    assert again.iterations == 0


def test_sparse_complex_solutions_of_a_wide_system() -> None:
    a, b = normal(5, 9, dtype="complex128"), normal(2, 5, dtype="complex128", seed=1)
    found = fista(Matrix(a), b, proximal=L1(2.0), rtol=1e-12, iterations=3000)
    assert found.is_converged.all()
    assert np.abs(found.x - descent(a, b, lambda z, step: shrunk(z, 2.0 * step))).max() <= 1e-10
    slope = (a.conj().T @ (a @ found.x.T - b.T)).T
    is_zero = found.x == 0
    assert 0 < is_zero.sum() < is_zero.size
    assert np.abs(slope[is_zero]).max() <= 2.0
    assert np.abs(slope + 2.0 * np.exp(1j * np.angle(found.x)))[~is_zero].max() <= 1e-11


def test_without_a_function_the_solution_is_that_of_least_squares_and_least_norm() -> None:
    a, b = normal(8, 3) @ normal(3, 6), normal(8, seed=1)
    expected = np.linalg.pinv(a, rcond=1e-10) @ b
    for proximal in (None, L1(0.0), TotalVariation(0.0, 1)):
        found = fista(Matrix(a), b, proximal=proximal, rtol=1e-13)
        assert np.abs(found.x - expected).max() <= 1e-11


@pytest.mark.parametrize("solver", [fista, landweber])
def test_norms_and_objectives_are_what_they_are_said_to_be(solver: Any) -> None:
    a, b, penalty = normal(12, 7), normal(2, 12, seed=1), L1(0.8)
    steps: list[Step] = []
    found = solver(Matrix(a), b, proximal=penalty, callback=steps.append)
    values = []
    for step in steps:
        x = step.x
        slope = (x @ a.T - b) @ a
        least = np.where(x == 0, np.maximum(np.abs(slope) - 0.8, 0), np.abs(slope + 0.8 * np.sign(x)))
        assert (step.norms >= np.linalg.norm(least, axis=1) - 1e-12).all()  # of the least of all subgradients
        values.append(objective(Matrix(a), b, x, penalty))
        expected = ((x @ a.T - b) ** 2).sum(1) / 2 + 0.8 * np.abs(x).sum(1)
        assert np.abs(values[-1] - expected).max() <= 1e-13 * expected.max()
    assert (values[0] > values[-1]).all()
    assert np.array_equal(found.norms[1:], [step.norms for step in steps])
    plain: list[Step] = []
    solver(Matrix(a), b, callback=plain.append)
    for step in plain:
        assert step.norms == pytest.approx(np.linalg.norm((step.x @ a.T - b) @ a, axis=1), abs=1e-11)


def test_landweber_nears_the_solution_in_each_step_and_fista_sooner() -> None:
    a, b = normal(12, 9) * np.logspace(0, -1, 9), normal(2, 12, seed=1)
    step = 1.9 / np.linalg.norm(a, 2) ** 2
    exact = descent(a, b, lambda z, _: np.maximum(z, 0))
    steps: list[Step] = []
    slow = landweber(Matrix(a), b, proximal=NonNegative(), step=step, callback=steps.append)
    distances = np.asarray([np.linalg.norm(step.x - exact, axis=1) for step in steps])
    assert (np.diff(distances, axis=0) <= 1e-14).all()
    fast = fista(Matrix(a), b, proximal=NonNegative())
    assert fast.is_converged.all()
    assert 3 * fast.iterations < slow.iterations


def test_momentum_is_dropped_for_each_side_on_its_own() -> None:
    d = np.asarray([1.0, 0.05, 0.3])
    b = np.asarray([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    both = fista(Diagonal(d), b, step=1.0, rtol=1e-10)
    for side, norms in zip(b, both.norms.T, strict=True):
        alone = fista(Diagonal(d), side, step=1.0, rtol=1e-10)
        assert alone.is_converged
        assert np.abs(alone.norms - norms[: alone.iterations + 1]).max() <= 1e-14
    assert both.iterations < 400  # without restarts it is 1,000 and more


@pytest.mark.parametrize(
    "operator",
    [Conv(normal(3, 2, 3), (7,), padding=1), Matrix(normal(9, 6)), Matrix(np.zeros((4, 3)))],
    ids=["with a bound", "without", "zero"],
)
def test_the_step_is_found_where_none_is_given(operator: Any) -> None:
    found = landweber(operator, normal(*operator.shape_out), iterations=20)
    assert (np.diff(found.norms) <= 0).all()
    matrix = operator.to_matrix()
    x = found.x.reshape(-1)
    norm = np.linalg.norm(matrix, 2)
    given = landweber(operator, normal(*operator.shape_out), iterations=20, step=1 / norm**2 if norm else 1.0)
    assert np.linalg.norm(x - given.x.reshape(-1)) <= 0.2 * np.linalg.norm(x)


def variation(x: Any, ndim: int) -> Any:
    """Isotropic, of each of (N, *shape), by NumPy alone."""
    axes = range(x.ndim - ndim, x.ndim)
    squares = sum(np.abs(np.diff(x, axis=axis, append=x.take([-1], axis))) ** 2 for axis in axes)
    return np.sqrt(squares).reshape(len(x), -1).sum(1)


def inner(u: Any, v: Any) -> Any:
    """Re ⟨u, v⟩ of each of (N, *shape)."""
    return (u.conj() * v).real.reshape(len(u), -1).sum(1)


@pytest.mark.parametrize("step", [0.5, 2.0])
@pytest.mark.parametrize("dtype", DTYPES)
def test_shrinkage_and_its_conjugate_add_up(dtype: str, step: float) -> None:
    """Moreau: with z = prox(x), u = (x − z)/step, g(z) + g*(u) = ⟨z, u⟩; here g* is 0 where no |u| exceeds 0.7."""
    x = normal(2, 3, 5, dtype=dtype)
    z = L1(0.7).prox(x, step)
    u = (x - z) / step
    assert np.abs(u).max() <= 0.7 * (1 + 1e-14)
    assert L1(0.7).value(z) == pytest.approx(inner(z, u), rel=1e-13)
    assert L1(0.7).value(z) == pytest.approx(0.7 * np.abs(z).reshape(2, -1).sum(1), rel=1e-14)


@pytest.mark.parametrize("step", [0.5, 2.0])
@pytest.mark.parametrize(("proximal", "low", "high"), [(Box(-0.3, 0.4), -0.3, 0.4), (NonNegative(), 0.0, np.inf)])
def test_projection_and_its_conjugate_add_up(proximal: Any, low: float, high: float, step: float) -> None:
    """The conjugate of a box is Σ max(low·u, high·u)."""
    x = normal(2, 3, 5)
    z = proximal.prox(x, step)
    u = (x - z) / step
    support = np.where(u > 0, high * np.maximum(u, 0) if np.isfinite(high) else np.inf, low * u)
    assert np.where(u == 0, 0, support).reshape(2, -1).sum(1) == pytest.approx(inner(z, u), abs=1e-14)
    assert np.array_equal(proximal.value(z), [0, 0])
    assert np.array_equal(proximal.value(np.stack([z[0], x[1]])), [0, np.inf])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "ndim"), [((2, 9), 1), ((2, 5, 4), 2), ((3, 4, 2), 3)])
def test_total_variation_and_its_conjugate_add_up(shape: tuple[int, ...], ndim: int, dtype: str) -> None:
    """Its conjugate is 0 where ⟨v, u⟩ ≤ g(v) for all v."""
    x, penalty = normal(2, *shape, dtype=dtype), TotalVariation(0.4, ndim, iterations=3000, rtol=1e-11)
    assert penalty.value(x) == pytest.approx(0.4 * variation(x, ndim), rel=1e-14)
    z = penalty.prox(x, 1.5)
    u = (x - z) / 1.5
    assert penalty.value(z) == pytest.approx(inner(z, u), rel=1e-8)
    assert penalty.value(z).min() > 0
    v = np.concatenate([x, z - x, normal(50, *shape, dtype=dtype, seed=2)])
    v = np.concatenate([v, np.round(v.real), v.imag])
    sides = np.concatenate([u, u, *[u[i % 2 : i % 2 + 1] for i in range(50)]] * 3)
    assert (inner(v, sides) <= penalty.value(v) * (1 + 1e-8) + 1e-12).all()


def test_total_variation_of_a_signal_agrees_with_coordinate_descent() -> None:
    """Of the dual problem: x − D.H p, with no |p| above the weight."""
    x = normal(3, 8)
    steps = np.diff(np.eye(8), axis=0)
    p = descent(steps.T, x, lambda z, _: np.clip(z, -0.6, 0.6))
    found = TotalVariation(0.3, 1, iterations=2000, rtol=1e-12).prox(x, 2.0)
    assert np.abs(found - (x - p @ steps)).max() <= 1e-10
    ramp = np.linspace(0, 1, 5)[None, :]
    assert np.abs(TotalVariation(9.0, 1, rtol=1e-10).prox(ramp, 1.0) - 0.5).max() <= 1e-9  # flat


def test_edges_are_restored() -> None:
    """A blurred step: total variation has it back, where plain least squares has noise."""
    x = np.where(np.arange(30) < 13, 0.0, 1.0)
    operator = Conv(np.ones(5) / 5, (30,), padding=2)
    b = operator @ x + 0.02 * normal(30)
    found = fista(operator, b, proximal=TotalVariation(0.02, 1), iterations=40)
    plain = fista(operator, b)
    assert np.linalg.norm(found.x - x) < 0.3 * np.linalg.norm(plain.x - x)


@pytest.mark.parametrize(
    ("proximal", "dtype"),
    [
        *((proximal, dtype) for proximal in (L1(0.1), TotalVariation(0.1, 1, 4)) for dtype in (*SINGLE, *DTYPES)),
        *((Box(0.0, 0.5), dtype) for dtype in ("float32", "float64")),
    ],
)
def test_any_library_device_and_dtype(proximal: Any, dtype: str) -> None:
    xp, device = array_api_strict, array_api_strict.Device("device1")
    w, b = normal(2, 3, 3, dtype=dtype), normal(2, 2, 6, dtype=dtype)
    made = partial(xp.asarray, device=device)
    there = Conv(made(w), (6,), padding=1)
    found = fista(there, made(b), proximal=proximal, iterations=3, check=2)
    assert found.x.device == device
    assert found.x.dtype == getattr(xp, dtype)
    here = Conv(w, (6,), padding=1)
    expected = fista(here, b, proximal=proximal, iterations=3)
    cpu = xp.Device("CPU_DEVICE")
    unit = 100 * float(np.finfo(dtype).eps)
    assert np.abs(np.asarray(xp.asarray(found.x, device=cpu)) - expected.x).max() <= unit * np.abs(expected.x).max()
    value = objective(there, made(b), found.x, proximal)
    assert value.dtype == found.norms.dtype
    assert np.asarray(xp.asarray(value, device=cpu)) == pytest.approx(
        objective(here, b, expected.x, proximal), rel=unit
    )


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda a, b: fista(a, b, step=0), SpecError, "step must be above 0"),
        (lambda a, b: fista(a, b, momentum=1), TypeError, r"fista\(\) got an unexpected keyword argument 'momentum'"),
        (lambda a, b: landweber(a, b, damp=1), TypeError, r"landweber\(\) got an unexpected keyword argument 'damp'"),
        (lambda a, _: fista(a, np.ones(2)), ShapeError, r"b has shape \(2,\), but Diagonal"),
        (lambda a, b: objective(a, b, np.ones(4)), ShapeError, r"x0 has shape \(4,\), but \(3,\) is sought"),
        (lambda _, b: fista(Diagonal(b * np.nan), b), SpecError, "not finite, and no norm"),
        (lambda *_: L1(-1), SpecError, "weight must not be negative, but got -1"),
        (lambda *_: Box(2, 1), SpecError, "low=2 must not exceed high=1"),
        (
            lambda *_: NonNegative().prox(np.ones((1, 2), complex), 1.0),
            DTypeError,
            "real numbers, but got dtype comple",
        ),
        (lambda *_: TotalVariation(1.0, 0), SpecError, "ndim must be at least 1"),
        (lambda *_: TotalVariation(1.0, 2).value(np.ones((1, 2))), SpecError, "ndim must be from 1 to 1, but got 2"),
        (lambda *_: TotalVariation(-1.0, 1), SpecError, "weight must not be negative"),
    ],
)
def test_what_does_not_fit_is_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(Diagonal(np.ones(3)), np.ones(3))
