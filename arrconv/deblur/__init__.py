"""Undoing a known blur: kernels, what a camera with one sees of a scene, and the ways back."""

from arrconv.deblur.kernels import gaussian, motion, read_kernel
from arrconv.deblur.recovery import METHODS, Recovery, recover

__all__ = ["METHODS", "Recovery", "gaussian", "motion", "read_kernel", "recover"]
