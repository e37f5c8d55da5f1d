"""All sources as one union: a source is one file, one word here, and one YAML."""

from typing import Annotated

from pydantic import Field

from clickflow.data.sources.amazon import AmazonConfig
from clickflow.data.sources.log import LogConfig
from clickflow.data.sources.movielens import MovieLensConfig
from clickflow.data.sources.synthetic import SyntheticConfig

DataConfig = Annotated[SyntheticConfig | MovieLensConfig | AmazonConfig | LogConfig, Field(discriminator="source")]
