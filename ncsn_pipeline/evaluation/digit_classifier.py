"""A small convolutional classifier of handwritten digits, in whose last hidden layer sets of digits are compared.

A Frechet distance compares two sets of images by the mean and covariance of the features that a network gives them.
For photographs that network is Inception; it has never seen a digit, so digits get a network of their own:

    28x28 -> 4 x 14x14 (space to depth) -> 32 -> 48 x 7x7 -> 64 -> 64 -> 64 x 4x4 -> 64 features -> 10 logits
"""

import torch
from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from torch import Tensor, nn

# Mean and standard deviation of MNIST's training pixels in [0, 1].
PIXEL_MEAN, PIXEL_STD = 0.1307, 0.3081


def convolution(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    """3x3 convolution, batch normalisation, ReLU: `(B, in, H, W)` to `(B, out, H / stride, W / stride)`."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class DigitClassifier(ModelMixin, ConfigMixin):
    """Grey 28x28 images to class logits and to the features before them.

    `save_pretrained(folder)` writes `config.json` and a safetensors file, `from_pretrained(folder)` reads them.

    Args:
        num_classes: number of classes, at least 2.
        num_features: width of the last hidden layer.
    """

    config_name = "config.json"

    @register_to_config
    def __init__(self, num_classes: int = 10, num_features: int = 64) -> None:
        super().__init__()
        self.num_features = num_features
        self.trunk = nn.Sequential(
            nn.PixelUnshuffle(2),
            convolution(4, 32),
            convolution(32, 48, stride=2),
            convolution(48, 64),
            convolution(64, 64),
            nn.MaxPool2d(2, ceil_mode=True),
            nn.Flatten(),
            nn.Linear(64 * 4 * 4, num_features, bias=False),
            nn.BatchNorm1d(num_features),
            nn.ReLU(),
        )
        self.head = nn.Linear(num_features, num_classes)

    def features(self, images: Tensor) -> Tensor:
        """The last hidden layer, `(B, num_features)`, not negative.

        Args:
            images: `(B, 1, 28, 28)` in [0, 1].

        Raises:
            ValueError: for images of another shape.
        """
        if images.ndim != 4 or images.shape[1:] != (1, 28, 28):
            raise ValueError(
                f"DigitClassifier takes grey images of shape (B, 1, 28, 28); got {tuple(images.shape)}. Resize them."
            )
        # Convolutions on a CPU are a third faster with the channels innermost.
        images = images.to(memory_format=torch.channels_last)
        return self.trunk((images - PIXEL_MEAN) / PIXEL_STD)

    def forward(self, images: Tensor) -> Tensor:
        """Class logits, `(B, num_classes)`; `images` as in :meth:`features`."""
        return self.head(self.features(images))
