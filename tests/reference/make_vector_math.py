"""Prints the polynomials of worker/vector_math.h: least-maximum fits by Lawson's iteration.

Needs: numpy, mpmath. Usage: python make_vector_math.py
"""
import mpmath
import numpy as np


def fit(values, weights, degree, points, rounds=60):
    """Coefficients, lowest first, whose largest weighted error is as small as can be."""
    powers = np.vander(points, degree + 1, increasing=True)
    lawson = np.ones(len(points))
    for _ in range(rounds):
        scale = weights * np.sqrt(lawson)
        coefficients, *_ = np.linalg.lstsq(powers * scale[:, None], values * scale, rcond=None)
        error = np.abs((powers @ coefficients - values) * weights)
        lawson *= error / error.max() + 1e-3
        lawson /= lawson.mean()
    return coefficients, error.max()


def chebyshev(low, high, n):
    return (low + high) / 2 + (high - low) / 2 * np.cos(np.pi * (np.arange(n) + 0.5) / n)


def exponential():
    """e^r = 1 + r + r^2 p(r) on |r| <= ln 2 / 2."""
    r = chebyshev(-np.log(2) / 2 * 1.001, np.log(2) / 2 * 1.001, 4000)
    return fit((np.expm1(r) - r) / r**2, r**2, 4, r)


def normal_tail():
    """erfc(z) e^(z^2) = t p(t) with t = 1 / (1 + 0.33 z), for 0 <= z <= 10."""
    t = chebyshev(1 / (1 + 0.33 * 10), 1.0, 400)
    z = (1 / t - 1) / 0.33
    values = np.array([float(mpmath.erfc(v) * mpmath.exp(v * v)) for v in z])
    return fit(values / t, t, 7, t)


for name, (coefficients, error) in (("exp", exponential()), ("tail", normal_tail())):
    print(name, [np.float32(c) for c in coefficients], f"largest error {error:.2g}")
