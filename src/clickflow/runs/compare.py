"""Compare models: every (model, seed) trained or collected, evaluated on the same test rows, and held against the base model.

A finished run with the same config and data is collected instead of trained again, so a comparison that was cut short carries on, and
another seed or model costs only itself.
"""

import itertools
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from clickflow.config import flatten
from clickflow.data.predictions import read_predictions
from clickflow.data.prepare import prepare
from clickflow.data.splits import SPLITS
from clickflow.errors import ClickflowError, TrackingError, TrainingError
from clickflow.figures.comparison_figure import comparison_figure
from clickflow.figures.metric_figures import gradient_norm_figure
from clickflow.metrics.significance import PairedDifference, bootstrap_gauc, delong
from clickflow.runs.comparison import COSTS, METRICS, ModelResult, as_csv, as_markdown, improvement
from clickflow.runs.config import CompareConfig, EvaluateConfig, RunConfig
from clickflow.runs.evaluate import evaluate
from clickflow.runs.train import CONFIG_DIGEST_TAG, PartOf, Progress, config_digest, refuse_one_class, train
from clickflow.tracking.lifecycle import KIND_TAG, open_run
from clickflow.tracking.lineage import git_state, lineage_tags
from clickflow.tracking.run import Run
from clickflow.tracking.search import FoundRun, fetch_artifact, find_runs, metric_histories, read_run
from clickflow.tracking.store import Store, open_store

TOWER_LAYERS = "mlp.layers."


@dataclass(frozen=True)
class Comparison:
    """What a comparison leaves behind.

    Attributes:
        run_id: of the parent run.
        url: of its page.
        results: one a model, in the order of the config.
        folder: holds ``table.csv``, ``table.md`` and the figures.
    """

    run_id: str
    url: str
    results: list[ModelResult]
    folder: Path


@dataclass(frozen=True)
class _Scored:
    """A finished run with its predictions on the test split, (R,) each."""

    run: FoundRun
    preds: NDArray[np.float32]
    label: NDArray[np.uint8]
    group: NDArray[np.int64]


@dataclass(frozen=True)
class _Place:
    """Where runs are looked for and opened."""

    store: Store
    parent_run_id: str
    fingerprint: str


def compare(config: CompareConfig, models: Mapping[str, RunConfig], progress: Progress = lambda stage: None) -> Comparison:
    """Train or collect every (model, seed), and table them.

    Args:
        config: the comparison; ``config.compare.seeds`` stand in for each model's own.
        models: label -> config, all of the same data.
        progress: called with the name of each stage as it starts.

    Raises:
        TrainingError: some runs failed; the table of the others is logged, and the parent run is FAILED.
    """
    store = open_store(config.tracking, config.home)
    values = config.model_dump(mode="json", include={"compare", "data", "protocol"})
    tags = {KIND_TAG: "comparison", "data": config.data.name, "protocol": config.protocol.name, **lineage_tags(Path(__file__).parent)}
    with open_run(store, name=f"compare-{config.data.name}", params=flatten(values), tags=tags, log_system_metrics=False) as parent:
        parent.log_dict(values, "config.yaml")
        dataset = prepare(config.data, config.protocol, config.home, progress)
        parent.set_tags({"dataset.fingerprint": dataset.manifest.fingerprint})
        refuse_one_class(dataset, SPLITS)  # once, instead of in every run
        scored, failures = _score_all(_Place(store, parent.id, dataset.manifest.fingerprint), config.compare.seeds, models, progress)
        if not scored:
            raise TrainingError("\n".join(["all runs failed", *failures]))
        progress("comparing on the same test rows")
        results = _results(config, scored)
        folder = config.home / "comparisons" / f"{config.data.name}-{parent.id[:12]}"
        _write(folder, results, config.compare.base, {label: runs[0].run for label, runs in scored.items()}, store)
        _log(parent, folder)
        if failures:
            raise TrainingError("\n".join([f"{len(failures)} of the runs failed; table of the others: {folder}", *failures]))
        return Comparison(parent.id, parent.url, results, folder)


def _score_all(
    place: _Place, seeds: tuple[int, ...], models: Mapping[str, RunConfig], progress: Progress
) -> tuple[dict[str, list[_Scored]], list[str]]:
    """Score every (model, seed), seeds outermost so that a cut-off comparison has whole seeds; a failure costs that run only."""
    scored: dict[str, list[_Scored]] = {label: [] for label in models}
    failures = []
    for position, (seed, label) in enumerate(itertools.product(seeds, models), start=1):
        what = f"{label}, seed {seed}"
        progress(f"{position} of {len(models) * len(seeds)}: {what}")
        try:
            scored[label].append(_score(place, label, models[label].model_copy(update={"seed": seed}), progress))
        except ClickflowError as error:
            failures.append(f"  {what}: {error}")
            progress(f"{what} failed")
    return {label: runs for label, runs in scored.items() if runs}, failures


def _score(place: _Place, label: str, config: RunConfig, progress: Progress) -> _Scored:
    """Collect the newest finished run of this config on this data, or train one; evaluate it unless that was done."""
    wanted = {CONFIG_DIGEST_TAG: config_digest(config), "dataset.fingerprint": place.fingerprint}
    found = [run for run in find_runs(place.store, wanted, "FINISHED") if KIND_TAG not in run.tags]  # no reproduction
    if found:
        run_id = found[0].run_id
        commit = found[0].tags.get("git.commit", "")
        is_other = commit != git_state(Path(__file__).parent).commit or found[0].tags.get("git.dirty") == "true"
        progress(f"collected run {run_id[:12]}" + (f", made by other code (commit {commit[:12]})" if is_other else ""))
    else:
        run_id = train(config, progress, part_of=PartOf(place.parent_run_id, f"{label}-seed{config.seed}")).run_id
    if not found or found[0].tags.get("evaluation.status") != "FINISHED":
        progress("evaluating on the test split")
        evaluate(EvaluateConfig(run_id=run_id, home=config.home, tracking=config.tracking))
    with tempfile.TemporaryDirectory() as scratch:
        predictions = fetch_artifact(place.store, run_id, "predictions/test.parquet", Path(scratch))
        return _Scored(read_run(place.store, run_id), *read_predictions(predictions))


def _results(config: CompareConfig, scored: Mapping[str, list[_Scored]]) -> list[ModelResult]:
    base = scored.get(config.compare.base, [])
    base_auc = _values(base, "auc")
    return [
        ModelResult(
            label=label,
            run_ids=tuple(one.run.run_id for one in runs),
            metrics={name: _values(runs, name) for name in METRICS}
            | {name: tuple(one.run.metrics[name] for one in runs) for name in COSTS},
            against_base=_against_base(runs, base) if base and label != config.compare.base else {},
            rela_impr=improvement(_values(runs, "auc"), base_auc),
            published={str(name): value for name, value in config.compare.published.get(label, {}).items()},
        )
        for label, runs in scored.items()
    ]


def _values(runs: list[_Scored], metric: str) -> tuple[float, ...]:
    return tuple(one.run.metrics[f"test/{metric}"] for one in runs)


def _against_base(runs: list[_Scored], base: list[_Scored]) -> dict[str, PairedDifference]:
    """Paired differences to the base model.

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
    return {"auc": delong(preds, base_preds, target, group=group), "gauc": bootstrap_gauc(preds, base_preds, target, group)}


def _write(folder: Path, results: list[ModelResult], base: str, first_runs: Mapping[str, FoundRun], store: Store) -> None:
    """Tables and figures as files; the figure of gradient norms shows each model's first seed."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.csv").write_text(as_csv(results), encoding="utf-8")
    (folder / "table.md").write_text(as_markdown(results), encoding="utf-8")
    shown = {METRICS[name]: name for name in ("auc", "gauc")}
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


def _log(parent: Run, folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        parent.log_file(path, "comparison")
    parent.set_description((folder / "table.md").read_text(encoding="utf-8"))
