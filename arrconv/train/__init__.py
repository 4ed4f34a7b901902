"""Training: optimisers and schedules."""

from arrconv.train.optimiser import SGD, Adam, AdamW, Optimiser, clip_gradients
from arrconv.train.schedule import Constant, Cosine, Schedule, StepDecay

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Constant",
    "Cosine",
    "Optimiser",
    "Schedule",
    "StepDecay",
    "clip_gradients",
]
