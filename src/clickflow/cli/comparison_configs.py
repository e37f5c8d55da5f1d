"""The configs of a comparison: what all its models share, and what each of them overrides."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from clickflow.cli.compose import compose, composed_config, plain
from clickflow.config import validate
from clickflow.errors import ConfigError
from clickflow.runs.config import CompareConfig, RunConfig


@dataclass(frozen=True)
class PreparedComparison:
    """A comparison whose every part has been checked."""

    config: CompareConfig
    models: dict[str, RunConfig]
    """Label -> config."""


def prepared_comparison(overrides: Sequence[str], config_dir: str | None = None) -> PreparedComparison:
    """Compose a comparison and check it, model by model.

    Raises:
        ConfigError: all problems of what the models share; where there are none, those of each model.
    """
    config = validate(CompareConfig, plain(compose("compare", overrides, config_dir)))
    return PreparedComparison(config, model_configs(config, overrides, config_dir))


def model_configs(config: CompareConfig, overrides: Sequence[str], config_dir: str | None = None) -> dict[str, RunConfig]:
    """The config of each model of a comparison: what all share, the command line's overrides among it, and the model's own.

    Raises:
        ConfigError: the problems of all models at once, or an override that would make a model another one than its label says.
    """
    models, problems = {}, list(_misplaced(config, overrides))
    for label, own in config.compare.chosen.items() if not problems else ():
        try:
            values = composed_config("compare", [*own, *overrides], config_dir)
            models[label] = validate(
                RunConfig, {key: value for key, value in values.items() if key != "compare"}, f"compare.models.{label}"
            )
        except ConfigError as error:
            problems.append(str(error) if label in str(error) else f"compare.models.{label} = {list(own)}: {error}")
            continue
        shared = (models[label].data, models[label].protocol, models[label].home, models[label].tracking)
        if shared != (config.data, config.protocol, config.home, config.tracking):
            problems.append(
                f"compare.models.{label} = {list(own)}: changes data, protocol, home or tracking; all models of a comparison share the "
                "test rows and the store; set them for all, as in data=movielens_1m"
            )
    if any("unknown key" in problem for problem in problems):
        problems.append("A key that not every model has belongs into those models' lists; compare.only=[…] leaves the others out.")
    if problems:
        raise ConfigError("\n".join(problems))
    return models


def _misplaced(config: CompareConfig, overrides: Sequence[str]) -> Iterator[str]:
    """Overrides that contradict what the comparison itself sets."""
    shared = {_key(override): override.lstrip("+") for override in overrides}
    if "seed" in shared:
        yield f"{shared['seed']}: a comparison trains every model with each of compare.seeds; set compare.seeds=[…]"
    for label, own in config.compare.chosen.items():
        for override in own:
            key = _key(override)
            if key == "seed" or key.startswith("compare."):
                yield f"compare.models.{label} = {override}: is set once for the whole comparison; set it on the command line"
            elif key in shared and shared[key] != override:
                yield (
                    f"{shared[key]}: {label} is what it is by {override}; leave it out, choose models with compare.only=[…], or change "
                    "compare.models in an experiment of your own"
                )


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]
