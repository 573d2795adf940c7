"""Convolution with what follows it, for a network that is run and not trained."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

_EVERY = slice(None)


@dataclass(frozen=True)
class Convolution:
    """A layer's weights (out, in / groups, side, side) in one type, channels last, with its leaky rectifier.

    `slope`: of the rectifier on negative values; None: there is none.
    """

    weight: Tensor
    bias: Tensor | None
    stride: int
    groups: int
    slope: float | None = None

    @classmethod
    def of(
        cls,
        layer: nn.Conv2d,
        dtype: torch.dtype,
        slope: float | None = None,
        inputs: slice = _EVERY,
        with_bias: bool = True,
        gain: float = 1.0,
    ) -> Convolution:
        """A layer over its channels `inputs`, times `gain` (above 0, so that a rectifier keeps it)."""
        weight = (gain * layer.weight.detach()[:, inputs]).to(dtype, memory_format=torch.channels_last)
        bias = gain * layer.bias.detach() if layer.bias is not None and with_bias else None
        return cls(weight, None if bias is None else bias.to(dtype), layer.stride[0], layer.groups, slope)

    def __call__(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, H / stride, W / stride), in the weights' type."""
        x = x.to(self.weight.dtype)
        if _fuses(x):
            attr, scalars = ("none", []) if self.slope is None else ("leaky_relu", [self.slope])
            fused: Tensor = torch.ops.mkldnn._convolution_pointwise(
                x, self.weight, self.bias, *self._geometry(), attr, scalars, ""
            )
            return fused
        made = functional.conv2d(x, self.weight, self.bias, self.stride, self._padding, groups=self.groups)
        return made if self.slope is None else functional.leaky_relu(made, self.slope, inplace=True)

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        """The convolution of x, without a rectifier, and `other` (N, out, H / stride, W / stride) added."""
        if _fuses(x):
            summed: Tensor = torch.ops.mkldnn._convolution_pointwise.binary(
                x, other, self.weight, self.bias, *self._geometry(), "add", 1.0, None, [], None
            )
            return summed
        made = functional.conv2d(x, self.weight, self.bias, self.stride, self._padding, groups=self.groups)
        return made.add_(other)

    @property
    def _padding(self) -> int:
        return int(self.weight.shape[-1]) // 2

    def _geometry(self) -> tuple[list[int], list[int], list[int], int]:
        return [self._padding] * 2, [self.stride] * 2, [1, 1], self.groups


def _fuses(x: Tensor) -> bool:
    """Whether oneDNN adds and rectifies as it convolves: what torch's own compiler calls on CPUs.

    It saves a pass over each map, and the copies that 1 x 1 convolutions on one thread make.
    """
    return x.device.type == "cpu" and torch.backends.mkldnn.is_available() and _has_fused()


def _has_fused() -> bool:
    return hasattr(torch.ops.mkldnn, "_convolution_pointwise")
