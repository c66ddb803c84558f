"""NCSNv2 as its paper's blocks are written down: what `networks.py` compares the package's network with.

Contiguous tensors, `MaxPool2d(5)`, `InstanceNorm2d`, a mean of four shifted images, an interpolation of every input of
a fusion; nothing is fused, nothing is in place.  Parameters have the same names as those of `NCSNv2Model`.
Source: Song & Ermon 2020, appendix B.1, and Lin et al. 2017 for the refinement blocks.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PlainInstanceNormPlus(nn.Module):
    """InstanceNorm++: instance normalisation, plus the channel's mean relative to the other channels'."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.instance_norm = nn.InstanceNorm2d(features)
        self.alpha = nn.Parameter(torch.ones(features))
        self.gamma = nn.Parameter(torch.ones(features))
        self.beta = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)` to the same shape."""
        means = x.mean(dim=(2, 3))
        relative = (means - means.mean(dim=1, keepdim=True)) / torch.sqrt(means.var(dim=1, keepdim=True) + 1e-5)
        h = self.instance_norm(x) + (relative * self.alpha)[:, :, None, None]
        return self.gamma.view(-1, 1, 1) * h + self.beta.view(-1, 1, 1)


class PlainConvMeanPool(nn.Module):
    """A convolution, then the mean of 2x2 pixels."""

    def __init__(self, channels_in: int, channels_out: int, kernel_size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel_size, padding=kernel_size // 2)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)` to `(B, C', H / 2, W / 2)`."""
        h = self.conv(x)
        return (h[:, :, ::2, ::2] + h[:, :, 1::2, ::2] + h[:, :, ::2, 1::2] + h[:, :, 1::2, 1::2]) / 4


class PlainResidualBlock(nn.Module):
    """Norm, ELU, convolution, twice, beside a shortcut."""

    def __init__(self, channels_in: int, channels_out: int, dilation: int, halves: bool, changes: bool) -> None:
        super().__init__()
        self.normalize1 = PlainInstanceNormPlus(channels_in)
        self.normalize2 = PlainInstanceNormPlus(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels_in, 3, padding=dilation, dilation=dilation)
        if halves:
            self.conv2 = PlainConvMeanPool(channels_in, channels_out, 3)
            self.shortcut = PlainConvMeanPool(channels_in, channels_out, 1)
        else:
            self.conv2 = nn.Conv2d(channels_in, channels_out, 3, padding=dilation, dilation=dilation)
            if changes:
                self.shortcut = nn.Conv2d(channels_in, channels_out, 3, padding=dilation, dilation=dilation)
        self.changes = changes

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)` to the block's width and size."""
        h = self.conv1(F.elu(self.normalize1(x)))
        h = self.conv2(F.elu(self.normalize2(h)))
        return (self.shortcut(x) if self.changes else x) + h


class PlainResidualConvUnits(nn.Module):
    """Units of ELU and convolution, twice, beside the identity."""

    def __init__(self, features: int, num_units: int) -> None:
        super().__init__()
        self.num_units = num_units
        for i in range(1, num_units + 1):
            for j in (1, 2):
                self.add_module(f"{i}_{j}_conv", nn.Conv2d(features, features, 3, padding=1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)` to the same shape."""
        for i in range(1, self.num_units + 1):
            residual = x
            for j in (1, 2):
                x = getattr(self, f"{i}_{j}_conv")(F.elu(x))
            x = x + residual
        return x


class PlainFusion(nn.Module):
    """A convolution of every input, interpolated to one size, summed."""

    def __init__(self, channels_in: list[int], features: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(channels, features, 3, padding=1) for channels in channels_in)

    def forward(self, inputs: list[Tensor], size: torch.Size) -> Tensor:
        """Inputs `(B, C_i, H_i, W_i)` to `(B, C', *size)`."""
        maps = (conv(x) for conv, x in zip(self.convs, inputs, strict=True))
        return sum(F.interpolate(h, size=size, mode="bilinear", align_corners=True) for h in maps)


class PlainPooling(nn.Module):
    """Chained residual pooling: 5x5 maximum and convolution, twice."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(5, stride=1, padding=2)
        self.convs = nn.ModuleList(nn.Conv2d(features, features, 3, padding=1, bias=False) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)` to the same shape."""
        x = F.elu(x)
        path = x
        for conv in self.convs:
            path = conv(self.pool(path))
            x = x + path
        return x


class PlainRefineBlock(nn.Module):
    """Adapts each input, fuses, pools, and adapts the result."""

    def __init__(self, channels_in: list[int], features: int, last: bool) -> None:
        super().__init__()
        self.adapt_convs = nn.ModuleList(PlainResidualConvUnits(channels, 2) for channels in channels_in)
        self.msf = PlainFusion(channels_in, features) if len(channels_in) > 1 else None
        self.crp = PlainPooling(features)
        self.output_convs = PlainResidualConvUnits(features, 3 if last else 1)

    def forward(self, inputs: list[Tensor], size: torch.Size) -> Tensor:
        """Inputs `(B, C_i, H_i, W_i)` to `(B, C', *size)`."""
        adapted = [adapt(x) for adapt, x in zip(self.adapt_convs, inputs, strict=True)]
        h = adapted[0] if self.msf is None else self.msf(adapted, size)
        return self.output_convs(self.crp(h))


class PlainNCSNv2(nn.Module):
    """NCSNv2 for images of up to 32 pixels: four stages and four refinements, divided by sigma."""

    def __init__(self, in_channels: int, base_channels: int) -> None:
        super().__init__()
        narrow, wide = base_channels, 2 * base_channels

        def stage(channels_in: int, channels_out: int, dilation: int, halves: bool, changes: bool) -> nn.Sequential:
            return nn.Sequential(
                PlainResidualBlock(channels_in, channels_out, dilation, halves, changes),
                PlainResidualBlock(channels_out, channels_out, dilation, False, False),
            )

        self.begin_conv = nn.Conv2d(in_channels, narrow, 3, padding=1)
        self.res1 = stage(narrow, narrow, 1, False, False)
        self.res2 = stage(narrow, wide, 1, True, True)
        self.res3 = stage(wide, wide, 2, False, True)
        self.res4 = stage(wide, wide, 4, False, True)
        self.refine1 = PlainRefineBlock([wide], wide, False)
        self.refine2 = PlainRefineBlock([wide, wide], wide, False)
        self.refine3 = PlainRefineBlock([wide, wide], narrow, False)
        self.refine4 = PlainRefineBlock([narrow, narrow], narrow, True)
        self.normalizer = PlainInstanceNormPlus(narrow)
        self.end_conv = nn.Conv2d(narrow, in_channels, 3, padding=1)

    def forward(self, sample: Tensor, sigma: Tensor) -> Tensor:
        """The score at images `(B, C, H, W)`, data in [0, 1], noised by sigma, `(B,)`."""
        h1 = self.res1(self.begin_conv(2 * sample - 1))
        h2 = self.res2(h1)
        h3 = self.res3(h2)
        h4 = self.res4(h3)
        h = self.refine1([h4], h4.shape[2:])
        h = self.refine2([h3, h], h3.shape[2:])
        h = self.refine3([h2, h], h2.shape[2:])
        h = self.refine4([h1, h], h1.shape[2:])
        h = self.end_conv(F.elu(self.normalizer(h)))
        return h / sigma.view(-1, 1, 1, 1)
