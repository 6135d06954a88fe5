"""List what a config can name: every entry of every registry, with one line each."""

from __future__ import annotations

from importlib import import_module

from kit.registry import Registry, unknown_name
from kit.runtime.displayed import Displayed

REGISTRIES = {  # kind -> (module, registry); imported on demand, since most import torch
    "layouts": ("kit.competition.layouts", "layouts"),
    "kinds": ("kit.submission_format.kinds", "submission_kinds"),
    "metrics": ("kit.metrics", "metrics"),
    "libraries": ("kit.engine.models.build", "model_libraries"),
    "models": ("kit.engine.models.small_cnn", "small_models"),
    "heads": ("kit.engine.models.heads", "layers"),
    "classifiers": ("kit.engine.models.classifiers", "classifiers"),
    "presets": ("kit.engine.augment.pipelines", "presets"),
    "fits": ("kit.engine.augment.resizing", "fits"),
    "balances": ("kit.engine.data.sampling", "balances"),
    "losses": ("kit.engine.optim.losses", "losses"),
    "schedules": ("kit.engine.optim.schedules", "schedules"),
    "averages": ("kit.engine.optim.weight_averaging", "averages"),
    "views": ("kit.engine.tta.views", "views"),
    "merges": ("kit.engine.tta.merge", "merges"),
    "explainers": ("kit.engine.explain.methods", "explainers"),
    "steps": ("kit.postprocess.postprocessing", "step_types"),
    "blends": ("kit.ensemble.methods", "blend_methods"),
}


class Components(dict[str, dict[str, str]], Displayed):
    """Kind -> name -> description."""


def components(kind: str | None = None) -> Components:
    """Return kind -> name -> description of everything that a config can name.

    Args:
        kind: Only this kind, such as ``losses``.

    Raises:
        KitError: There is no such kind.
    """
    if kind is not None and kind not in REGISTRIES:
        raise unknown_name("kit components", "kind", kind, REGISTRIES)
    return Components({each: _registry(each).describe() for each in ([kind] if kind else REGISTRIES)})


def _registry(kind: str) -> Registry[object]:
    module, name = REGISTRIES[kind]
    registry: Registry[object] = getattr(import_module(module), name)
    return registry
