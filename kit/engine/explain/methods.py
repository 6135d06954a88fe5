"""The methods that explain a prediction."""

from kit.engine.explain import grad_cam, occlusion  # noqa: F401 - they register themselves
from kit.engine.explain.registry import Explainer, explainers, scaled

__all__ = ["Explainer", "explainers", "scaled"]
