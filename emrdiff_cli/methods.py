"""The fusion methods by name: what each does and needs, and where the core fits it to a scene."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal


@dataclass(frozen=True)
class Method:
    """A method's record.

    `summary`: a phrase for people. `fit`: the function `fit(scene: SceneToFit) -> Fitted` (core.methods.end_point)
    as "module:name", so that a method's module is imported where the method is used; its return annotation is the
    class of what it returns. None: a model is needed, which names the method of its end point. `subspace`: of
    many bands, the leading components are fused and the rest is upsampled.
    """

    summary: str
    fit: str | None
    subspace: bool = False

    @property
    def needs_model(self) -> bool:
        """Whether the method is a trained model's."""
        return self.fit is None


METHODS: Mapping[str, Method] = {
    "emrdiff": Method("the model's diffusion", None),
    "bicubic": Method("the LR-HSI upsampled", "emrdiff_cli.core.methods.end_point:fit_bicubic"),
    "glp": Method("plus the MSI's detail by one linear map", "emrdiff_cli.core.methods.end_point:fit_glp"),
    "glp-local": Method(
        "plus local slopes", "emrdiff_cli.core.methods.glp_local:fit_glp_local", subspace=True
    ),
    "kriging": Method(
        "area-to-point kriging", "emrdiff_cli.core.methods.kriged_detail:fit_kriging", subspace=True
    ),
}
AUTO = "auto"
"""The model that fits a pair and is better than kriging; where none is, what the pair's own evidence names."""
FAVOURITE = "kriging"
"""What a pair's evidence has to speak against; the one method whose errors have a posterior."""
Effort = Literal["fast", "normal", "thorough"]
"""How much of a pair is looked at for that evidence."""
END_POINTS = tuple(name for name, method in METHODS.items() if not method.needs_model)

if TYPE_CHECKING:
    MethodName = str
    MethodChoice = str
    EndPoint = str
else:  # a type checker knows no Literal that is computed: configurations and options are held to it at run time
    MethodName = Literal[tuple(METHODS)]
    MethodChoice = Literal[(AUTO, *METHODS)]
    EndPoint = Literal[END_POINTS]
