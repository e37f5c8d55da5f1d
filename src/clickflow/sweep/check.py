"""Check of a search space before the first trial: a fault found in trial 40 would have cost 39.

Both ends of every interval and range, and every choice, are tried one at a time in the config of every combination of config groups. A
contradiction between two searched values is left to the trials, because there are too many pairs to try.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from operator import attrgetter

from clickflow.config import suggest
from clickflow.errors import ConfigError
from clickflow.sweep.space import Composer, Interval, Parameter, SearchSpace
from clickflow.text import problem_list


def check_space(space: SearchSpace, composer: Composer) -> None:
    """Check that every key exists and that every parameter's ends can be run.

    Raises:
        ConfigError: one line per fault, with key and value, and with the config groups if it is no fault with the others.
    """
    known: set[str] = set()
    tried: Counter[str] = Counter()
    places: dict[tuple[str, str], list[str]] = {}  # key and fault -> config groups
    for groups in space.combinations:
        where = ", ".join(f"{group}={name}" for group, name in groups.items())
        applicable: list[str] = []
        tried[""] += 1
        try:
            keys = composer.keys(groups)
            known.update(keys)
            composer.compose(groups)
            applicable = space.applicable(keys)
        except ConfigError as error:
            for fault in _faults(error):
                places.setdefault(("", fault), []).append(where)
        tried.update(applicable)
        for key in applicable:
            for fault in _faults_of_ends(key, space.parameters[key], groups, composer):
                places.setdefault((key, f"sweep.space.{key}: {fault}"), []).append(where)
    problems = [f"sweep.space.{key}: {fault}" for key, fault in _unknown(space, known)]
    problems += [line if len(found) == tried[key] else f"{line} (with {'; '.join(found)})" for (key, line), found in places.items()]
    if problems:
        raise ConfigError(problem_list(problems, "the search space, each value set by itself"))


def check_grid(space: SearchSpace) -> None:
    """Raise a ConfigError, with one line per interval, unless every parameter has a finite number of values."""
    problems = [
        f"sweep.space.{key} = interval({parameter.low}, {parameter.high}): has no grid; sweep.sampler=grid takes choice(…) and range(…); "
        "use one of them or another sampler"
        for key, parameter in space.parameters.items()
        if isinstance(parameter, Interval)
    ]
    if problems:
        raise ConfigError(problem_list(problems, "the search space"))


def _unknown(space: SearchSpace, known: set[str]) -> Iterator[tuple[str, str]]:
    for key in space.parameters:
        if known and key not in known and key not in space.groups:
            where = f" with every {' and '.join(sorted(space.groups))} of the space" if space.groups else ""
            section, _, name = key.rpartition(".")
            siblings = {candidate.rpartition(".")[2]: candidate for candidate in known if candidate.rpartition(".")[0] == section}
            yield key, f"unknown key{where}; {suggest(name, list(siblings)) if siblings else suggest(key, sorted(known))}"


def _faults_of_ends(key: str, parameter: Parameter, groups: Mapping[str, str], composer: Composer) -> Iterator[str]:
    config = None
    for value in parameter.ends():
        try:
            config = composer.compose({**groups, key: value})
        except ConfigError as error:
            for fault in _faults(error):
                yield fault if fault.startswith(f"{key} = ") else f"at {value!r}: {fault}"
    whole = isinstance(parameter, Interval) and isinstance(parameter.low, int) and isinstance(parameter.high, int)
    if whole and config is not None and isinstance(attrgetter(key)(config), float):
        low, high = parameter.ends()
        yield f"interval({low}, {high}) holds whole numbers only, and the key is a real one; write interval({float(low)}, {float(high)})"


def _faults(error: ConfigError) -> list[str]:
    """The lines below the heading of a message, or else the message."""
    _, *lines = str(error).splitlines()
    return [line.strip() for line in lines] or [str(error)]
