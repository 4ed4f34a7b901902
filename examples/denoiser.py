"""Train a small denoiser on generated pictures, from noisy copies alone, and say how much it helps."""

import numpy as np

from arrconv.nn import Conv2d, ReLU, Sequential, Sigmoid, Upsampling
from arrconv.train import SGD, Gaussian, Pairs, crops, dead_leaves, fit, psnr

pictures = crops(list(dead_leaves(24, 128, seed=1)), 4000, 32, seed=1)
pairs = Pairs.noisy(pictures, Gaussian(0.1), seed=1)  # the targets are noisy copies, too
unseen = crops(list(dead_leaves(4, 128, seed=2)), 200, 32, seed=2)
test = Pairs.noisy(unseen, Gaussian(0.1), seed=2, target="clean")
print(f"noisy: {psnr(test.inputs / 255, test.targets / 255).mean():.2f} dB")
net = Sequential(
    Conv2d(3, 64, 2, stride=2), ReLU(),
    Conv2d(64, 256, 2, stride=2), ReLU(),
    Upsampling(256, 64, 2), ReLU(),
    Upsampling(64, 3, 2), Sigmoid(),
).initialise(np, seed=0)  # fmt: skip
progress = fit(net, SGD(net, lr=10), pairs, epochs=4, validation=test)
for row in progress.history:
    print(f"epoch {row['epoch']:.0f}: {row['psnr']:.2f} dB")
