"""The schema of the YAML."""

from kit.config.base import Component, Name, Section, check_name
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
    Config,
    FoldsConfig,
    ImageConfig,
    ModelConfig,
    PredictConfig,
    ScheduleConfig,
    TrainConfig,
)

__all__ = [
    "AugmentConfig",
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
    "ScheduleConfig",
    "Section",
    "SubmissionConfig",
    "TestSource",
    "TrainConfig",
    "Voc",
    "VocConfig",
    "check_name",
]
