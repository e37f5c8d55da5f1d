"""The search space: which keys of the config are searched, and over which values.

It is typed and has no grammar of its own; ``cli`` reads Hydra's. A key that is a config group (``model``, ``optimizer``) decides which
other keys exist, so a space is conditional by itself: a trial has those parameters that its composed config has.
"""

import itertools
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

from pydantic import Field

from clickflow.config import StrictConfig
from clickflow.runs.config import RunConfig

if TYPE_CHECKING:  # a space is checked before Optuna is imported
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

Number = int | float


class Choice(StrictConfig):
    """One of several unordered values."""

    kind: Literal["choice"] = "choice"
    values: Annotated[tuple[Any, ...], Field(min_length=1, strict=False)]
    """Scalars, lists or null."""

    def ends(self) -> list[Any]:
        """Every value: each one may be wrong."""
        return list(self.values)

    def grid(self) -> list[Any]:
        """Every value."""
        return list(self.values)

    def distribution(self) -> "BaseDistribution":
        """Over the values as JSON, because Optuna's choices are scalars."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution([json.dumps(value) for value in self.values])

    def value(self, suggested: Any) -> Any:
        """The value behind what Optuna suggests."""
        return json.loads(suggested)

    def fixed(self, value: Any) -> Any:
        """The value as Optuna stores it."""
        return json.dumps(value)


class _Ordered(StrictConfig):
    def value(self, suggested: Any) -> Any:
        """The value itself."""
        return suggested

    def fixed(self, value: Any) -> Any:
        """The value itself."""
        return value


class Range(_Ordered):
    """Equally spaced numbers; integers if low, high and step are."""

    kind: Literal["range"] = "range"
    low: Number
    high: Number
    """The last value, itself part of the range: ``low`` plus a whole number of steps."""
    step: Number

    @property
    def _is_whole(self) -> bool:
        return all(isinstance(number, int) for number in (self.low, self.high, self.step))

    def ends(self) -> list[Any]:
        """The first and the last value."""
        return list(dict.fromkeys([self.low, self.high]))

    def grid(self) -> list[Any]:
        """Every value."""
        low, high, step = (Decimal(str(number)) for number in (self.low, self.high, self.step))  # 0.1 three times is 0.3, and no more
        number: Callable[[Decimal], Number] = int if self._is_whole else float
        return [number(low + position * step) for position in range(int((high - low) / step) + 1)]

    def distribution(self) -> "BaseDistribution":
        """Uniform over the values."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if self._is_whole:
            return IntDistribution(int(self.low), int(self.high), step=int(self.step))
        return FloatDistribution(self.low, self.high, step=self.step)


class Interval(_Ordered):
    """All numbers between two ends; integers if both ends are."""

    kind: Literal["interval"] = "interval"
    low: Number
    high: Number
    log: bool = False
    """Uniform in the logarithm."""

    def ends(self) -> list[Any]:
        """Both ends."""
        return [self.low, self.high]

    def distribution(self) -> "BaseDistribution":
        """Uniform, or uniform in the logarithm."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if isinstance(self.low, int) and isinstance(self.high, int):
            return IntDistribution(self.low, self.high, log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)


Parameter = Annotated[Choice | Range | Interval, Field(discriminator="kind")]


class Composer(Protocol):
    """Composes configs; ``cli`` provides it, so that a sweep does not depend on Hydra."""

    @property
    def overrides(self) -> Sequence[str]:
        """Overrides that all trials share, as on the command line; with ``config_dir`` they recreate the composer in another process."""

    @property
    def config_dir(self) -> str | None:
        """Folder of further configs, from the command line."""

    def keys(self, groups: Mapping[str, str]) -> Collection[str]:
        """All dotted keys of the config with these config groups, including sections; a ConfigError if a group has no such config."""

    def compose(self, values: Mapping[str, Any]) -> RunConfig:
        """The config of a trial with these values, config groups among them; a ConfigError if it cannot be run."""


class SearchSpace(StrictConfig):
    """The parameters of a sweep."""

    parameters: Annotated[dict[str, Parameter], Field(min_length=1)]
    """Dotted key or config group -> values to search; a group is a choice of names."""
    groups: Annotated[frozenset[str], Field(strict=False)] = frozenset()
    """Those keys that are config groups."""

    @cached_property
    def combinations(self) -> list[dict[str, str]]:
        """Every combination of config groups; one empty combination if none is searched."""
        names = [key for key in self.parameters if key in self.groups]
        return [dict(zip(names, chosen, strict=True)) for chosen in itertools.product(*(self.parameters[name].ends() for name in names))]

    def applicable(self, keys: Collection[str]) -> list[str]:
        """The searched keys, without groups, that a config with these keys has."""
        return [key for key in self.parameters if key not in self.groups and key in keys]

    def suggest(self, trial: "Trial", composer: Composer) -> dict[str, Any]:
        """Suggest a trial's values: config groups first, then the keys that the composed config has."""
        groups = {name: self._suggest(trial, name) for name in self.parameters if name in self.groups}
        return groups | {key: self._suggest(trial, key) for key in self.applicable(composer.keys(groups))}

    def values(self, suggested: Mapping[str, Any]) -> dict[str, Any]:
        """The config values of a trial's ``params``."""
        return {key: self.parameters[key].value(value) for key, value in suggested.items()}

    def points(self, composer: Composer) -> Iterator[dict[str, Any]]:
        """Every point of the grid as Optuna's params, the first key changing slowest; there must be no interval."""
        for groups in self.combinations:
            axes = {key: [value] for key, value in groups.items()}
            for key in self.applicable(composer.keys(groups)):
                parameter = self.parameters[key]
                assert not isinstance(parameter, Interval), key  # ``check_grid`` refuses it
                axes[key] = parameter.grid()
            for point in itertools.product(*axes.values()):
                yield {key: self.parameters[key].fixed(value) for key, value in zip(axes, point, strict=True)}

    def _suggest(self, trial: "Trial", key: str) -> Any:
        parameter = self.parameters[key]
        distribution: Any = parameter.distribution()
        if isinstance(parameter, Choice):
            return parameter.value(trial.suggest_categorical(key, distribution.choices))
        suggest: Callable[..., Any] = trial.suggest_int if isinstance(distribution.low, int) else trial.suggest_float
        return suggest(key, distribution.low, distribution.high, step=distribution.step, log=distribution.log)
