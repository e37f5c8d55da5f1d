"""The search space as text: Hydra's sweep grammar, read into typed parameters, from YAML and from the command line.

Hydra's own parser reads it, so ``choice``, ``range``, ``interval``, ``tag``, ``glob`` and the casts mean what they mean in a grid, with two
differences (:func:`sweep_parser`). What the command line searches is handed to Hydra as entries of ``sweep.space``, so that its ``--cfg
job`` shows them.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from inspect import signature
from typing import Any

from hydra._internal.grammar.grammar_functions import choice
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.core.override_parser.types import (
    ChoiceSweep,
    Glob,
    IntervalSweep,
    Override,
    OverrideType,
    Quote,
    QuotedString,
    RangeSweep,
    Sweep,
    ValueType,
)
from hydra.errors import HydraException

from clickflow.cli.launch import first_paragraph, parsed_overrides
from clickflow.cli.search_path import GROUPS, config_folders
from clickflow.config import suggest
from clickflow.errors import ConfigError
from clickflow.models.entry_points import models_of_packages
from clickflow.sweep.space import Choice, Interval, Number, Parameter, Range, SearchSpace
from clickflow.text import problem_list

SHARED = ("data", "protocol", "home", "tracking", "sweep", "hydra")
"""Sections that all trials share."""
MAX_VALUES = 100_000
"""Of a range; more of them mean a mistyped step."""


class _Fault(ValueError):
    """What is wrong with one parameter; what is allowed; what to do."""


def read_space(space: Mapping[str, str], config_dir: str | None = None) -> SearchSpace:
    """Typed parameters.

    Args:
        space: dotted key or config group -> text.
        config_dir: a folder of the user's with more config groups.

    Raises:
        ConfigError: one line for each key whose text cannot be searched.
    """
    parameters: dict[str, Parameter] = {}
    problems: list[str] = ["sweep.space = {}: nothing to search; give a key its values"] if not space else []
    options = {key: group_options(key, config_dir) for key in space}
    for key, text in space.items():
        try:
            parameters[key] = _parameter(key, text, options[key])
        except _Fault as fault:
            problems.append(f"sweep.space.{key} = {text}: {fault}")
    if problems:
        raise ConfigError(problem_list(problems, "the search space"))
    return SearchSpace(parameters=parameters, groups=frozenset(key for key in space if options[key]))


def group_options(key: str, config_dir: str | None = None) -> list[str]:
    """The configs of a group, by name; none if the key is no group."""
    if not re.fullmatch(r"[\w-]+(/[\w-]+)*", key):
        return []
    found = {path.stem for folder in config_folders(config_dir) for path in (folder / key).glob("*.yaml")}
    return sorted(found | set(models_of_packages() if key in GROUPS else ()))


def into_space(arguments: Sequence[str]) -> list[str]:
    """A command line on which keys are searched -> one that sets ``sweep.space``; what ``launch`` rewrites by.

    Raises:
        ConfigError: ``--multirun``, or what :func:`searched` refuses.
    """
    parsed = get_args_parser().parse_intermixed_args(list(arguments))
    if parsed.multirun:
        raise ConfigError("-m: a sweep makes its own trials; leave -m out, or run a plain grid with python pipelines/train.py -m")
    overrides, space = searched(parsed.overrides)
    if "model" in space and not any(override.startswith("sweep=") for override in overrides):
        overrides.append("sweep=models")  # each model's own parameters, not those of the one that happens to be the default
    if space:
        overrides.append(f"++{override_text('sweep.space', space)}")
    return [*(argument for argument in arguments if argument not in parsed.overrides), *overrides]


def searched(overrides: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Split overrides into fixed ones and the search space.

    Returns:
        The fixed overrides as they are, and key -> text of what is searched.

    Raises:
        ConfigError: a key that is both, or an argument that is no override.
    """
    fixed: dict[str, str] = {}
    space: dict[str, str] = {}
    for override, parsed in zip(overrides, parsed_overrides(overrides, sweep_parser()), strict=True):
        key = parsed.get_key_element().lstrip("+")
        if parsed.is_sweep_override():
            space[key.removeprefix("sweep.space.")] = parsed.get_value_string().strip()
        elif key == "sweep.space" and isinstance(value := parsed.value(), dict):
            space |= value  # a second override of the same key would hide this one
        else:
            fixed[override] = key
    both = [f"{key}: is both set and searched ({key}={space[key]}); leave one of the two out" for key in fixed.values() if key in space]
    if both:
        raise ConfigError("\n".join(both))
    return list(fixed), space


def sweep_parser() -> OverridesParser:
    """Hydra's parser, but ``interval`` keeps whole numbers, which its own makes real ones, and ``choice`` takes null."""
    functions = create_functions()

    def choice_of_any(*values: Any) -> ChoiceSweep:
        return choice(*values)

    functions.definitions["choice"], functions.functions["choice"] = signature(choice_of_any), choice_of_any
    functions.functions["interval"] = lambda start, end: IntervalSweep(start=start, end=end)
    return OverridesParser(functions)


def override_text(key: str, value: Any) -> str:
    """``key=value`` as Hydra reads it back; strings are quoted where they would be read as something else.

    >>> print(override_text("model.hidden_units", [80, 40]), override_text("seed", "1"), override_text("model", "din"))
    model.hidden_units=[80,40] seed='1' model=din
    """
    override = Override(OverrideType.CHANGE, key, ValueType.ELEMENT, _quoted(value))
    return f"{key}={override.get_value_element_as_str()}"


def _quoted(value: Any) -> Any:
    match value:
        case bool():
            return str(value).lower()
        case str():
            is_word = re.fullmatch(r"[A-Za-z_][\w/-]*", value, re.ASCII) and value.lower() not in ("null", "true", "false", "nan", "inf")
            return value if is_word else QuotedString(value, Quote.single)
        case list() | tuple():
            return [_quoted(element) for element in value]
        case Mapping():
            return {key: _quoted(element) for key, element in value.items()}
        case _:
            return value


def _parameter(key: str, text: str, options: Sequence[str]) -> Parameter:
    section = re.split(r"[./@]", key)[0]
    if section in SHARED:
        shared = f"{', '.join(SHARED[:-1])} and {SHARED[-1]}"
        raise _Fault(f"all trials share {shared}, or their values could not be compared; take it out of the space and set it once")
    parsed = _parse(text).value()
    if isinstance(parsed, Sweep):
        _check_tags(parsed)
    match parsed:
        case Glob():
            return _named(options, parsed.filter(list(options)))
        case ChoiceSweep():
            values = [_plain(value) for value in parsed.list]
            return _named(options, values) if options else _choice(values)
        case RangeSweep() | IntervalSweep() if options:
            raise _Fault(f"is a config group, which has names; write choice(…) of {', '.join(options)}")
        case RangeSweep():
            return _range(parsed)
        case IntervalSweep():
            return _interval(parsed)
        case dict():
            raise _Fault("a section is no search; write its keys with dots, as in 'model.dropout: interval(0.0, 0.5)'")
        case list():
            raise _Fault(f"one value, a list, is no search; write choice({text.strip()[1:-1]}) or set it as {key}={text} outside the space")
        case _:
            raise _Fault(
                f"one value is no search; give several, as in choice(…) or interval(…), or set it as {key}={text} outside the space"
            )


def _parse(text: str) -> Override:
    try:
        return sweep_parser().parse_override(f"value={text}")
    except HydraException as error:
        allowed = "choice(a, b), range(start, stop, step), interval(low, high), tag(log, interval(low, high)) and glob(*)"
        raise _Fault(f"{first_paragraph(error)}; allowed are {allowed}; mend the text") from error


def _check_tags(sweep: Sweep) -> None:
    unknown = sorted(sweep.tags - {"log"})
    if unknown:
        raise _Fault(f"tag {unknown[0]} has no meaning; the only tag is log; leave it out")
    if sweep.tags and not isinstance(sweep, IntervalSweep):
        raise _Fault(
            "tag(log, …) is for an interval, since other values are equally likely; write tag(log, interval(low, high)) or leave tag out"
        )


def _named(options: Sequence[str], names: Sequence[Any]) -> Choice:
    """Of a config group."""
    if not options:
        raise _Fault("glob(…) chooses among the configs of a group, and this key is no group; write choice(…)")
    unknown = [name for name in names if name not in options]
    if unknown:
        raise _Fault("; ".join(f"{name}: no such config; {suggest(str(name), list(options))}" for name in unknown))
    if not names:
        raise _Fault(f"no config has such a name; allowed: {', '.join(options)}")
    return _choice(names)


def _choice(values: Sequence[Any]) -> Choice:
    texts = [json.dumps(value) for value in values]
    twice = list(dict.fromkeys(text for text in texts if texts.count(text) > 1))
    if twice:
        raise _Fault(f"{', '.join(twice)} given twice; all values are equally likely; give each once")
    return Choice(values=tuple(values))


def _range(sweep: RangeSweep) -> Range:
    start, stop, step = _numbers(sweep.start, sweep.stop, sweep.step)
    if step == 0:
        raise _Fault("a step of 0 does not move; set one that leads from start to stop")
    if (stop - start) / step > MAX_VALUES:
        raise _Fault(f"more than {MAX_VALUES:,} values; use a larger step, or interval({start}, {stop})")
    values = list(sweep.range())
    if len(values) < 2:
        held = f"only {values[0]}" if values else "no value"
        raise _Fault(
            f"holds {held}, for the stop is excluded; it must lie beyond start + step; swap or widen the ends, or turn the step's sign"
        )
    low, high = sorted([values[0], values[-1]])
    if isinstance(step, int) and isinstance(low, int):
        return Range(low=low, high=high, step=abs(step))
    # The last value in the user's decimals: 0.1 + 0.1 + 0.1 is not 0.3.
    first, width = Decimal(str(float(start))), (len(values) - 1) * Decimal(str(step))
    low, high = sorted([float(first), float(first + width)])
    return Range(low=low, high=high, step=float(abs(step)))


def _interval(sweep: IntervalSweep) -> Interval:
    low, high = _numbers(sweep.start, sweep.end)
    log = "log" in sweep.tags
    if low >= high:
        raise _Fault("the low end must be less than the high end; " + (f"swap them: interval({high}, {low})" if low > high else "widen it"))
    if log and low <= 0:
        raise _Fault(f"a log range that includes {'0' if low == 0 else 'negative numbers'}; its low end must be greater than 0; raise it")
    number: Callable[[Number], Number] = (lambda end: end) if isinstance(low, int) and isinstance(high, int) else float
    return Interval(low=number(low), high=number(high), log=log)


def _numbers(*ends: Any) -> list[Number]:
    for end in ends:
        if isinstance(end, bool) or not isinstance(end, int | float) or not math.isfinite(end):
            raise _Fault(f"{end} is no finite number; give numbers")
    return list(ends)


def _plain(value: Any) -> Any:
    """Quoted strings are strings."""
    match value:
        case QuotedString():
            return value.text
        case list():
            return [_plain(element) for element in value]
        case dict():
            return {_plain(key): _plain(element) for key, element in value.items()}
        case _:
            return value
