"""A sweep's configs: the one that the command line describes, and that of each trial.

Composing by Hydra takes tens of milliseconds, so it is done once for each choice of config groups; a trial sets its values in a copy, as
Hydra does with ``key=value``, before any reference to them is resolved.
"""

import copy
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from clickflow.cli.compose import compose, config_groups, group_options, plain
from clickflow.cli.overrides import first_paragraph, lenient, override_text, parsed_overrides
from clickflow.cli.search_space import read_space
from clickflow.config import validate
from clickflow.errors import ConfigError
from clickflow.runs.config import RunConfig
from clickflow.sweep.check import check_grid, check_space
from clickflow.sweep.config import SweepRunConfig
from clickflow.sweep.space import SearchSpace


class HydraComposer:
    """Makes the configs of trials from what they share, as on the command line, and a user's folder with more config groups."""

    def __init__(self, overrides: Sequence[str], config_dir: str | None = None) -> None:
        self.overrides = fixed_overrides(overrides, config_dir)
        self.config_dir = config_dir
        self._composed: dict[tuple[tuple[str, Any], ...], DictConfig] = {}
        self._keys: dict[tuple[tuple[str, Any], ...], frozenset[str]] = {}

    def keys(self, groups: Mapping[str, str]) -> frozenset[str]:
        """All dotted keys of the config with these config groups chosen, sections among them."""
        chosen = tuple(groups.items())
        if chosen not in self._keys:
            values = OmegaConf.to_container(self._with_groups(groups), resolve=False)
            assert isinstance(values, dict)
            self._keys[chosen] = frozenset(key for key in _dotted(values) if key.partition(".")[0] != "sweep")
        return self._keys[chosen]

    def compose(self, values: Mapping[str, Any]) -> RunConfig:
        """The config of a trial with these values, config groups among them."""
        named = ", ".join(as_overrides(values))
        groups = {key: value for key, value in values.items() if group_options(key, self.config_dir)}
        try:
            composed = copy.deepcopy(self._with_groups(groups))
            for key, value in values.items():
                if key not in groups:
                    OmegaConf.update(composed, key, value, merge=True, force_add=True)
            trial = plain(composed)
        except OmegaConfBaseException as error:
            raise ConfigError(f"{named}: {first_paragraph(error)}") from error
        trial.pop("sweep", None)
        return validate(RunConfig, trial, f"the config with {named}" if named else "the composed config")

    def _with_groups(self, groups: Mapping[str, str]) -> DictConfig:
        chosen = tuple(groups.items())
        if chosen not in self._composed:
            shared = lenient(self.overrides, config_groups(self.config_dir))
            own = [*shared, *as_overrides(groups), "sweep=default"]  # a trial needs no space, and a model of the user's need not have one
            self._composed[chosen] = compose("sweep", own, self.config_dir)
        return self._composed[chosen]


@dataclass(frozen=True)
class PreparedSweep:
    """A sweep whose every part has been checked."""

    config: SweepRunConfig
    """Its ``sweep.space`` is what is searched: without the keys that the command line sets."""
    space: SearchSpace
    composer: HydraComposer


def prepared_sweep(overrides: Sequence[str], config_dir: str | None = None) -> PreparedSweep:
    """Compose a sweep and check it: its config, the text of its space, and the ends of every parameter.

    The overrides are those that :func:`clickflow.cli.sweep_arguments.into_space` leaves.

    Raises:
        ConfigError: all problems of the config and the space's text; where there are none, those of the space's ends.
    """
    composer = HydraComposer(overrides, config_dir)
    values = plain(compose("sweep", lenient(overrides, config_groups(config_dir)), config_dir))
    sweep = values.get("sweep")
    texts: dict[str, str] = {}
    if isinstance(sweep, dict) and isinstance(sweep.get("space"), dict):
        texts = sweep["space"] = _final_space(sweep["space"], overrides, values, config_dir)
    problems: list[str] = []
    try:
        config = validate(SweepRunConfig, values)
    except ConfigError as error:
        problems.append(str(error))
    try:
        space = read_space(texts, config_dir) if texts else None
    except ConfigError as error:
        problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))
    assert space is not None  # an empty one is a problem of the config
    orphans = _orphans(space, composer) - _typed(overrides)
    if orphans:
        kept = {key: text for key, text in texts.items() if key not in orphans}
        config = config.model_copy(update={"sweep": config.sweep.model_copy(update={"space": kept})})
        space = space.model_copy(update={"parameters": {key: space.parameters[key] for key in kept}})
    check_space(space, composer)
    if config.sweep.is_grid:
        check_grid(space)
    return PreparedSweep(config, space, composer)


def fixed_overrides(overrides: Sequence[str], config_dir: str | None = None) -> list[str]:
    """The part of a sweep's command line that its trials share: no settings of the sweep or its launcher, and no search space."""
    parsed = zip(overrides, parsed_overrides(overrides), strict=True)
    kept = [text for text, override in parsed if not override.is_sweep_override() and not _is_of_sweep(override.key_or_group)]
    known = config_groups(config_dir)
    plainly = [text.removeprefix("++") for text in kept]  # as the user wrote them, without what ``lenient`` adds
    return [short if lenient([short], known) == [text] else text for text, short in zip(kept, plainly, strict=True)]


def as_overrides(values: Mapping[str, Any]) -> list[str]:
    """``key=value`` as Hydra reads it back."""
    return [override_text(key, value) for key, value in values.items()]


def train_command(composer: HydraComposer, values: Mapping[str, Any]) -> str:
    """The command that trains a trial again, to be pasted into a shell."""
    config_dir = [] if composer.config_dir is None else ["--config-dir", composer.config_dir]
    return shlex.join(["clickflow", "train", *config_dir, *composer.overrides, *as_overrides(values)])


def _final_space(space: Mapping[str, Any], overrides: Sequence[str], values: Mapping[str, Any], config_dir: str | None) -> dict[str, str]:
    """The space as text, without the keys that the command line sets, and without what a config group that it sets lacks."""
    fixed = {override.key_or_group for override in parsed_overrides(overrides) if not _is_of_sweep(override.key_or_group)}
    existing = set(_dotted(values))
    chosen = tuple(f"{key}." for key in fixed if key in space and group_options(key, config_dir))
    return {
        key: value if isinstance(value, str) else override_text("", value)[1:]
        for key, value in space.items()
        if key not in fixed and not (key.startswith(chosen) and key not in existing)
    }


def _orphans(space: SearchSpace, composer: HydraComposer) -> set[str]:
    """Keys that no chosen config of a searched group has, but another one: ``sweep=models model=base,din`` leaves DIEN's out."""
    orphans: set[str] = set()
    for group in space.groups:
        chosen = space.parameters[group].ends()
        present = {key for name in chosen for key in composer.keys({group: name})}
        lacking = {key for key in space.parameters if key.startswith(f"{group}.") and key not in present}
        others = [name for name in group_options(group, composer.config_dir) if name not in chosen] if lacking else []
        orphans |= {key for key in lacking if any(key in composer.keys({group: name}) for name in others)}
    return orphans


def _typed(overrides: Sequence[str]) -> set[str]:
    """Keys that the command line itself searches."""
    spaces = [override.value() for override in parsed_overrides(overrides) if override.key_or_group == "sweep.space"]
    return {str(key) for space in spaces if isinstance(space, Mapping) for key in space}


def _is_of_sweep(key: str) -> bool:
    return key in ("sweep", "cluster", "hydra/launcher") or key.startswith(("sweep.", "sweep/", "hydra.launcher."))


def _dotted(values: Mapping[Any, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{key}.")
