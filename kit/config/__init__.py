"""The schema of the YAML."""

from kit.config.base import Component, Name, Section, at_epoch, check_name
from kit.config.competition import (
    ClassFolders,
    CompetitionConfig,
    IdLists,
    LabelledSource,
    LabelTable,
    NearConfig,
    SubmissionConfig,
    TestSource,
    Voc,
    VocConfig,
)
from kit.config.experiment import (
    AugmentConfig,
    CheckpointConfig,
    Config,
    FoldsConfig,
    ImageConfig,
    ModelConfig,
    PredictConfig,
    TrainConfig,
)

__all__ = [
    "AugmentConfig",
    "CheckpointConfig",
    "ClassFolders",
    "CompetitionConfig",
    "Component",
    "Config",
    "FoldsConfig",
    "IdLists",
    "ImageConfig",
    "LabelTable",
    "LabelledSource",
    "ModelConfig",
    "Name",
    "NearConfig",
    "PredictConfig",
    "Section",
    "SubmissionConfig",
    "TestSource",
    "TrainConfig",
    "Voc",
    "VocConfig",
    "at_epoch",
    "check_name",
]
