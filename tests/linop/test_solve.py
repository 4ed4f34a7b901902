"""Iterative solvers against dense solutions: batches, complex numbers, damping, any rank, and why they stop."""

from __future__ import annotations

from functools import cache
from typing import Any

import array_api_strict
import numpy as np
import pytest

from arrconv import DTypeError, ShapeError, SpecError
from arrconv.linop import CircularConv, Conv, Diagonal, Identity, Matrix, Operator, pinv, tikhonov
from arrconv.linop.solve import Step, cg, cgls, fista, lsmr, lsqr

DTYPES = ("float64", "complex128")
LEAST = {"cgls": cgls, "lsqr": lsqr, "lsmr": lsmr}


def normal(*shape: int, dtype: str, seed: int = 0) -> Any:
    rng = np.random.default_rng((seed, *shape))
    real = rng.standard_normal(shape)
    return (real + 1j * rng.standard_normal(shape) if dtype.startswith("complex") else real).astype(dtype)


OPERATORS: dict[str, Any] = {
    "tall": lambda t: Conv(normal(3, 2, 3, 2, dtype=t), (4, 5), padding=1),
    "wide": lambda t: Conv(normal(2, 3, 3, dtype=t), (8,)),
    "rank-deficient": lambda t: CircularConv(np.concatenate([normal(1, 3, 3, dtype=t)] * 2), (6,)),
    "no channels": lambda t: CircularConv(normal(3, dtype=t), (7,)),
    "one number": lambda t: Diagonal(normal(1, dtype=t)),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("damp", [0.0, 0.7])
@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("solver", LEAST)
def test_least_squares_of_any_shape_and_rank(solver: str, name: str, damp: float, dtype: str) -> None:
    operator = OPERATORS[name](dtype)
    a = operator.to_matrix()
    b = normal(2, 3, *operator.shape_out, dtype=dtype, seed=1)
    found = LEAST[solver](operator, b, damp=damp, rtol=1e-13)
    both = np.concatenate([a, damp * np.eye(a.shape[1])])
    sides = np.concatenate([b.reshape(6, -1), np.zeros((6, a.shape[1]))], axis=1)
    expected = (np.linalg.pinv(both, rcond=1e-12) @ sides.T).T.reshape(2, 3, *operator.shape_in)
    assert np.abs(found.x - expected).max() <= 1e-10 * np.abs(expected).max()
    assert found.is_converged.all()
    assert found.is_converged.shape == (2, 3)
    assert found.norms.shape == (found.iterations + 1, 2, 3)
    assert found.message == f"converged after {found.iterations} iterations"
    assert found.iterations <= 1.5 * operator.size_in + 5
    residual = operator.H @ (b - operator @ found.x) - damp**2 * found.x
    sizes = np.linalg.norm(residual.reshape(2, 3, -1), axis=2)
    assert (sizes <= 1e-12 * found.norms[0]).all()


@cache
def near_identity(dtype: str, mode: Any) -> Operator:
    """A convolution of two channels to three that is near one of them for each."""
    w = 0.05 * normal(3, 2, 3, 3, dtype=dtype)
    w[[0, 1], [0, 1], 1, 1] = 1.0
    return Conv(w, (5, 6), padding=1, padding_mode=mode)


@cache
def guide(damp: float, dtype: str) -> Operator:
    """(A.H A + damp²)⁻¹ of the circular convolution beside that with zeros around."""
    circular = near_identity(dtype, "circular")
    if not damp:
        return pinv(circular) @ pinv(circular).H
    return (Identity(circular.shape_in, circular.example) - tikhonov(circular, damp) @ circular) / damp**2


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("damp", [0.0, 0.7])
@pytest.mark.parametrize("solver", LEAST)
def test_a_preconditioner_saves_iterations_and_changes_nothing_else(solver: str, damp: float, dtype: str) -> None:
    operator = near_identity(dtype, "zeros")
    b = normal(2, *operator.shape_out, dtype=dtype)
    plain = LEAST[solver](operator, b, damp=damp, rtol=1e-13)
    guided = LEAST[solver](operator, b, damp=damp, rtol=1e-13, preconditioner=guide(damp, dtype))
    assert guided.is_converged.all()
    assert guided.iterations < plain.iterations
    assert np.abs(guided.x - plain.x).max() <= 1e-10 * np.abs(plain.x).max()


@pytest.mark.parametrize("is_guided", [False, True])
@pytest.mark.parametrize("begins", ["at 0", "elsewhere"])
@pytest.mark.parametrize("damp", [0.0, 0.7])
@pytest.mark.parametrize("solver", LEAST)
def test_norms_are_what_they_are_said_to_be(solver: str, damp: float, begins: str, is_guided: bool) -> None:
    operator = near_identity("complex128", "zeros")
    b = normal(*operator.shape_out, dtype="complex128")
    x0 = None if begins == "at 0" else normal(*operator.shape_in, dtype="complex128")
    near = guide(damp, "complex128") if is_guided else None
    weights = guide(damp, "complex128").to_matrix() if is_guided and solver != "cgls" else np.eye(operator.size_in)

    def norm(x: Any) -> Any:
        s = np.ravel(operator.H @ (b - operator @ x) - damp**2 * x)
        return np.sqrt(np.vdot(s, weights @ s).real)

    steps: list[Step] = []
    found = LEAST[solver](operator, b, damp=damp, x0=x0, preconditioner=near, callback=steps.append)
    zero = np.zeros(operator.shape_in, complex)
    expected = [norm(zero if x0 is None else x0), *(norm(step.x) for step in steps)]
    assert np.abs(found.norms - expected).max() <= 1e-12 * expected[0]
    assert found.is_converged
    for share in (0.999, 1.001):  # of the limit, which is relative to the norm for x = 0
        rtol = share * expected[0] / norm(zero)
        looked = LEAST[solver](operator, b, damp=damp, x0=x0, preconditioner=near, rtol=rtol, iterations=0)
        assert looked.is_converged == (share > 1)


@pytest.mark.parametrize("solver", LEAST)
def test_one_that_is_done_stays_as_it_is(solver: str) -> None:
    """After its one iteration, bidiagonalisation of what is left would be one of rounding errors."""
    left, right = (np.linalg.qr(normal(n, n, dtype="float64"))[0] for n in (40, 30))
    values = np.where(np.arange(30) < 20, np.logspace(0, -1, 30), 0.0)
    operator = Matrix((left[:, :30] * values) @ right.T)
    b = np.stack([left[:, 0] + 3 * left[:, 25], normal(40, dtype="float64")])
    steps: list[Step] = []
    found = LEAST[solver](operator, b, rtol=1e-12, callback=steps.append)
    assert found.iterations > 15
    assert all(np.array_equal(step.x[0], steps[0].x[0]) for step in steps)
    assert np.abs(found.x[0] - right[:, 0]).max() <= 1e-13
    assert np.abs(found.x[1] - np.linalg.pinv(operator.matrix, rcond=1e-10) @ b[1]).max() <= 1e-10


def test_norms_of_lsmr_never_grow() -> None:
    operator = OPERATORS["tall"]("float64")
    found = lsmr(operator, normal(*operator.shape_out, dtype="float64"), rtol=1e-12)
    assert (np.diff(found.norms) <= 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("is_guided", [False, True])
def test_conjugate_gradients_solve_definite_systems(is_guided: bool, dtype: str) -> None:
    conv = OPERATORS["tall"](dtype)
    operator = conv.gram() + 0.5 * Identity(conv.shape_in, conv.example)
    b = normal(4, *conv.shape_in, dtype=dtype)
    near = Diagonal(1 / np.diag(operator.to_matrix()).reshape(conv.shape_in)) if is_guided else None
    found = cg(operator, b, rtol=1e-12, preconditioner=near)
    expected = np.linalg.solve(operator.to_matrix(), b.reshape(4, -1).T).T.reshape(b.shape)
    assert np.abs(found.x - expected).max() <= 1e-10 * np.abs(expected).max()
    assert found.is_converged.all()
    again = cg(operator, b, x0=found.x, rtol=1e-10)
    assert again.iterations == 0
    assert np.array_equal(again.x, found.x)


def test_a_good_preconditioner_saves_iterations() -> None:
    """The circular inverse, for a convolution with zeros around that is near the identity."""
    w = 0.05 * normal(2, 2, 3, 3, dtype="float64")
    w[[0, 1], [0, 1], 1, 1] = 1.0
    zeros, circular = (Conv(w, (16, 16), padding=1, padding_mode=mode) for mode in ("zeros", "circular"))
    b = normal(2, 16, 16, dtype="float64")
    plain = cg(zeros.gram(), b, rtol=1e-10)
    guide = pinv(circular)
    guided = cg(zeros.gram(), b, rtol=1e-10, preconditioner=guide @ guide.H)
    assert guided.iterations < plain.iterations
    assert np.allclose(guided.x, plain.x, rtol=0, atol=1e-8)


@pytest.mark.parametrize("solver", [cg, cgls, lsqr, lsmr, fista])
def test_why_it_stopped(solver: Any) -> None:
    operator: Operator = Diagonal(np.linspace(1, 100, 50))
    b = np.ones(50)
    found = solver(operator, b, iterations=3)
    assert found.message == "stopped after 3 iterations, the most that were allowed"
    assert not found.is_converged
    steps: list[Step] = []
    found = solver(operator, b, callback=lambda step: steps.append(step) or step.iteration == 4)
    assert found.message == "the callback stopped it after 4 iterations"
    assert [step.iteration for step in steps] == [1, 2, 3, 4]
    assert steps[-1].x.shape == (50,)
    assert np.array_equal(steps[-1].norms, found.norms[4])
    found = solver(operator, b, check=7, rtol=1e-6)
    assert found.iterations % 7 == 0
    assert found.is_converged
    found = solver(operator, 0 * b)
    assert found.message == "converged after 0 iterations"
    assert not found.x.any()
    found = solver(operator, np.where(np.arange(50) == 3, np.nan, b))
    assert "a norm is not finite any more" in found.message
    assert solver(operator, b, iterations=0).iterations == 0
    assert solver(operator, np.zeros((0, 50))).x.shape == (0, 50)


def test_an_indefinite_system_is_named() -> None:
    found = cg(Diagonal(np.asarray([1.0, -1.0])), np.asarray([1.0, 2.0]))
    assert found.message == "stopped after 0 iterations: the operator is not positive definite"
    assert not found.is_converged


@pytest.mark.parametrize("solver", [cg, cgls, lsqr, lsmr])
def test_any_library_and_device(solver: Any) -> None:
    device = array_api_strict.Device("device1")
    d = array_api_strict.asarray([1.0, 2.0, 4.0], device=device)
    found = solver(Diagonal(d), array_api_strict.ones(3, device=device), rtol=1e-12)
    assert found.x.device == device
    assert float(array_api_strict.max(array_api_strict.abs(d * found.x - 1.0))) <= 1e-12


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
@pytest.mark.parametrize("solver", LEAST)
def test_any_library_and_device_with_all_options(solver: str, dtype: str) -> None:
    xp, device = array_api_strict, array_api_strict.Device("device1")
    d = xp.asarray([1.0, 2.0, 4.0], dtype=getattr(xp, dtype), device=device)
    near = Diagonal(1 / (d * d + 1.5))
    b = xp.ones((2, 3), dtype=d.dtype, device=device)
    found = LEAST[solver](Diagonal(d), b, damp=1.0, x0=2 * b, preconditioner=near, rtol=1e-5, check=2)
    assert bool(xp.all(found.is_converged))
    assert (found.x.dtype, found.x.device) == (d.dtype, device)
    assert float(xp.max(xp.abs(found.x - d / (d * d + 1)))) <= 1e-5


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda _: cg(Conv(np.ones(2), (3,)), np.ones(2)), ShapeError, "does not give what it takes"),
        (lambda a: cgls(a, np.ones(4)), ShapeError, r"b has shape \(4,\), but Diagonal"),
        (lambda a: cgls(a, np.ones(3), x0=np.ones(2)), ShapeError, r"x0 has shape \(2,\), but \(3,\) is sought"),
        (lambda a: lsmr(a, np.ones(3), damp=-1), SpecError, "damp must not be negative"),
        (lambda a: cg(a, np.ones(3, np.float32)), DTypeError, "b has dtype float32, but the operator has float64"),
        (lambda a: cg(a, np.ones(3), preconditioner=Diagonal(np.ones(2))), ShapeError, "does not take and give what"),
        (lambda a: lsqr(a, np.ones(3), preconditioner=Diagonal(np.ones(2))), ShapeError, "does not take and give what"),
        (lambda a: cgls(a, np.ones(3), x0=np.ones(3, np.float32)), DTypeError, "x0 has float32"),
        (
            lambda a: lsqr(a, np.ones(3), dam=1),
            TypeError,
            r"lsqr\(\) got an unexpected keyword argument 'dam'; .* damp",
        ),
        (lambda a: cg(a, np.ones(3), damp=1), TypeError, r"cg\(\) got an unexpected keyword argument 'damp'"),
        (lambda a: cg(a, np.ones(3), rtol=-1), SpecError, "rtol must not be negative"),
        (lambda a: cg(a, np.ones(3), iterations=-1), SpecError, "iterations must be at least 0"),
        (lambda a: cg(a, np.ones(3), check=0), SpecError, "check must be at least 1"),
    ],
)
def test_what_does_not_fit_is_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(Diagonal(np.ones(3)))
