"""The papers' table on any data set: ``python pipelines/compare.py data=movielens_1m`` or ``experiment=din_paper_electronics``."""

from collections.abc import Iterator, Sequence

from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from rich.console import Console
from rich.table import Table

from clickflow.config import validate
from clickflow.errors import ConfigError
from clickflow.runs.compare import compare
from clickflow.runs.comparison import quality_columns, significance_columns
from clickflow.runs.config import CompareConfig, RunConfig
from pipelines.launch import composed_config, launch, progress_printer

WIDTH = 160
"""Columns that both tables fit into."""


def story(config: CompareConfig, console: Console) -> None:
    """Check every model's config, then train or collect, and print the table."""
    overrides = list(HydraConfig.get().overrides.task)
    models = model_configs(config, overrides, get_args_parser().parse_args().config_dir)
    comparison = compare(config, models, progress_printer(console))
    title = f"{config.data.name}, protocol {config.protocol.name}, test split, mean ± std over seeds"
    _print(console, title, [quality_columns(result) for result in comparison.results])
    title = (
        f"against {config.compare.base} on the same test rows (DeLong clustered by user for AUC, bootstrap over users for GAUC), and costs"
    )
    _print(console, title, [significance_columns(result) for result in comparison.results])
    console.print(f"run {comparison.run_id}  {comparison.url}", soft_wrap=True)
    console.print(f"table.csv, table.md and figures in {comparison.folder}", soft_wrap=True)


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


def _print(console: Console, title: str, lines: list[dict[str, str]]) -> None:
    """A table as wide as it needs to be: a figure that is cut off is worse than a line that wraps."""
    headings = list(dict.fromkeys(heading for line in lines for heading in line))
    table = Table(title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "model" else "right", no_wrap=True)
    for line in lines:
        table.add_row(*(line.get(heading, "") for heading in headings))
    # Where nobody watches rich takes a console of 80 columns.
    Console(file=console.file, width=max(console.width, WIDTH), highlight=False).print(table)


if __name__ == "__main__":
    launch("compare", CompareConfig, story)
