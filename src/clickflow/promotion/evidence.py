"""The evidence of a decision, for people: tags and text of the version, and the model card on the run.

Decision: tags hold numbers as text for reading (``0.6801 [0.6712, 0.6890]``), since a tag can only be looked at or compared for equality;
the log of decisions has them as numbers.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from clickflow.metrics.headings import heading_of, shown_value
from clickflow.promotion.challenger import Challenger
from clickflow.promotion.config import PromoteConfig
from clickflow.promotion.gate import Verdict
from clickflow.promotion.registry import Version
from clickflow.runs.evaluate import Evaluation, ModelScores
from clickflow.runs.slices import slices_as_markdown
from clickflow.runs.split_report import shown_interval
from clickflow.text import counted, markdown_table
from clickflow.tracking.lineage import UNKNOWN, now, who
from clickflow.tracking.names import COMMIT_TAG, DIRTY_TAG, FINGERPRINT_TAG, USER_TAG

TEST_TAGS = ("auc", "gauc", "log_loss")
RUN_TAGS = ("model", "data", "protocol", FINGERPRINT_TAG)


@dataclass(frozen=True)
class Evidence:
    """Everything on which a decision is based; without a champion the three fields about it are None.

    Attributes:
        challenger: the run to promote.
        evaluation: of the challenger on the test split.
        champion: the version with which it was compared.
        champion_scores: on the same rows.
        verdict: the gate's.
        at: time in UTC, ISO 8601.
        by: user and machine.
    """

    challenger: Challenger
    evaluation: Evaluation
    champion: Version | None = None
    champion_scores: ModelScores | None = None
    verdict: Verdict | None = None
    at: str = field(default_factory=now)
    by: str = field(default_factory=who)

    @property
    def is_passed(self) -> bool:
        """Whether the run may become champion: it passed the gate, or there is no champion yet."""
        return self.verdict is None or self.verdict.is_passed

    @property
    def gate(self) -> str:
        """The gate's answer in one line."""
        if self.verdict is None or self.champion is None:
            return "passed; there was no champion to be better than, so the checks of the model decided"
        passed = "passed" if self.is_passed else "not passed"
        than = f"{'' if self.is_passed else 'not '}above {self.verdict.min_effect:+.4f}"
        return f"{passed}; {self.verdict.difference} against version {self.champion.number}, lower end {than}"


def details(evidence: Evidence, config: PromoteConfig) -> dict[str, Any]:
    """The details that the log of decisions keeps, as JSON values."""
    run, verdict = evidence.challenger, evidence.verdict
    values = {"run_id": run.run.run_id, "metric": config.metric, "validation": run.value, "experiment": run.experiment}
    if verdict is None:
        return values
    found = {name: value if math.isfinite(value) else None for name, value in verdict.found._asdict().items()}
    return values | {"min_effect": verdict.min_effect, "alpha": verdict.alpha, **found}


def version_tags(evidence: Evidence, config: PromoteConfig) -> dict[str, str]:
    """Tags of a version: what it is, how good it is, and the gate's answer."""
    run, evaluation = evidence.challenger.run, evidence.evaluation
    tags = {name: run.tags[name] for name in RUN_TAGS if name in run.tags}
    tags |= {"experiment": evidence.challenger.experiment, config.metric: f"{evidence.challenger.value:.4f}"}
    tags |= {f"test/{name}": _with_interval(evaluation, name) for name in dict.fromkeys((*TEST_TAGS, config.metric.removeprefix("val/")))}
    return tags | {"gate": evidence.gate}


def description(evidence: Evidence, config: PromoteConfig) -> str:
    """The text at the top of a version's page."""
    challenger, tags = evidence.challenger, evidence.challenger.run.tags
    return (
        f"{tags.get('model')} on {tags.get('data')} ({tags.get('protocol')}), {config.metric} {challenger.value:.4f}\n\n"
        f"Gate: **{evidence.gate}**.\n\n{_table(evidence)}\n"
        f"Chosen by {config.metric} = {challenger.value:.4f} in experiment {challenger.experiment}. "
        f"Decided {evidence.at} by {evidence.by}. The run's artifact `model_card.md` has the slices, the config and where it comes from."
    )


def model_card(evidence: Evidence, config: PromoteConfig, run_config: Mapping[str, Any], title: str) -> str:
    """The model card: what the model is, how good it is and for whom, and where it comes from."""
    run, evaluation = evidence.challenger.run, evidence.evaluation
    tags, openings = run.tags, evaluation.openings
    lineage = {
        "run": run.run_id,
        "experiment": evidence.challenger.experiment,
        "git commit": f"{tags.get(COMMIT_TAG, UNKNOWN)}{' (with changes)' if tags.get(DIRTY_TAG) == 'true' else ''}",
        "trained by": tags.get(USER_TAG, UNKNOWN),
        "data fingerprint": tags.get(FINGERPRINT_TAG, UNKNOWN),
        "logged model": evidence.challenger.model_id,
        "decided": f"{evidence.at} by {evidence.by}",
    }
    sections = {
        f"# {title}": f"{tags.get('model')} on {tags.get('data')}",
        "## Gate": f"{evidence.gate}.\n\nChosen by {config.metric} = {evidence.challenger.value:.4f} on the validation split.",
        "## Data and protocol": f"Data set {tags.get('data')}, protocol {tags.get('protocol')}. The test split holds "
        f"{counted(len(evaluation.scored.rows.target), 'row')}; evaluations have opened it {counted(openings.times, 'time')}, "
        f"of {counted(openings.runs, 'run')}.",
        "## Metrics on the test split": _table(evidence),
        "## Slices": slices_as_markdown(evaluation.slices),
        "## Lineage": "".join(f"* {what}: {value}\n" for what, value in lineage.items()),
        "## Config": f"```yaml\n{yaml.safe_dump(dict(run_config), sort_keys=False)}```",
    }
    return "\n".join(f"{title}\n\n{text.rstrip()}\n" for title, text in sections.items())


def _table(evidence: Evidence) -> str:
    """The metrics on the test split, the champion's beside the challenger's."""
    shown: dict[str, ModelScores] = {"this model [95 %]": evidence.evaluation}
    if evidence.champion is not None and evidence.champion_scores is not None:
        shown[f"champion, version {evidence.champion.number} [95 %]"] = evidence.champion_scores
    cells = {name: {side: _with_interval(scores, name) for side, scores in shown.items()} for name in evidence.evaluation.scored.metrics}
    return markdown_table([{"test split": heading_of(name), **row} for name, row in cells.items()])


def _with_interval(scores: ModelScores, name: str) -> str:
    shown = shown_value(name, scores.scored.metrics[name])
    return f"{shown} {shown_interval(scores.intervals[name])}" if name in scores.intervals else shown
