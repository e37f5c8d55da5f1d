"""Which batches a fit trains on and which an evaluation scores."""

from clickflow.data.dataset import BatchLoader, PreparedDataset
from clickflow.training.config import TrainerConfig

# Forward passes hold no gradients, so four times the rows fit and the fixed cost of a batch is paid less often.
EVALUATION_BATCH_FACTOR = 4


def loaders(
    dataset: PreparedDataset, config: TrainerConfig, seed: int, *, draws_negatives: bool = False
) -> tuple[BatchLoader, BatchLoader]:
    """Loaders of the train and the validation split; only the train split's may draw a negative for each behaviour."""
    train = BatchLoader(
        dataset.split("train"),
        batch_size=config.batch_size,
        max_history=config.max_history,
        seed=seed,
        draws_negatives=draws_negatives,
    )
    return train, evaluation_loader(dataset, "validation", config)


def evaluation_loader(dataset: PreparedDataset, split: str, config: TrainerConfig) -> BatchLoader:
    """Loader of a split in its own order."""
    batch_size = EVALUATION_BATCH_FACTOR * config.batch_size
    return BatchLoader(dataset.split(split), batch_size=batch_size, max_history=config.max_history)
