"""Undo a blur in three ways and show them side by side: before, Wiener, Tikhonov, conjugate gradients, sharp."""

import sys
from pathlib import Path

import numpy as np

from arrconv.deblur import motion, recover
from arrconv.deblur.scene import blurred, shown
from arrconv.train.leaves import dead_leaves
from arrconv.train.pictures import pixels
from arrconv.train.sources import write_picture
from arrconv.viz import side_by_side

kernel, scene = motion(15, 30), dead_leaves(1, (155, 172), seed=0)[0] / 255
sharp = pixels(shown(scene, kernel))
noise = 0.01 * np.random.default_rng(0).standard_normal(sharp.shape)
before = pixels(blurred(scene, kernel) + noise)
found = {
    method: pixels(recover(before / 255, kernel, method=method).picture) for method in ("wiener", "tikhonov", "cg")
}
for name, picture in {"before": before, **found}.items():
    error = np.mean((picture / 255 - sharp / 255) ** 2)
    print(f"{name}: {-10 * np.log10(error):.2f} dB")
if len(sys.argv) > 1:
    write_picture(Path(sys.argv[1]), side_by_side([[before, *found.values(), sharp]]))
