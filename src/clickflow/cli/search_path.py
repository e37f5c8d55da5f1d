"""Search path of the configs: ``--config-dir``, then ``./conf`` of the working folder, then clickflow's own, then other packages' models.

A model of another package needs no YAML: Hydra finds the defaults of its config class where no folder has a file of that name.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, chdir, contextmanager, nullcontext
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf
from pydantic_core import to_jsonable_python

from clickflow.models.entry_points import config_class, models_of_packages

PACKAGE = Path(__file__).resolve().parents[1]
CONF = (PACKAGE / "conf").resolve()

# In a clone, conf is a link to the folder at its top.
REPOSITORY = Path.cwd() if CONF.parent == PACKAGE else CONF.parent
"""The clone that this code runs from, or else the working folder: where the default home is."""

MODEL_GROUP = "model"
GROUPS = (MODEL_GROUP, "sweep")
"""Those with a config for each model."""

_config_dir: ContextVar[str | None] = ContextVar("config_dir", default=None)


def config_folders(config_dir: str | None) -> list[Path]:
    """The folders with configs, those that win first."""
    folders = [] if config_dir is None else [Path(config_dir).absolute()]
    own = Path("conf").absolute()
    return [*folders, *([own] if own.is_dir() and own.resolve() != CONF else []), CONF]


@contextmanager
def further_configs(config_dir: str | None) -> Iterator[None]:
    """Let Hydra find the configs of :func:`config_folders` and the models of other packages."""
    plugins = Plugins.instance()
    plugins.register(_SearchPath)
    plugins.register(_ModelsOfPackages)
    token = _config_dir.set(config_dir)
    try:
        yield
    finally:
        _config_dir.reset(token)


def folder_of_command(folder: Path) -> AbstractContextManager[None]:
    """Work in the folder of the command that started a job, if this machine has it: there ``./conf`` and relative paths mean the same."""
    return chdir(folder) if folder.is_dir() else nullcontext()


class _SearchPath(SearchPathPlugin):
    """Puts the user's folders before clickflow's, and models of other packages behind them."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for folder in reversed(config_folders(_config_dir.get())[:-1]):
            search_path.prepend("clickflow", f"file://{folder}")
        search_path.append("clickflow", f"{_ModelsOfPackages.scheme()}://")


class _ModelsOfPackages(ConfigSource):
    """Hydra's view of other packages' models: ``model/NAME``, imported when it is loaded, and an empty search space ``sweep/NAME``."""

    @staticmethod
    def scheme() -> str:
        return "clickflow-models"

    def available(self) -> bool:
        return True

    def is_group(self, config_path: str) -> bool:
        return config_path.rstrip("/") in GROUPS

    def is_config(self, config_path: str) -> bool:
        group, _, name = config_path.removesuffix(".yaml").rpartition("/")
        return group in GROUPS and name in models_of_packages()

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        if results_filter == ObjectType.GROUP:
            return [] if config_path.strip("/") else list(GROUPS)
        return sorted(models_of_packages()) if self.is_group(config_path) else []

    def load_config(self, config_path: str) -> ConfigResult:
        group, _, name = config_path.removesuffix(".yaml").rpartition("/")
        values = _defaults(name) if group == MODEL_GROUP else {"defaults": ["default"]}
        header: dict[str, str | None] = {"package": None}
        return ConfigResult(provider=self.provider, path=f"{self.scheme()}://", config=OmegaConf.create(values), header=header)


def _defaults(name: str) -> dict[str, Any]:
    """The keys of a model that need not be given, as YAML would have them."""
    fields = config_class(name).model_fields.items()
    return {key: to_jsonable_python(field.get_default(call_default_factory=True)) for key, field in fields if not field.is_required()}
