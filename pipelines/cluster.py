"""Workers of a sweep on other machines, through Hydra's launchers: Ray, Slurm (submitit), or any other that is installed.

Hydra instantiates a launcher only for its own multirun. Here it gets the workers as its jobs instead: how a job comes to a machine is the
launcher's business, what the workers do is the study's. Nothing but the order goes to them, and all they report goes through the study and
MLflow, so both must be where every machine reaches them.
"""

import functools
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict

from clickflow.errors import TrainingError
from clickflow.sweep.order import Order
from clickflow.sweep.processes import MAX_IDLE_DEATHS, STOP_SECONDS
from clickflow.sweep.worker import work
from pipelines.composer import HydraComposer

LOCAL = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"


@dataclass(frozen=True)
class Cluster:
    """A launcher that was chosen on the command line, kept from what Hydra composed.

    Attributes:
        context: Hydra's, of this call.
        config: Hydra's own part of the composed config.
    """

    context: HydraContext
    config: DictConfig

    @property
    def threads_per_worker(self) -> int:
        """The processors that the launcher gives to a job."""
        launcher = self.config.hydra.launcher
        cpus = launcher.get("cpus_per_task") or OmegaConf.select(launcher, "ray.remote.num_cpus")
        return int(cpus or 1)


def chosen_cluster() -> Cluster | None:
    """The launcher of this call; None for workers of this machine. To be asked before anything else is composed."""
    config: Any = HydraConfig.instance().cfg
    if config.hydra.launcher.get("_target_") == LOCAL:
        return None
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    return Cluster(HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks(config)), config.copy())


class ClusterWorkers:
    """Workers as jobs of a launcher.

    Args:
        cluster: where.
        order: what to do.
    """

    def __init__(self, cluster: Cluster, order: Order) -> None:
        self._cluster = cluster
        self._order = order
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._idle_launches = 0
        self._num_trials = -1
        self.causes: dict[int, str] = {}

    def keep_up(self, num_needed: int, trials: Sequence[object]) -> None:
        """Launch the jobs, and again when all have ended though there is work left.

        Args:
            num_needed: trials that are left to finish.
            trials: all that were taken so far.

        Raises:
            TrainingError: launch after launch no job comes as far as a trial.
        """
        if self._thread is not None and self._thread.is_alive():
            return
        self._idle_launches = 0 if len(trials) > self._num_trials else self._idle_launches + 1
        self._num_trials = len(trials)
        if self._idle_launches >= MAX_IDLE_DEATHS:
            raise TrainingError(f"hydra/launcher: {self._idle_launches} launches ended without a trial; the last one: {self._error!r}")
        num_jobs = min(self._order.config.sweep.num_workers, num_needed)
        self._thread = threading.Thread(target=self._launch, args=(num_jobs,), name="clickflow-launcher", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait for jobs that have nothing left to do."""
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)

    def stop(self) -> None:
        """The study has told the workers to stop; wait until they have."""
        self.wait()

    def _launch(self, num_jobs: int) -> None:
        try:
            launcher = Plugins.instance().instantiate_launcher(
                hydra_context=self._cluster.context,
                task_function=functools.partial(work_on_cluster, self._order.model_dump_json()),
                config=self._config(),
            )
            launcher.launch([[f"++home={self._order.config.home}"]] * num_jobs, initial_job_idx=0)
        except BaseException as error:
            self._error = error

    def _config(self) -> DictConfig:
        config = self._cluster.config.copy()
        with open_dict(config):
            config.home = str(self._order.config.home)  # the launchers' folders lie below it
        return config


def work_on_cluster(order: str, composed: Any) -> None:
    """What a launcher runs on each machine.

    Args:
        order: as JSON.
        composed: Hydra's; the order has all that counts.
    """
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    told = Order.model_validate_json(order, strict=False)
    work(told, HydraComposer(told.overrides, told.config_dir))
