"""Compare models: train or collect every (model, seed), evaluate each on the same test rows, and test it against the base model.

A finished run with the same config and data is collected instead of trained again. So a comparison that was cut short carries on, and an
additional seed or model costs only its own training.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from clickflow.config import flatten
from clickflow.data.dataset import PreparedDataset
from clickflow.data.predictions import read_lists, read_predictions
from clickflow.data.prepare import Progress, prepare
from clickflow.data.splits import SPLITS
from clickflow.errors import ClickflowError, TrackingError, TrainingError
from clickflow.figures.comparison_figure import comparison_figure
from clickflow.figures.metric_figures import gradient_norm_figure
from clickflow.metrics.headings import HEADINGS, LIST_METRICS, reported
from clickflow.metrics.significance import PairedDifference, bootstrap_gauc, bootstrap_lists, delong
from clickflow.runs.comparison import COSTS, ModelResult, as_csv, as_markdown, improvement
from clickflow.runs.config import CompareConfig, RunConfig
from clickflow.runs.evaluate import EVALUATION, LoadedModel, evaluate_on, is_evaluated
from clickflow.runs.kept_checkpoints import read_best_model
from clickflow.runs.logged_config import CONFIG_FILE, config_digest
from clickflow.runs.run_dataset import refuse_one_class
from clickflow.runs.train import PartOf, open_training_run, train_in
from clickflow.tracking.contents import fetched, metric_histories
from clickflow.tracking.lifecycle import open_run, resume_run
from clickflow.tracking.lineage import git_state, lineage_tags
from clickflow.tracking.names import COMMIT_TAG, CONFIG_DIGEST_TAG, DIRTY_TAG, FINGERPRINT_TAG, KIND_TAG
from clickflow.tracking.run import Run
from clickflow.tracking.search import FoundRun, find_runs, read_run
from clickflow.tracking.store import Store, open_store

TOWER_LAYERS = "mlp.layers."


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison: its parent run, one result per model, and the folder with tables and figures."""

    run_id: str
    url: str
    results: list[ModelResult]
    folder: Path


@dataclass(frozen=True)
class _Scored:
    """A finished run with its predictions on the test split: R rows."""

    run: FoundRun
    preds: NDArray[np.float32]
    label: NDArray[np.uint8]
    group: NDArray[np.int64]
    list_id: NDArray[np.int64] | None


def compare(config: CompareConfig, models: Mapping[str, RunConfig], progress: Progress = lambda stage: None) -> Comparison:
    """Train or collect every (model, seed), and make the table of their results.

    The seeds of the comparison replace those of the models' configs, which are all of the same data.

    Raises:
        TrainingError: some runs failed; the table of the others is logged, and the parent run is FAILED.
    """
    store = open_store(config.tracking, config.home)
    values = config.model_dump(mode="json", include={"compare", "data", "protocol"})
    tags = {KIND_TAG: "comparison", "data": config.data.name, "protocol": config.protocol.name, **lineage_tags(Path(__file__).parent)}
    with open_run(store, name=f"compare-{config.data.name}", params=flatten(values), tags=tags, log_system_metrics=False) as parent:
        parent.log_dict(values, CONFIG_FILE)
        dataset = prepare(config.data, config.protocol, config.home, progress)
        parent.set_tags({FINGERPRINT_TAG: dataset.manifest.fingerprint})
        refuse_one_class(dataset, SPLITS)  # once, instead of in every run
        scored, failures = _score_all(parent, dataset, config.compare.seeds, models, progress)
        if not scored:
            raise TrainingError("\n".join(["all runs failed", *failures]))
        progress("comparing on the same test rows")
        results = _results(config, scored)
        folder = config.home / "comparisons" / f"{config.data.name}-{parent.id[:12]}"
        _write(folder, results, config.compare.base, {label: runs[0].run for label, runs in scored.items()}, store)
        for path in sorted(folder.iterdir()):
            parent.log_file(path, "comparison")
        parent.set_description((folder / "table.md").read_text(encoding="utf-8"))
        if failures:
            raise TrainingError("\n".join([f"{len(failures)} of the runs failed; table of the others: {folder}", *failures]))
        return Comparison(parent.id, parent.url, results, folder)


def _score_all(
    parent: Run, dataset: PreparedDataset, seeds: tuple[int, ...], models: Mapping[str, RunConfig], progress: Progress
) -> tuple[dict[str, list[_Scored]], list[str]]:
    """Score every (model, seed), seeds outermost so that a cut-off comparison has whole seeds; a failure costs that run only."""
    scored: dict[str, list[_Scored]] = {label: [] for label in models}
    failures = []
    for position, (seed, label) in enumerate(itertools.product(seeds, models), start=1):
        what = f"{label}, seed {seed}"
        progress(f"{position} of {len(models) * len(seeds)}: {what}")
        try:
            scored[label].append(_score(parent, dataset, label, models[label].model_copy(update={"seed": seed}), progress))
        except ClickflowError as error:
            failures.append(f"  {what}: {error}")
            progress(f"{what} failed")
    return {label: runs for label, runs in scored.items() if runs}, failures


def _score(parent: Run, dataset: PreparedDataset, label: str, config: RunConfig, progress: Progress) -> _Scored:
    """Collect the newest finished run of this config on this data, or train one; evaluate it unless it was evaluated before."""
    store, part_of = parent.store, PartOf(parent.id, f"{label}-seed{config.seed}")
    wanted = {CONFIG_DIGEST_TAG: config_digest(config), FINGERPRINT_TAG: dataset.manifest.fingerprint}
    found = next((run for run in find_runs(store, wanted, "FINISHED") if KIND_TAG not in run.tags), None)  # no reproduction
    model = None
    if found is None:
        with open_training_run(store, config, part_of) as run:
            model = train_in(run, config, dataset, progress).model
        run_id = run.id
    else:
        run_id = found.run_id
        commit = found.tags.get(COMMIT_TAG, "")
        is_other = commit != git_state(Path(__file__).parent).commit or found.tags.get(DIRTY_TAG) == "true"
        progress(f"collected run {run_id[:12]}" + (f", made by other code (commit {commit[:12]})" if is_other else ""))
    if found is None or not is_evaluated(found):
        progress("evaluating on the test split")
        with resume_run(store, run_id, EVALUATION) as run:
            model = read_best_model(store, run.found, config, dataset) if model is None else model
            evaluate_on(run, LoadedModel(model, config.trainer), dataset)
    with fetched(store, run_id, "predictions/test.parquet") as predictions:
        return _Scored(read_run(store, run_id), *read_predictions(predictions), read_lists(predictions))


def _results(config: CompareConfig, scored: Mapping[str, list[_Scored]]) -> list[ModelResult]:
    base = scored.get(config.compare.base, [])
    base_auc = _values(base, "auc")
    logged = {name.removeprefix("test/") for name in next(iter(scored.values()))[0].run.metrics}  # alike in all: they share the data
    monitored = config.trainer.monitor.removeprefix("val/")
    within_lists = (monitored,) if monitored in LIST_METRICS else ()
    return [
        ModelResult(
            label=label,
            run_ids=tuple(one.run.run_id for one in runs),
            metrics={name: _values(runs, name) for name in reported(logged)}
            | {name: tuple(one.run.metrics[name] for one in runs) for name in COSTS},
            against_base=_against_base(runs, base, within_lists) if base and label != config.compare.base else {},
            rela_impr=improvement(_values(runs, "auc"), base_auc),
            published={str(name): value for name, value in config.compare.published.get(label, {}).items()},
            tested=("auc", "gauc", *within_lists),
        )
        for label, runs in scored.items()
    ]


def _values(runs: list[_Scored], metric: str) -> tuple[float, ...]:
    return tuple(one.run.metrics[f"test/{metric}"] for one in runs)


def _against_base(runs: list[_Scored], base: list[_Scored], within_lists: tuple[str, ...]) -> dict[str, PairedDifference]:
    """Paired differences to the base model in AUC, GAUC and metrics within lists.

    Raises:
        TrackingError: the runs were not evaluated on the same rows.
    """
    first = base[0]
    for one in [*runs, *base]:
        if not (np.array_equal(one.label, first.label) and np.array_equal(one.group, first.group)):
            raise TrackingError(
                f"run {one.run.run_id}: its test rows are not those of run {first.run.run_id}; only runs on the same rows can be compared; "
                "evaluate both again."
            )
    preds, base_preds = (torch.from_numpy(np.stack([one.preds for one in group])) for group in (runs, base))
    target, group = torch.from_numpy(first.label), torch.from_numpy(first.group)
    found = {"auc": delong(preds, base_preds, target, group=group), "gauc": bootstrap_gauc(preds, base_preds, target, group)}
    for name in within_lists:
        assert first.list_id is not None  # else the config, which monitors a metric within lists, would have been refused
        found[name] = bootstrap_lists(name, preds, base_preds, target, group, torch.from_numpy(first.list_id))
    return found


def _write(folder: Path, results: list[ModelResult], base: str, first_runs: Mapping[str, FoundRun], store: Store) -> None:
    """Tables and figures as files; the figure of gradient norms shows each model's first seed."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.csv").write_text(as_csv(results), encoding="utf-8")
    (folder / "table.md").write_text(as_markdown(results), encoding="utf-8")
    shown = {HEADINGS[name]: name for name in ("auc", "gauc")}
    values = {heading: {result.label: result.metrics[name] for result in results} for heading, name in shown.items()}
    published = {heading: {r.label: r.published[name] for r in results if name in r.published} for heading, name in shown.items()}
    comparison_figure(values, published, base).savefig(folder / "table.png")
    norms = {label: _tower_norms(store, run) for label, run in first_runs.items()}
    if any(norms.values()):
        gradient_norm_figure({label: layers for label, layers in norms.items() if layers}).savefig(folder / "gradient_norms.png")


def _tower_norms(store: Store, run: FoundRun) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Gradient norm over the steps of each linear layer of the final MLP, the first layer first."""
    histories = metric_histories(store, run, "gradient_norm/", containing=TOWER_LAYERS)
    by_position = {int(name.rpartition(".")[2]): history for name, history in histories.items()}
    norms: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
    last = -2
    for position in sorted(by_position):
        if position > last + 1:  # what follows a linear layer at once is its activation
            norms[f"linear layer {len(norms) + 1}"] = by_position[position]
            last = position
    return norms
