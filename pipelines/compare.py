"""The papers' table on any data set: ``python pipelines/compare.py data=movielens_1m`` or ``experiment=din_paper_electronics``."""

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


def story(config: CompareConfig, console: Console) -> None:
    """Check every model's config, then train or collect, and print the table."""
    overrides = list(HydraConfig.get().overrides.task)
    models = model_configs(config, overrides, get_args_parser().parse_args().config_dir)
    comparison = compare(config, models, progress_printer(console))
    title = f"{config.data.name}, protocol {config.protocol.name}, test split, mean ± std over seeds"
    _print(console, title, [quality_columns(result) for result in comparison.results])
    title = f"against {config.compare.base} on the same test rows (DeLong for AUC, bootstrap over users for GAUC), and costs"
    _print(console, title, [significance_columns(result) for result in comparison.results])
    console.print(f"run {comparison.run_id}  {comparison.url}", soft_wrap=True)
    console.print(f"table.csv, table.md and figures in {comparison.folder}", soft_wrap=True)


def model_configs(config: CompareConfig, overrides: list[str], config_dir: str | None = None) -> dict[str, RunConfig]:
    """The config of each model of a comparison: what all share, then the model's own overrides, then the command line's.

    Raises:
        ConfigError: the problems of all models at once, or a model that is trained on other data than the comparison's.
    """
    models, problems = {}, []
    for label, own in config.compare.models.items():
        try:
            values = composed_config("compare", [*own, *overrides], config_dir)
            models[label] = validate(
                RunConfig, {key: value for key, value in values.items() if key != "compare"}, f"compare.models.{label}"
            )
        except ConfigError as error:
            problems.append(str(error))
            continue
        shared = (models[label].data, models[label].protocol, models[label].home, models[label].tracking)
        if shared != (config.data, config.protocol, config.home, config.tracking):
            problems.append(
                f"compare.models.{label} = {list(own)}: changes data, protocol, home or tracking; all models of a comparison share the "
                "test rows and the store; set them for all, as in data=movielens_1m"
            )
    if problems:
        raise ConfigError("\n".join(problems))
    return models


def _print(console: Console, title: str, lines: list[dict[str, str]]) -> None:
    headings = list(dict.fromkeys(heading for line in lines for heading in line))
    table = Table(title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "model" else "right")
    for line in lines:
        table.add_row(*(line.get(heading, "") for heading in headings))
    console.print(table)


if __name__ == "__main__":
    launch("compare", CompareConfig, story)
