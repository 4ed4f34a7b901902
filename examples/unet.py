"""A U-Net is a nesting of layers: what is between two Skips is one level lower."""

import numpy as np

from arrconv.nn import Conv2d, MaxPool2d, ReLU, Sequential, Skip, Upsampling


def block(channels: int, features: int) -> Sequential:
    first, second = (Conv2d(n, features, 3, padding=1) for n in (channels, features))
    return Sequential(first, ReLU(), second, ReLU())


bottom = Sequential(MaxPool2d(2), block(32, 64), Upsampling(64, 32, 2))
middle = Sequential(MaxPool2d(2), block(16, 32), Skip(bottom), block(64, 32), Upsampling(32, 16, 2))
net = Sequential(block(3, 16), Skip(middle), block(32, 16), Conv2d(16, 3, 1)).initialise(np, seed=0)
print(net.size, net(np.zeros((1, 3, 64, 48), np.float32)).shape)
