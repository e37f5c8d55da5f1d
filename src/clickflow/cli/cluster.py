"""Workers of a sweep on other machines, through Hydra's launchers for Ray and for Slurm (submitit).

Hydra instantiates a launcher only for its own multirun. Here each worker is a launch of its own with one job, so that a job that ends early
can be replaced alone. The launcher decides how a job reaches a machine; the study decides what the workers do. A worker receives
nothing but its worker spec and reports through the study and MLflow, so every machine must be able to reach both.
"""

import functools
import shutil
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from clickflow.cli.composer import HydraComposer
from clickflow.cli.hydra_internals import launch_context
from clickflow.cli.launch import set_environment
from clickflow.cli.overrides import first_paragraph, override_text
from clickflow.cli.search_path import folder_of_command
from clickflow.errors import ClickflowError, ConfigError, TrainingError, interrupt
from clickflow.sweep.processes import LOG_LINES, MAX_IDLE_DEATHS, STOP_SECONDS
from clickflow.sweep.worker import work
from clickflow.sweep.worker_spec import WorkerSpec

LOCAL, RAY, SUBMITIT_LOCAL, SLURM = "BasicLauncher", "RayLauncher", "LocalLauncher", "SlurmLauncher"
QUIET_RAY = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
"""Options that keep Ray quiet on the console, unless ``hydra.launcher.ray.init`` sets them."""


@dataclass(frozen=True)
class Cluster:
    """A launcher that was chosen on the command line, with what Hydra composed."""

    context: HydraContext
    config: DictConfig

    @property
    def name(self) -> str:
        """Name of the launcher's class."""
        return _class_name(self.config)

    @property
    def threads_per_worker(self) -> int | None:
        """The processors that the launcher gives to a job; None where the jobs share those of this machine."""
        launcher = self.config.hydra.launcher
        cpus = OmegaConf.select(launcher, "ray.remote.num_cpus") if self.name == RAY else launcher.cpus_per_task
        if cpus is None:
            return None if self.name == SUBMITIT_LOCAL else 1  # what Ray and Slurm give to a job that names no number
        return max(1, int(cpus))


def chosen_cluster() -> Cluster | None:
    """The launcher of this call; None for workers of this machine. To be asked before anything else is composed.

    Raises:
        ConfigError: workers cannot be started by this launcher, or Ray or Slurm cannot be reached from here.
    """
    config: Any = HydraConfig.instance().cfg
    name = _class_name(config)
    if name == LOCAL or config.hydra.mode == RunMode.MULTIRUN:  # the sweeps of a grid are the launcher's jobs already
        return None
    if name not in (RAY, SUBMITIT_LOCAL, SLURM):
        choice = config.hydra.runtime.choices.get("hydra/launcher", name)
        raise ConfigError(f"hydra/launcher = {choice}: cannot start workers; use cluster=ray or cluster=slurm, or leave it out")
    if name == SLURM and shutil.which("srun") is None:
        raise ConfigError("hydra/launcher = submitit_slurm: this machine has no srun; start the sweep on a login node of the cluster")
    if name == RAY:
        _connect_to_ray(config.hydra.launcher.ray.init)
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    return Cluster(launch_context(hydra.config_loader, config), config.copy())


def _class_name(config: Any) -> str:
    return str(config.hydra.launcher.get("_target_")).rpartition(".")[2]


def _connect_to_ray(settings: DictConfig) -> None:
    """Connect once, before the launches, which run at the same time and would each do it."""
    import ray

    handler = signal.getsignal(signal.SIGTERM)
    arguments: Any = QUIET_RAY | dict(OmegaConf.to_container(settings, resolve=True))  # type: ignore[arg-type]
    try:
        host, _, port = str(arguments.get("address")).rpartition(":")
        if port.isdecimal() and "/" not in host:  # Ray itself would wait for minutes
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(**arguments, ignore_reinit_error=True)
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        where = f".address = {arguments['address']}" if arguments.get("address") else ""
        raise ConfigError(f"hydra.launcher.ray.init{where}: Ray cannot be used ({first_paragraph(error)})") from error
    finally:
        signal.signal(signal.SIGTERM, handler)  # Ray's own would end this process at once


@dataclass
class _Launch:
    """One worker's way to a machine and back."""

    launcher: Launcher
    overrides: list[str]  # of the config that Hydra composes for a job
    num_trials: int  # taken before this launch
    error: str | None = None  # how it ended, if badly
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run, name="clickflow-launch", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            [job] = self.launcher.launch([self.overrides], initial_job_idx=0)
            self.error = job.return_value
        except BaseException as error:
            self.error = f"{type(error).__name__}: {error}"


class ClusterWorkers:
    """Workers as jobs of a launcher."""

    def __init__(self, cluster: Cluster, spec: WorkerSpec) -> None:
        self._cluster = cluster
        self._spec = _with_absolute_folders(spec)
        self._places: list[_Launch | None] = [None] * spec.config.sweep.num_workers
        self._idle_ends = 0

    def cause_of(self, pid: int) -> None:
        """Unknown: a job is not a process of this machine."""

    def start_missing(self, num_needed: int, trials: Sequence[object]) -> None:
        """Launch a job for each worker, and others for those that ended early; a TrainingError if none comes as far as a trial."""
        for place, launch in enumerate(self._places):
            if launch is not None and not launch.thread.is_alive():
                self._remove_ended(place, launch, had_a_trial=len(trials) > launch.num_trials)
            if self._places[place] is None and place < num_needed:
                self._places[place] = _Launch(self._launcher(), [override_text("home", str(self._spec.config.home))], len(trials))

    def wait(self) -> None:
        """Wait for jobs that have nothing left to do; one that still waits for a machine will find that out by itself."""
        deadline = time.monotonic() + STOP_SECONDS
        for launch in self._places:
            if launch is not None:
                launch.thread.join(max(0.0, deadline - time.monotonic()))

    def stop(self, publish_stop: Callable[[], None]) -> None:
        """Tell the workers to stop, through the study, and wait until they have."""
        publish_stop()
        self.wait()

    def _remove_ended(self, place: int, launch: _Launch, *, had_a_trial: bool) -> None:
        self._places[place] = None
        self._idle_ends = 0 if had_a_trial or launch.error is None else self._idle_ends + 1
        if self._idle_ends >= MAX_IDLE_DEATHS:
            tail = "\n".join(str(launch.error).splitlines()[-LOG_LINES:])
            raise TrainingError(f"{self._idle_ends} workers in a row ended before their first trial; the last one of them with:\n{tail}")

    def _launcher(self) -> Launcher:
        config = self._cluster.config.copy()
        with open_dict(config), read_write(config.hydra):
            config.home = str(self._spec.config.home)  # the launchers' folders lie below it
            config.hydra.overrides.hydra = []  # those of the launcher; a job has none
        task = functools.partial(work_on_cluster, self._spec.model_dump_json(), Path.cwd())
        return Plugins.instance().instantiate_launcher(hydra_context=self._cluster.context, task_function=task, config=config)


def _with_absolute_folders(spec: WorkerSpec) -> WorkerSpec:
    """The spec for machines on which a job starts in another folder, where the default home is another one too."""
    home = spec.config.home.absolute()
    overrides = [text for text in spec.overrides if not text.startswith("home=")]
    return spec.model_copy(
        update={
            "config": spec.config.model_copy(update={"home": home}),
            "overrides": (*overrides, override_text("home", str(home))),
            "config_dir": None if spec.config_dir is None else str(Path(spec.config_dir).absolute()),
            "dataset_folder": spec.dataset_folder.absolute(),
        }
    )


def work_on_cluster(spec: str, folder: Path, composed: Any) -> str | None:
    """The task that a launcher runs on each machine: the worker spec, as JSON, has all that counts of what Hydra composed.

    ``folder`` is the one in which the sweep was started.

    Returns how it ended, if badly. An error itself might not come through to where it is read.
    """
    set_environment()
    signal.signal(signal.SIGUSR2, interrupt)  # submitit's, some time before the job's own comes to an end
    try:
        told = WorkerSpec.model_validate_json(spec, strict=False)
        with folder_of_command(folder):
            work(told, HydraComposer(told.overrides, told.config_dir))
    except KeyboardInterrupt:
        return None  # its trial goes on elsewhere
    except ClickflowError as error:
        return f"{type(error).__name__}: {error}"
    except Exception:
        print(traceback.format_exc(), file=sys.stderr)
        return traceback.format_exc()
    return None
