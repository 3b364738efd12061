"""Convolutions whose kernels lie side by side, stride and kernel equal: matrix products of whole blocks.

They compute what `nn.Conv2d` and `nn.ConvTranspose2d` do, and have the same weights. As products they are several times
faster on a CPU, above all in the second derivatives that a gradient penalty needs.
"""

from __future__ import annotations

from torch import Tensor, nn


class BlockConv2d(nn.Conv2d):
    """[N, C, H, W] -> [N, O, H/h, W/w] with kernel and stride (h, w), which divide H and W."""

    def __init__(self, channels: int, out_channels: int, kernel: tuple[int, int]) -> None:
        super().__init__(channels, out_channels, kernel, stride=kernel)

    def forward(self, input: Tensor) -> Tensor:
        height, width = self.kernel_size
        blocks = input.unflatten(3, (-1, width)).unflatten(2, (-1, height))  # [N, C, H/h, h, W/w, w]
        blocks = blocks.permute(0, 2, 4, 1, 3, 5).flatten(3)  # [N, H/h, W/w, C h w]
        return nn.functional.linear(blocks, self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


class BlockConvTranspose2d(nn.ConvTranspose2d):
    """[N, C, H, W] -> [N, O, H h, W w] with kernel and stride (h, w)."""

    def __init__(self, channels: int, out_channels: int, kernel: tuple[int, int]) -> None:
        super().__init__(channels, out_channels, kernel, stride=kernel)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        height, width = self.kernel_size
        kernel = self.weight.permute(2, 3, 1, 0).flatten(0, 2)  # [h w O, C]
        bias = None if self.bias is None else self.bias.repeat(height * width)
        blocks = nn.functional.linear(input.permute(0, 2, 3, 1), kernel, bias)  # [N, H, W, h w O]
        blocks = blocks.unflatten(3, (height, width, -1)).permute(0, 5, 1, 3, 2, 4)  # [N, O, H, h, W, w]
        return blocks.flatten(4, 5).flatten(2, 3)
