"""Loaders of the batches of a fit and of an evaluation."""

from clickflow.data.dataset import BatchLoader, PreparedDataset
from clickflow.training.config import TrainerConfig

# Forward passes alone keep no activations for gradients, so four times as many rows fit, and fewer batches pay their fixed cost.
EVALUATION_BATCH_FACTOR = 4


def loaders(
    dataset: PreparedDataset, config: TrainerConfig, seed: int, *, draws_negatives: bool = False
) -> tuple[BatchLoader, BatchLoader]:
    """Loaders of the train and the validation split; only that of train may draw one negative per behaviour."""
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
