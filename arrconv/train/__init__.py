"""Training: optimisers and schedules, and pictures to learn from."""

from arrconv.train.leaves import dead_leaves
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
    "dead_leaves",
]
