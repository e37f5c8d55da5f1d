"""The search space as text: Hydra's sweep grammar, read into typed parameters, from YAML and from the command line.

Hydra's own parser reads it, so ``choice``, ``range``, ``interval``, ``tag``, ``glob`` and the casts mean what they mean in a grid, with two
differences (:func:`sweep_parser`).
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from inspect import signature
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.core.override_parser.types import ChoiceSweep, Glob, IntervalSweep, Override, QuotedString, RangeSweep, Sweep
from hydra.errors import HydraException

from clickflow.cli.compose import group_options
from clickflow.cli.hydra_internals import choice_of
from clickflow.cli.overrides import first_paragraph
from clickflow.config import suggest
from clickflow.errors import ConfigError
from clickflow.sweep.space import Choice, Interval, Number, Parameter, Range, SearchSpace
from clickflow.text import problem_list

SHARED = ("data", "protocol", "home", "tracking", "sweep", "hydra")
"""Sections that all trials share."""
MAX_VALUES = 100_000
"""Of a range; more of them mean a mistyped step."""


class _Fault(ValueError):
    """The fault of one parameter; what is allowed; what to do."""


def read_space(space: Mapping[str, str], config_dir: str | None = None) -> SearchSpace:
    """Typed parameters from the text of each dotted key or config group; a ConfigError names each text that cannot be searched."""
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


def sweep_parser() -> OverridesParser:
    """Hydra's parser, but ``interval`` keeps whole numbers, which its own makes real ones, and ``choice`` takes null."""
    functions = create_functions()

    functions.definitions["choice"], functions.functions["choice"] = signature(choice_of), choice_of
    functions.functions["interval"] = lambda start, end: IntervalSweep(start=start, end=end)
    return OverridesParser(functions)


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
    """A choice among the configs of a group."""
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
