"""Faults of the YAML file behind a choice such as ``data=my_shop``: it lies elsewhere, or holds something else."""

import glob
from collections.abc import Iterator
from pathlib import Path

import yaml

from clickflow.cli.search_path import CONF, config_folders
from clickflow.errors import ConfigError


def group_file(group: str, choice: str, config_dir: str | None) -> Path | None:
    """The file of a group's config; None if there is none."""
    files = (folder / group / f"{choice}.yaml" for folder in config_folders(config_dir))
    return next((file for file in files if file.is_file()), None)


def check_file(file: Path) -> None:
    """Refuse a file without keys: Hydra makes an empty section of it, and the error would be about what the section lacks.

    Raises:
        ConfigError: it is empty, or holds something else than keys.
    """
    try:
        values = yaml.safe_load(file.read_bytes())
    except (yaml.YAMLError, UnicodeDecodeError):
        return  # Hydra says what is wrong
    if values is None:
        raise ConfigError(f"{shown(file)}: is empty; write its keys, as in name: my_clicks, or choose another config")
    if not isinstance(values, dict):
        raise ConfigError(f"{shown(file)} = {str(values)[:40]!r}: must be keys with values, as in name: my_clicks")


def not_utf8(config_dir: str | None) -> list[str]:
    """The user's YAML files that are not UTF-8, each with the first byte that is not."""
    found = []
    for file in (file for folder in config_folders(config_dir) for file in sorted(folder.rglob("*.yaml"))):
        text = file.read_bytes()
        try:
            text.decode()
        except UnicodeDecodeError as error:
            line = text.count(b"\n", 0, error.start) + 1
            found.append(f"{shown(file)}, line {line}: not UTF-8 (byte {text[error.start]:#x}); save it as UTF-8")
    return found


def seen_elsewhere(group: str, choice: str, config_dir: str | None) -> str | None:
    """A sentence that says where the missing file of a choice lies, and where it belongs; None if it is not in sight.

    Args:
        group: as in ``data=my_shop``.
        choice: as typed, which may be a path.
        config_dir: as given by ``--config-dir``.
    """
    typed = Path(choice)
    name = typed.stem if typed.suffix in (".yaml", ".yml") else typed.name
    if not name:
        return None
    if name != choice and group_file(group, name, config_dir):
        return f"a config is chosen by its name; write {group}={name}"
    wanted = Path("conf" if config_dir is None else config_dir) / group / f"{name}.yaml"
    for file in _candidates(group, glob.escape(name), config_dir):
        if file.with_suffix(".yaml").absolute() == wanted.absolute():
            return f"{shown(file)} is there, but only files that end with .yaml are read; rename it {wanted.name}"
        return f"{shown(file)} is there, but not where configs of {group} are found; move it to {shown(wanted)}"
    return None


def _candidates(group: str, name: str, config_dir: str | None) -> Iterator[Path]:
    """Files of this name: in the folders of configs and below them, then in the working folder and its own folders."""
    patterns = [f"{below}{name}.{suffix}" for below in (f"{group}/", "", "*/", "*/*/") for suffix in ("yml", "yaml")]
    folders = config_folders(config_dir)
    yield from (file for folder in folders[:-1] for pattern in patterns for file in sorted(folder.glob(pattern)))
    yield from (file for pattern in patterns[:4] for file in sorted(CONF.glob(pattern)))  # in a clone it is the user's folder, too
    yield from (file for pattern in patterns[2:6] for file in sorted(Path.cwd().glob(pattern)) if not file.is_relative_to(CONF))


def shown(path: Path) -> str:
    """A path as the user would type it in the working folder."""
    path = path.absolute()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
