"""The command line of a sweep: what it searches is handed to Hydra as entries of ``sweep.space``, so that its ``--cfg job`` shows them."""

from collections.abc import Sequence

from clickflow.cli.hydra_internals import parsed_arguments
from clickflow.cli.overrides import override_text, parsed_overrides
from clickflow.cli.search_space import sweep_parser
from clickflow.errors import ConfigError


def into_space(arguments: Sequence[str]) -> list[str]:
    """A command line on which keys are searched -> one that sets ``sweep.space``; a sweep takes no ``--multirun``."""
    parsed = parsed_arguments(arguments)
    if parsed.multirun:
        raise ConfigError("-m: a sweep makes its own trials; leave -m out, or run a plain grid with clickflow train -m")
    overrides, space = searched(parsed.overrides)
    if "model" in space and not any(override.startswith("sweep=") for override in overrides):
        overrides.append("sweep=models")  # each model's own parameters, not those of the one that happens to be the default
    if space:
        overrides.append(f"++{override_text('sweep.space', space)}")
    return [*(argument for argument in arguments if argument not in parsed.overrides), *overrides]


def searched(overrides: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Split overrides into fixed ones, as they are, and the search space (key -> text); a key that is both is a ConfigError."""
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
