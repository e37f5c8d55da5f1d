"""Config of a scoring: the table, the model, and where the scores go."""

from typing import Annotated

from pydantic import Field

from clickflow.config import Contradictions, FilePath, Home, Names, StrictConfig
from clickflow.data.schema import HISTORY, ITEM, TIMESTAMP, USER
from clickflow.data.sources.dialect import Dialect
from clickflow.serving.config import BehavioursConfig
from clickflow.tracking.config import ModelUri, TrackingConfig

Name = Annotated[str, Field(min_length=1)]


class ColumnsConfig(StrictConfig):
    """The input's names for what the model reads."""

    item: Name = ITEM
    """Column of the item to score, and of the items in ``candidates``."""
    history: Name = HISTORY
    """Column of the items of the user's behaviours, oldest first."""
    user: Name = USER
    """Column of the user whose behaviours make the history, where ``behaviours.path`` is set."""
    timestamp: Name = TIMESTAMP
    """Column of the moment that all behaviours of a history precede, where ``behaviours.path`` is set."""
    fields: dict[str, Name] = {}
    """Field of the model -> its column, for user and context fields whose column has another name."""


class PredictConfig(Dialect):
    """Score the rows of a table, or the best candidates for each of its users."""

    model: ModelUri
    """URI of a model: ``models:/m-…``, ``models:/name/3`` or ``models:/name@champion``."""
    input: FilePath
    """Parquet or CSV: a file, a glob, or a folder, with one row per score or, with ``candidates``, per user."""
    output: FilePath
    """Parquet file to write."""
    columns: ColumnsConfig = ColumnsConfig()
    behaviours: BehavioursConfig = BehavioursConfig()
    """The table that histories are made from; without a ``path`` each row brings its history."""
    history_separator: Annotated[str, Field(min_length=1)] = " "
    """Between the ids of a history in a CSV."""
    keep: Names | None = None
    """Columns of the input that go into the output; null: all but the history."""
    overwrite: bool = False
    """Replace an output that is there already."""
    candidates: FilePath | None = None
    """Parquet or CSV with the items to choose from; null: each row of the input names its item."""
    top_k: Annotated[int, Field(gt=0)] | None = None
    """Number of best candidates for each user."""
    exclude_history: bool = False
    """Leave out the candidates that are in the user's history."""
    home: Home
    tracking: TrackingConfig

    def _contradictions(self) -> Contradictions:
        yield from super()._contradictions()
        if self.candidates is not None and self.top_k is None:
            yield "top_k", "= null: required where candidates is set; set how many of them each user gets, as in top_k=10"
        if self.candidates is None and self.top_k is not None:
            yield "candidates", "= null: required where top_k is set; name the table with the items to choose from"
        if self.candidates is None and self.exclude_history:
            yield "exclude_history", "= true: only candidates can be left out; set candidates and top_k"
        if self.output.suffix != ".parquet":
            yield "output", f"= {self.output}: must end with .parquet, which is what is written"
        if self.output.resolve() == self.input.resolve():
            yield "output", f"= {self.output}: is the input too; name another file"
