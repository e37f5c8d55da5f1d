"""A command's config as Hydra composes it from ``conf``, and as plain values; every fault is a ConfigError."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError

from clickflow.cli.config_files import check_file, group_file, not_utf8, seen_elsewhere
from clickflow.cli.overrides import first_paragraph, lenient, parsed_overrides
from clickflow.cli.search_path import CONF, GROUPS, REPOSITORY, config_folders, further_configs
from clickflow.config import suggest
from clickflow.errors import ConfigError
from clickflow.models.entry_points import models_of_packages

LAUNCHERS = {
    "ray": "pip install 'clickflow[ray]'",
    "submitit_local": "pip install 'clickflow[slurm]'",
    "submitit_slurm": "pip install 'clickflow[slurm]'",
}
"""Launcher of an optional plugin -> what to do where it is missing."""

# Every config that is composed, here or by Hydra, names its home by it.
OmegaConf.register_new_resolver("repository", lambda path: str(REPOSITORY / path), replace=True)


def compose(config_name: str, overrides: Sequence[str], config_dir: str | None, *, with_hydra: bool = False) -> DictConfig:
    """A command's config, from ``conf`` and the user's folder with more configs."""
    if config_dir is not None and not Path(config_dir).is_dir():
        raise ConfigError(f"--config-dir = {config_dir}: no such folder; name one that holds groups, as conf/data/my_clicks.yaml")
    _refuse_unusable_choices(overrides, config_dir)
    GlobalHydra.instance().clear()
    try:
        with further_configs(config_dir), hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            return hydra.compose(config_name, overrides=list(overrides), return_hydra_config=with_hydra)
    except MissingConfigException as error:
        raise ConfigError(_no_such_config(error, config_name, overrides, config_dir)) from error
    except (HydraException, OmegaConfBaseException) as error:
        fault = first_paragraph(error)
        if unknown := re.match(r"Could not override '(.+?)'", fault):
            fault = f"{unknown[1]}: {config_name} has no such config group; --help lists those it has"
        raise ConfigError(fault) from error
    except MarkedYAMLError as error:
        raise ConfigError(_not_yaml(error)) from error
    except UnicodeDecodeError as error:
        raise ConfigError("\n".join(not_utf8(config_dir))) from error
    finally:
        GlobalHydra.instance().clear()


def _no_such_config(error: MissingConfigException, config_name: str, overrides: Sequence[str], config_dir: str | None) -> str:
    """Say which choice of a group has no file, and what to do."""
    file = str(error.missing_cfg_file)
    group, _, choice = file.rpartition("/")
    parsed = [override for override in parsed_overrides(overrides) if not override.is_sweep_override()]
    typed = next((override for override in parsed if f"{override.key_or_group}/{override.value()}" == file), None)
    what_to_do = LAUNCHERS.get(choice) if group == "hydra/launcher" else None
    if typed is not None:
        group, choice = typed.key_or_group, str(typed.value())  # which may be a path
        what_to_do = what_to_do or seen_elsewhere(group, choice, config_dir)
    elif group == "sweep":
        what_to_do = f"name the search space of this model, as in sweep=base, or write a conf/sweep/{choice}.yaml of your own"
    what_to_do = what_to_do or suggest(choice, list(error.options or group_options(group, config_dir)))
    return f"{group or config_name} = {choice}: no such config; {what_to_do}"


def _not_yaml(error: MarkedYAMLError) -> str:
    """Say where a YAML file cannot be read."""
    mark = error.problem_mark
    where = "a YAML file" if mark is None else f"{mark.name}, line {mark.line + 1}, column {mark.column + 1}"
    what = (error.problem or error.context or "").replace("'\\t'", "a tab")
    return f"{where}: not YAML ({what}); indent with spaces, close quotes and brackets, and name each key once"


def _refuse_unusable_choices(overrides: Sequence[str], config_dir: str | None) -> None:
    """Files without keys; and ``model=null`` and ``data=1``, on which Hydra itself fails with a traceback."""
    for override in parsed_overrides(overrides):
        if override.is_delete() or override.is_sweep_override():
            continue
        if isinstance(override.value(), str):
            file = group_file(override.key_or_group, str(override.value()), config_dir)
            if file is not None and not file.is_relative_to(CONF):
                check_file(file)
        elif options := group_options(override.key_or_group, config_dir):
            typed = str(override.input_line).partition("=")[2]
            raise ConfigError(f"{override.key_or_group} = {typed}: no such config; {suggest(typed, options)}")


def plain(composed: DictConfig) -> dict[str, Any]:
    """Resolved values, without the required ones that nobody gave."""
    try:
        values = OmegaConf.to_container(composed, resolve=True, throw_on_missing=False)
    except OmegaConfBaseException as error:
        raise ConfigError(first_paragraph(error)) from error
    assert isinstance(values, dict)
    missing = {key for key in OmegaConf.missing_keys(composed) if "." not in key}
    return {str(key): value for key, value in values.items() if key not in missing}


def composed_config(config_name: str, overrides: Sequence[str], config_dir: str | None = None) -> dict[str, Any]:
    """A command's config with overrides, as plain values; what tests and other programs compose with."""
    return plain(compose(config_name, lenient(overrides, config_groups(config_dir)), config_dir))


def config_groups(config_dir: str | None = None) -> set[str]:
    """The names of all config groups at the top."""
    return {folder.name for root in config_folders(config_dir) if root.is_dir() for folder in root.iterdir() if folder.is_dir()}


def group_options(key: str, config_dir: str | None = None) -> list[str]:
    """The configs of a group, by name; none if the key is no group."""
    if not re.fullmatch(r"[\w-]+(/[\w-]+)*", key):
        return []
    found = {path.stem for folder in config_folders(config_dir) for path in (folder / key).glob("*.yaml")}
    return sorted(found | set(models_of_packages() if key in GROUPS else ()))
