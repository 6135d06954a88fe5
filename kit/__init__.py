"""Image-classification competitions, from a folder of images to a checked submission.

Every verb of the command line is a function: ``import kit; kit.run("configs/leaves.yaml")``.
"""

import importlib
import sys
from types import ModuleType
from typing import Any

__version__ = "0.1.0"
HOMES = {
    "auto": "kit.auto",
    "quickstart": "kit.quickstart",
    "sweep": "kit.sweep",
}  # verbs that run other verbs
__all__ = [
    "augment",
    "auto",
    "bench",
    "blend",
    "bundle",
    "check",
    "clean",
    "compare",
    "components",
    "correct",
    "dry_run",
    "evaluate",
    "explain",
    "folds",
    "init",
    "inspect",
    "kaggle_download",
    "kaggle_submit",
    "leaderboard",
    "pool_crops",
    "predict",
    "predict_images",
    "probe",
    "quickstart",
    "record",
    "resubmit",
    "run",
    "status",
    "submit",
    "sweep",
    "train",
    "tta_ablation",
]


def load_displays() -> None:
    """Load what results show in a notebook, which takes seconds."""
    importlib.import_module("kit.pipeline.display")


class _Kit(ModuleType):
    """The module ``kit``: verbs load on first use; ``kit.folds`` is the verb, not the package."""

    def __getattr__(self, name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module 'kit' has no attribute '{name}'")
        verb = getattr(importlib.import_module(HOMES.get(name, "kit.pipeline")), name)
        if "IPython" not in sys.modules:
            return verb
        from kit.runtime.notebook_progress import is_notebook, with_progress

        return with_progress(verb) if is_notebook() else verb

    def __setattr__(self, name: str, value: object) -> None:
        if not (isinstance(value, ModuleType) and name in __all__):  # as importing a submodule does
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})


sys.modules[__name__].__class__ = _Kit
