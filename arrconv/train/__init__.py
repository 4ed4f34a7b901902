"""Training: optimisers and schedules, pictures to learn from, the loop and its checkpoints."""

from arrconv.train.checkpoint import Progress, load_weights, save_weights
from arrconv.train.leaves import dead_leaves
from arrconv.train.loop import NotFiniteError, Report, fit
from arrconv.train.measure import evaluate, psnr
from arrconv.train.optimiser import SGD, Adam, AdamW, Optimiser, clip_gradients
from arrconv.train.pairs import FreshPairs, Gaussian, Noise, Pairs, Poisson
from arrconv.train.pictures import crops
from arrconv.train.schedule import Constant, Cosine, Schedule, StepDecay

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Constant",
    "Cosine",
    "FreshPairs",
    "Gaussian",
    "Noise",
    "NotFiniteError",
    "Optimiser",
    "Pairs",
    "Poisson",
    "Progress",
    "Report",
    "Schedule",
    "StepDecay",
    "clip_gradients",
    "crops",
    "dead_leaves",
    "evaluate",
    "fit",
    "load_weights",
    "psnr",
    "save_weights",
]
