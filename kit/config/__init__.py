"""The config: the schema of the YAML, and loading.

Reads: ``configs/*.yaml``.
Writes: nothing; ``config_yaml`` returns text.

    base.py         Section, Component, names
    columns.py      columns of tables, for `model.tabular` and `model.auxiliary`
    competition.py  the sections `competition` and `submission`
    teaching.py     sections of `train`: teachers, pseudo-labels, label errors
    experiment.py   all other sections, and Config
    load.py         YAML -> Config: bases, overrides, all mistakes at once
    reference.py    the tables of configs/README.md, generated from the schema
"""

from kit.config.base import Component, Name, Section, at_epoch, check_name
from kit.config.columns import AuxiliaryConfig, ColumnConfig
from kit.config.competition import (
    CodesConfig,
    CompetitionConfig,
    LabeledSource,
    NearConfig,
    PoolConfig,
    SubmissionConfig,
    TestSource,
    VocConfig,
)
from kit.config.experiment import (
    AugmentConfig,
    CheckpointConfig,
    Config,
    FoldsConfig,
    ImageConfig,
    ModelConfig,
    NeighborsConfig,
    PredictConfig,
    TrainConfig,
)
from kit.config.teaching import LabelErrorsConfig, PseudoLabelsConfig, TeacherConfig

__all__ = [
    "AugmentConfig",
    "AuxiliaryConfig",
    "CheckpointConfig",
    "CodesConfig",
    "ColumnConfig",
    "CompetitionConfig",
    "Component",
    "Config",
    "FoldsConfig",
    "ImageConfig",
    "LabelErrorsConfig",
    "LabeledSource",
    "ModelConfig",
    "Name",
    "NearConfig",
    "NeighborsConfig",
    "PoolConfig",
    "PredictConfig",
    "PseudoLabelsConfig",
    "Section",
    "SubmissionConfig",
    "TeacherConfig",
    "TestSource",
    "TrainConfig",
    "VocConfig",
    "at_epoch",
    "check_name",
]
