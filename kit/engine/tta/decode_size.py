"""Choose the size at which images are decoded: no larger than training and prediction need."""

from __future__ import annotations

import math
from collections.abc import Sequence

from kit.config import AugmentConfig, Component, Config
from kit.engine.augment.pipelines import smallest_crop
from kit.engine.models.preprocessing import Preprocessing
from kit.engine.tta.views import CenterSource, ModelInput, view_images_of

NARROWEST = 3 / 4  # smallest aspect ratio of random crops


def side_needed(config: Config, own: Preprocessing, views: Sequence[Component] = ()) -> int | None:
    """Return the length of the shorter side to decode to; None: full size.

    ``auto``: the smallest size at which no crop is upsampled because of decoding. A custom pipeline or a
    random view needs the full size.

    Args:
        views: TTA views beside the plain image.
    """
    if config.image.decode_size == "full":
        return None
    if config.image.decode_size != "auto":
        return config.image.decode_size
    training = _training_side(config.augment, own)
    sources = [
        view_image.source
        for view in views
        for view_image in view_images_of(view, ModelInput(own.predicting, own.crop))
    ]
    if training is None or not all(isinstance(source, CenterSource) for source in sources):
        return None
    centers = [CenterSource(own.predicting, own.crop), *(s for s in sources if isinstance(s, CenterSource))]
    return max(training, *(math.ceil(center.size / center.crop) for center in centers))


def _training_side(augment: AugmentConfig, own: Preprocessing) -> int | None:
    """Return the shorter side at which the smallest, narrowest crop has the training size."""
    if augment.pipeline is not None:
        return None
    share = smallest_crop(augment.preset)
    side_share = own.crop if share == 1 else math.sqrt(share * NARROWEST)
    return math.ceil(max(own.training) / side_share)
