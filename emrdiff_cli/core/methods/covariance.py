"""The covariance that kriging takes for granted: its sills, ranges and nuggets, and the colour kernel's scales."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Covariance:
    """The prior of a channel's residual; settled on CAVE's train scenes and the sample.

    Sills and nuggets are variances, in units of the channel's variance in the LR-HSI; a range is the sigma of a
    Gaussian of the distance on the ground, in LR pixels. The residual is the sum of

    - a process of colour and ground: `colour_sill`, `colour_range`, times the colour kernel;
    - slopes on the MSI's unit axes: the likeliest (sill, range) of `slopes` for a scene, and
      `common_slope_sill` for those that a block has in common;
    - a process of the ground alone: `ground_sill`, `ground_range`; and one of the spectrum's shape, in the same
      range, which is multiplied by the MSI's relative brightness of both pixels: `shape_sill`;
    - a nugget: the likeliest of `nuggets` for each channel, times `nugget_inflation`, since the covariance is not
      quite the scene's. It is noise of the LR-HSI or texture of the HR scene; back-projection returns the latter's
      share, and all of a nugget of `exact_nugget` or less.

    The colour kernel is an RBF of `length_scale` standard deviations along the axes of the bands' roots, in
    which those of the neighbourhood weigh `neighbourhood_weight`, in a share `neighbourhood_share` of it: the
    rest asks for the pixel's own colour alone. A neighbourhood is a Gaussian mean of `neighbourhood_range`. It
    is multiplied by (brightness / mean + `dark_level`)^`brightness_power` of both pixels.
    `python -m tests.benchmarks.covariance` varies each of these.
    """

    colour_sill: float = 0.4
    colour_range: float = 5.0
    slopes: tuple[tuple[float, float], ...] = ((0.003, 2.0), (0.03, 4.0), (0.1, 8.0))
    common_slope_sill: float = 0.14
    ground_sill: float = 0.03
    ground_range: float = 2.0
    shape_sill: float = 0.0
    nuggets: tuple[float, ...] = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
    nugget_inflation: float = 2.0
    exact_nugget: float = 1e-3
    length_scale: float = 1.6
    neighbourhood_weight: float = 0.5
    neighbourhood_share: float = 1.0
    neighbourhood_range: float = 0.25
    brightness_power: float = 0.25
    dark_level: float = 0.1


USUAL = Covariance()
