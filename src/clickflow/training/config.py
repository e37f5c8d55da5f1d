"""Configs of a training, which import neither torch nor Lightning, so that a wrong config is refused at once."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from clickflow.config import Contradictions, StrictConfig

if TYPE_CHECKING:
    from torch import nn

    from clickflow.data.dataset import PreparedDataset
    from clickflow.training.regularisation import Regulariser

Count = Annotated[int, Field(gt=0)]
LearningRate = Annotated[float, Field(gt=0, description="Step size.")]
Decay = Annotated[float, Field(ge=0, lt=1)]
Epsilon = Annotated[float, Field(gt=0, description="Keeps the division finite.")]
Strength = Annotated[float, Field(ge=0)]


class TrainerConfig(StrictConfig):
    """Length of a training, and the portions of its data."""

    max_epochs: Count = 10
    """Passes over the training rows; fewer where training stops early."""
    batch_size: Count = 1024
    """Rows per training step."""
    max_history: Count = 100
    """Behaviours per row, the latest ones."""
    monitor: Literal["val/auc", "val/gauc", "val/pr_auc", "val/log_loss", "val/list_gauc", "val/mrr", "val/ndcg_5", "val/ndcg_10"] = (
        "val/gauc"
    )
    """Decides which weights are best and when to stop; from ``list_gauc`` on they need ``data.columns.group`` or ``candidates``."""
    patience: Count = 2
    """Validations without improvement before training stops."""
    validations_per_epoch: Count = 1
    """Validations during each epoch, equally spaced."""
    gradient_clip_norm: Annotated[float, Field(gt=0)] | None = None
    """Largest L2 norm of all gradients together; longer ones are scaled down. null does not clip."""
    log_every_num_steps: Count = 50
    """Steps between two points of loss and gradient norms."""
    num_threads: Count | None = None
    """Threads of torch; null leaves torch's own choice. Metrics are identical only for an equal number."""
    progress_bar: bool = True
    """A bar in a terminal, one line per epoch elsewhere; false shows neither."""

    @property
    def mode(self) -> Literal["min", "max"]:
        """Whether the monitored metric is better low or high."""
        return "min" if self.monitor == "val/log_loss" else "max"


class TwoPaths(StrictConfig):
    """Setting of every optimizer."""

    embedding_update: Literal["sparse", "dense"] = "sparse"
    """``sparse`` updates a table's rows of the batch only; ``dense`` the whole table by the textbook, in O(vocabulary)."""


class SGDConfig(TwoPaths):
    """Plain stochastic gradient descent; the sparse path is exact."""

    name: Literal["sgd"] = "sgd"
    learning_rate: LearningRate = 0.1


class Accelerated(TwoPaths):
    """Settings that both kinds of momentum share."""

    learning_rate: LearningRate = 0.01
    momentum: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """Share of the last step that is kept."""


class MomentumConfig(Accelerated):
    """SGD with momentum (Polyak 1964); on the sparse path a row's momentum rests while the row does not occur."""

    name: Literal["momentum"] = "momentum"


class NesterovConfig(Accelerated):
    """SGD with Nesterov's momentum (Sutskever et al. 2013); on the sparse path a row's momentum rests while the row does not occur."""

    name: Literal["nesterov"] = "nesterov"


class AdagradConfig(TwoPaths):
    """Adagrad (Duchi et al. 2011); the sparse path is exact with ``state: element``."""

    name: Literal["adagrad"] = "adagrad"
    learning_rate: LearningRate = 1e-2
    eps: Epsilon = 1e-10
    state: Literal["element", "row"] = "element"
    """State of a table: one number per element, or one per row (the mean of its squared gradient), for tables too large for two copies."""

    def _contradictions(self) -> Contradictions:
        if self.state == "row" and self.embedding_update == "dense":
            yield "state", "= row: only the sparse path has it; set embedding_update=sparse or state=element"


class RMSpropConfig(TwoPaths):
    """RMSprop (Tieleman & Hinton 2012); on the sparse path a row's mean square rests while the row does not occur."""

    name: Literal["rmsprop"] = "rmsprop"
    learning_rate: LearningRate = 1e-3
    alpha: Decay = 0.99
    """Decay rate of the mean square, per step."""
    eps: Epsilon = 1e-8


class Moments(TwoPaths):
    """Settings that Adam and AdamW share."""

    learning_rate: LearningRate = 1e-3
    beta1: Decay = 0.9
    """Decay rate of the mean gradient, per step."""
    beta2: Decay = 0.999
    """Decay rate of the mean square, per step."""
    eps: Epsilon = 1e-8


class AdamConfig(Moments):
    """Adam (Kingma & Ba 2015); the sparse path is torch's ``SparseAdam``: a row's moments rest while the row does not occur."""

    name: Literal["adam"] = "adam"


class AdamWConfig(Moments):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019); on the sparse path a row decays in the steps in which it occurs."""

    name: Literal["adamw"] = "adamw"
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    """A step takes learning_rate * weight_decay of every parameter away, biases included."""


OptimizerConfig = Annotated[
    SGDConfig | MomentumConfig | NesterovConfig | AdagradConfig | RMSpropConfig | AdamConfig | AdamWConfig, Field(discriminator="name")
]


class Warmup(StrictConfig):
    """Setting of every schedule."""

    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Steps in which the rate rises linearly to its full height."""


class ConstantConfig(Warmup):
    """The same rate all along."""

    name: Literal["constant"] = "constant"


class ExponentialConfig(Warmup):
    """decay_rate ^ (step / decay_steps), without stairs, as in Zhou et al., Deep Interest Network, KDD 2018."""

    name: Literal["exponential"] = "exponential"
    decay_rate: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Factor of the rate for every ``decay_steps`` steps."""
    decay_steps: Count = 10_000
    """Steps in which ``decay_rate`` is reached."""


class CosineConfig(Warmup):
    """Half a cosine from the full rate down to ``final_fraction`` of it (Loshchilov & Hutter 2017, without restarts)."""

    name: Literal["cosine"] = "cosine"
    final_fraction: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the full rate at the end."""
    total_steps: Count | None = None
    """Steps to the end, warm-up included; null: ``trainer.max_epochs`` epochs. The rate stays at its end afterwards."""

    def _contradictions(self) -> Contradictions:
        if self.total_steps is not None and self.total_steps <= self.warmup_steps:
            must = f"must be greater than warmup_steps = {self.warmup_steps}; raise it or shorten the warm-up"
            yield "total_steps", f"= {self.total_steps}: {must}"


class PlateauConfig(Warmup):
    """Multiplies the rate by ``factor`` whenever the monitored metric has not improved for ``patience`` validations."""

    name: Literal["plateau"] = "plateau"
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Multiplies the rate at each plateau."""
    patience: Count = 1
    """Validations without improvement, counted as ``trainer.patience`` counts them; must be lower than that to have any effect."""


ScheduleConfig = Annotated[ConstantConfig | ExponentialConfig | CosineConfig | PlateauConfig, Field(discriminator="name")]


class RegularisationConfig(StrictConfig):
    """Penalties on weights."""

    embedding: Literal["none", "l2", "mini_batch_aware"] = "none"
    """Penalty on embedding tables: ``l2`` on all rows, ``mini_batch_aware`` on the batch's rows, on rare ids more than on frequent ones."""
    embedding_lambda: Strength = 0.0
    """Factor of that penalty, the paper's λ."""
    dense_l1: Strength = 0.0
    """Factor of Σ|w| over the weights of all other layers; biases and other vectors are left out."""
    dense_l2: Strength = 0.0
    """Factor of Σw² over the same weights."""

    def _contradictions(self) -> Contradictions:
        if self.embedding == "none" and self.embedding_lambda > 0:
            cure = "set embedding=mini_batch_aware or embedding_lambda=0"
            yield "embedding_lambda", f"= {self.embedding_lambda}: has no effect with embedding=none; {cure}"

    def build(self, model: "nn.Module", dataset: "PreparedDataset") -> "Regulariser":
        """Make what adds the penalties of a model's weights."""
        from clickflow.training.regularisation import Regulariser, id_counts

        return Regulariser(self, model, id_counts(dataset) if self.embedding == "mini_batch_aware" else {})

    def contradictions_with(self, optimizer: OptimizerConfig) -> Contradictions:
        """Penalties that an optimizer's updates of embedding tables cannot carry out."""
        if self.embedding == "l2" and optimizer.embedding_update == "sparse":
            yield (
                "regularisation.embedding",
                "= l2: changes every row of every table in every step, but optimizer.embedding_update = sparse updates the batch's rows "
                "only; set optimizer.embedding_update=dense or regularisation.embedding=mini_batch_aware",
            )
        if self.embedding == "mini_batch_aware" and optimizer.embedding_update == "dense":
            yield (
                "regularisation.embedding",
                "= mini_batch_aware: needs gradients that tell which rows occur in the batch, but optimizer.embedding_update = dense has "
                "none; set optimizer.embedding_update=sparse or regularisation.embedding=l2",
            )
