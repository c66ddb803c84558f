"""A small convolutional classifier of pictures, in whose last hidden layer two sets of them are compared.

A Frechet distance compares two sets of images by the mean and covariance of the features that a network gives them.
For photographs that network is Inception; it has never seen a digit, an avatar or a garment, so these get a network of
their own, here for 28x28 pixels:

    28x28 -> 4 x 14x14 (space to depth) -> 32 -> 48 x 7x7 -> 64 -> 64 -> 64 x 4x4 -> 64 features -> 10 logits
"""

import torch
from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from torch import Tensor, nn


def convolution(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    """3x3 convolution, batch normalisation, ReLU: `(B, in, H, W)` to `(B, out, H / stride, W / stride)`."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class ImageClassifier(ModelMixin, ConfigMixin):
    """Pictures `(B, C, H, W)` to class logits and to the features before them.

    `save_pretrained(folder)` writes `config.json` and a safetensors file, `from_pretrained(folder)` reads them.

    Args:
        num_classes: number of classes, at least 2.
        num_features: width of the last hidden layer.
        in_channels: C.
        sample_size: H = W, an even number of pixels, at least 8.
        margin: pixels at each side that are empty in the pictures it was trained on.
        pixel_mean, pixel_std: of these pictures, in [0, 1].
        dataset: their name.

    Raises:
        ValueError: for values outside these ranges.
    """

    config_name = "config.json"

    @register_to_config
    def __init__(
        self,
        num_classes: int = 10,
        num_features: int = 64,
        in_channels: int = 1,
        sample_size: int = 28,
        margin: int = 0,
        pixel_mean: float = 0.5,
        pixel_std: float = 0.5,
        dataset: str | None = None,
    ) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"num_classes must be at least 2; got {num_classes}.")
        if sample_size < 8 or sample_size % 2:
            raise ValueError(f"sample_size must be even and at least 8; got {sample_size}.")
        self.num_features = num_features
        side = -(-sample_size // 8)  # halved three times, the last two rounded up
        self.trunk = nn.Sequential(
            nn.PixelUnshuffle(2),
            convolution(4 * in_channels, 32),
            convolution(32, 48, stride=2),
            convolution(48, 64),
            convolution(64, 64),
            nn.MaxPool2d(2, ceil_mode=True),
            nn.Flatten(),
            nn.Linear(64 * side**2, num_features, bias=False),
            nn.BatchNorm1d(num_features),
            nn.ReLU(),
        )
        self.head = nn.Linear(num_features, num_classes)

    def features(self, images: Tensor) -> Tensor:
        """The last hidden layer, `(B, num_features)`, not negative.

        Args:
            images: `(B, C, H, W)` in [0, 1].

        Raises:
            ValueError: for images of another shape.
        """
        config = self.config
        shape = (config.in_channels, config.sample_size, config.sample_size)
        if images.ndim != 4 or images.shape[1:] != shape:
            raise ValueError(
                f"This classifier takes images of shape (B, {', '.join(map(str, shape))}); got "
                f"{tuple(images.shape)}. Resize them."
            )
        # Convolutions on a CPU are a third faster with the channels innermost.
        images = images.to(memory_format=torch.channels_last)
        return self.trunk((images - config.pixel_mean) / config.pixel_std)

    def forward(self, images: Tensor) -> Tensor:
        """Class logits, `(B, num_classes)`; `images` as in :meth:`features`."""
        return self.head(self.features(images))
