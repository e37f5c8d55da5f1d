"""All models as one union: a model is one file, one word here, and one YAML."""

from typing import Annotated

from pydantic import Field
from torch import nn

from clickflow.data.schema import Schema
from clickflow.models.base import BaseConfig
from clickflow.models.deepfm import DeepFMConfig
from clickflow.models.dien import DIENConfig
from clickflow.models.din import DINConfig
from clickflow.models.lr import LRConfig
from clickflow.models.pnn import PNNConfig
from clickflow.models.wide_deep import WideDeepConfig

ModelConfig = Annotated[
    LRConfig | WideDeepConfig | PNNConfig | DeepFMConfig | BaseConfig | DINConfig | DIENConfig, Field(discriminator="name")
]


def build_model(config: ModelConfig, schema: Schema) -> nn.Module:
    """Build the model that a config describes, for the fields of a data set."""
    return config.build(schema)
