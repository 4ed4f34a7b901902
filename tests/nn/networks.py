"""Networks that several tests use, in arrconv and in PyTorch."""

from __future__ import annotations

from typing import Any

from arrconv.nn import (
    BatchNorm2d,
    Conv2d,
    GroupNorm,
    MaxPool2d,
    ReLU,
    Sequential,
    Sigmoid,
    Skip,
    Upsampling,
)


def denoiser(widths: tuple[int, int, int] = (3, 64, 256)) -> Sequential:
    """Two strided convolutions down, two transposed ones up."""
    a, b, c = widths
    return Sequential(
        Conv2d(a, b, 2, stride=2), ReLU(), Conv2d(b, c, 2, stride=2), ReLU(),
        Upsampling(c, b, 2), ReLU(), Upsampling(b, a, 2), Sigmoid(),
    )  # fmt: skip


def torch_denoiser(torch: Any, widths: tuple[int, int, int] = (3, 64, 256)) -> Any:
    """The same in PyTorch."""
    nn = torch.nn
    a, b, c = widths
    return nn.Sequential(
        nn.Conv2d(a, b, 2, stride=2), nn.ReLU(), nn.Conv2d(b, c, 2, stride=2), nn.ReLU(),
        nn.ConvTranspose2d(c, b, 2, stride=2), nn.ReLU(), nn.ConvTranspose2d(b, a, 2, stride=2), nn.Sigmoid(),
    )  # fmt: skip


def block(channels: int, features: int) -> Sequential:
    return Sequential(Conv2d(channels, features, 3, padding=1), BatchNorm2d(features), ReLU())


def unet() -> Sequential:
    """Two levels, concatenated; a nesting of values."""
    lowest = Sequential(MaxPool2d(2), block(6, 8), Upsampling(8, 6, 2))
    middle = Sequential(MaxPool2d(2), block(4, 6), Skip(lowest), block(12, 6), Upsampling(6, 4, 2))
    return Sequential(block(3, 4), Skip(middle), block(8, 4), GroupNorm(2, 4), Conv2d(4, 3, 1))


def torch_unet(torch: Any) -> Any:
    """The same in PyTorch, which has no layer for a skip connection."""
    nn = torch.nn

    class TorchSkip(nn.Module):
        def __init__(self, inner: Any) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Any) -> Any:
            return torch.cat([self.inner(x), x], dim=1)

    def torch_block(channels: int, features: int) -> Any:
        return nn.Sequential(nn.Conv2d(channels, features, 3, padding=1), nn.BatchNorm2d(features), nn.ReLU())

    lowest = nn.Sequential(nn.MaxPool2d(2), torch_block(6, 8), nn.ConvTranspose2d(8, 6, 2, stride=2))
    middle = nn.Sequential(
        nn.MaxPool2d(2), torch_block(4, 6), TorchSkip(lowest), torch_block(12, 6), nn.ConvTranspose2d(6, 4, 2, stride=2)
    )
    return nn.Sequential(
        torch_block(3, 4), TorchSkip(middle), torch_block(8, 4), nn.GroupNorm(2, 4), nn.Conv2d(4, 3, 1)
    )
