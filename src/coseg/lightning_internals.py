"""What coseg uses of Lightning beyond its public interface, all in one place.

A new version of Lightning may change any of it without notice: the tests of this module fail then, and say what.
"""

from __future__ import annotations

import logging
import logging.config
import signal
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.sharedctypes import RawValue
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint, WeightAveraging
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.plugins.environments import SLURMEnvironment
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher, _SubprocessScriptLauncher
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import STEP_OUTPUT
from omegaconf import OmegaConf
from torch import nn
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.multiprocessing import ProcessExitedException

from coseg.errors import CosegError
from coseg.signals import Stopped, handled, stop_children


def starts_command_again(trainer: L.Trainer) -> bool:
    """Whether the trainer starts the running command once more for each further process, as plain ``ddp`` does."""
    return isinstance(trainer.strategy.launcher, _SubprocessScriptLauncher)


def spawns_processes(trainer: L.Trainer) -> bool:
    """Whether the trainer runs in processes that this one spawns or forks, as with ``ddp_spawn``."""
    return isinstance(trainer.strategy.launcher, _MultiProcessingLauncher)


def leave_requeue(trainer: L.Trainer) -> None:
    """Have Lightning not queue a job of SLURM's again: `coseg.training.slurm` does, when the work is saved."""
    environment = trainer._accelerator_connector.cluster_environment
    if isinstance(environment, SLURMEnvironment):
        environment.auto_requeue = False


def leave_sigterm(trainer: L.Trainer) -> None:
    """Have Lightning take no notice of SIGTERM, when a callback's `setup` has taken it over.

    Lightning would end the training without a checkpoint of the running epoch, and in several processes send a message
    between them, perhaps in the middle of another one.
    """
    trainer._signal_connector._sigterm_notifier_fn = lambda *_: None  # type: ignore[method-assign]


@contextmanager
def signals_forwarded(trainer: L.Trainer) -> Iterator[None]:
    """While `trainer` runs in spawned processes, have them stop at a signal to this one, and keep waiting.

    All end with the code of the signal that came to this process, whether it came to them as well (Ctrl-C in a
    terminal) or not. A second Ctrl-C ends them at once.

    Raises:
        Stopped: they have left what can be resumed.
        SystemExit: the signal came before they had anything to leave.
    """
    if not spawns_processes(trainer):
        yield
        return
    received: list[int] = []
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    shared = [callback.stop for callback in callbacks if isinstance(callback, SpawnedProcess)]

    def forward(number: int, frame: FrameType | None) -> None:
        for stop in shared:
            stop.value = number
        stop_children(signal.SIGINT if received and number == signal.SIGINT else signal.SIGTERM)
        received.append(number)

    with handled(forward):
        try:
            yield
        except Exception as error:
            if received and (stop := Stopped.find(error)) is not None:
                raise Stopped(stop.path, received[0]) from None
            if received and isinstance(error, ProcessExitedException):
                raise SystemExit(128 + received[0]) from None
            raise


class SpawnedProcess(Callback):
    """Gives the processes that the trainer spawns what a command's own process has: a log, without hints in it.

    They unpickle the trainer, and with it this callback, before they do anything else. Ctrl-C is left to their main
    process until training or test begins, which handle it.

    Attributes:
        stop: shared with the main process: the number of a signal that came to it, perhaps before they were there.
    """

    def __init__(self) -> None:
        self.stop = RawValue("i", 0)

    def __getstate__(self) -> dict[str, Any]:
        """With the configuration of the log, where a command of Hydra's runs."""
        log = HydraConfig.get().job_logging if HydraConfig.initialized() else None
        return {**vars(self), "log": OmegaConf.to_container(log, resolve=True) if log is not None else None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Configure this process."""
        vars(self).update(state)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        quiet_lightning()
        if self.log is not None:
            logging.config.dictConfig(self.log)

    log: dict[str, Any] | None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """All but the first process log what is wrong, and nothing else; take notice of a signal that came before."""
        if spawns_processes(trainer):
            if not trainer.is_global_zero:
                logging.getLogger().setLevel(logging.WARNING)
            if self.stop.value:
                signal.raise_signal(signal.SIGTERM)


def ddp_arguments(trainer: L.Trainer) -> dict[str, Any] | None:
    """The arguments of torch's `DistributedDataParallel`, to be changed in place; None with other strategies."""
    return trainer.strategy._ddp_kwargs if isinstance(trainer.strategy, DDPStrategy) else None


def training_progress(trainer: L.Trainer) -> tuple[int, int]:
    """Complete epochs, and batches of the running one that are done: not (0, 0) after a checkpoint was restored."""
    loop: Any = trainer.fit_loop  # Lightning types its progress as a base class without these counts
    epoch = loop.epoch_progress.current
    if epoch.started == epoch.processed:  # between two epochs: the counts of batches are those of the last one
        return epoch.processed, 0
    return epoch.processed, loop.epoch_loop.batch_progress.current.processed


def complete_epochs(checkpoint: Mapping[str, Any]) -> int:
    """Epochs of a checkpoint that are trained and validated.

    Raises:
        KeyError: it is no checkpoint of Lightning.
        TypeError: likewise.
    """
    return int(checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])


def reopen_training_loader(trainer: L.Trainer) -> None:
    """Let the training loader be made again when training starts."""
    trainer.fit_loop._combined_loader = None


def set_csv_writer(logger: CSVLogger, writer: ExperimentWriter) -> None:
    """Let `logger` write with `writer`, in place of one of Lightning's that it would make."""
    logger._experiment = writer


class CSVWriter(ExperimentWriter):
    """Lightning's writer of ``metrics.csv``, of which a subclass says how the file is written with a new column."""

    def rewrite(self, columns: list[str]) -> None:
        """Write the whole file again, with these columns."""
        super()._rewrite_with_new_header(columns)

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        self.rewrite(fieldnames)


class OverwritingCheckpoint(ModelCheckpoint):
    """Lightning's callback for checkpoints, which removes no file: it writes over its one file instead."""

    @property
    def file(self) -> Path:
        """The one file that it writes, whose name depends on no score or step."""
        assert self.dirpath is not None
        return Path(self.dirpath) / f"{self.filename}{self.FILE_EXTENSION}"

    def _should_remove_checkpoint(self, trainer: L.Trainer, previous: str, current: str) -> bool:
        return False


class MovingAverageOnDevice(EMAWeightAveraging):
    """Lightning's moving average of the weights, kept on the device that trains.

    Lightning makes it before the network is moved there, and would copy all weights to the host after each step.
    """

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Make the average."""
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)


class ShardedStrategy(ModelParallelStrategy):
    """Each process holds a part of every parameter, its gradient and its optimiser state: torch's FSDP2.

    The encoder's blocks are gathered when they are used, all else for a whole step. Checkpoints are single files of
    whole tensors, as those of other trainings. Statistics of batch norm are those of the first process, as with DDP.

    Args:
        min_parameters: see `blocks_of`.
        **settings: of Lightning's class.
    """

    def __init__(self, min_parameters: int = 1_000_000, **settings: Any) -> None:
        super().__init__(save_distributed_checkpoint=False, **settings)
        self.min_parameters = min_parameters

    def setup_environment(self) -> None:
        """Let the processes meet, and the task be sharded when Lightning configures it.

        Raises:
            CosegError: this is no training, or with the moving average of the weights, which needs whole weights.
        """
        task: Any = self.lightning_module
        if task.trainer.state.fn != TrainerFn.FITTING:
            raise CosegError(
                "trainer=fsdp divides the weights, but only in a training: test with trainer=ddp, which takes the same "
                "checkpoints, as they hold whole tensors."
            )
        if any(isinstance(callback, WeightAveraging) for callback in task.trainer.callbacks):
            raise CosegError(
                "callbacks=ema holds a second copy of all weights, which trainer=fsdp divides among processes: choose "
                "one of them (trainer=ddp goes with callbacks=ema)."
            )
        self._data_parallel_size, self._tensor_parallel_size = self.num_nodes * self.num_processes, 1
        super().setup_environment()
        task.configure_model = self._shard

    def _shard(self) -> None:
        task: Any = self.lightning_module
        if isinstance(task, FSDPModule):
            return
        task.network.to(memory_format=torch.contiguous_format)  # others can't be sharded
        mesh = self.device_mesh["data_parallel"]
        for block in blocks_of(task.network.encoder, self.min_parameters):
            fully_shard(block, mesh=mesh)
        fully_shard(task, mesh=mesh)
        for step in ("training_step", "validation_step"):
            register_fsdp_forward_method(task, step)

    def training_step(self, *arguments: Any, **settings: Any) -> STEP_OUTPUT:
        """A step, which begins with the first process's statistics of batch norm."""
        self._take_statistics()
        return super().training_step(*arguments, **settings)

    def validation_step(self, *arguments: Any, **settings: Any) -> STEP_OUTPUT:
        """Likewise."""
        self._take_statistics()
        return super().validation_step(*arguments, **settings)

    def _take_statistics(self) -> None:
        task: Any = self.lightning_module
        buffers = [buffer for buffer in task.network.buffers() if buffer.is_floating_point()]
        if buffers:
            flat = torch.cat([buffer.flatten() for buffer in buffers])
            torch.distributed.broadcast(flat, 0)
            for buffer, values in zip(buffers, flat.split([buffer.numel() for buffer in buffers]), strict=True):
                buffer.copy_(values.view_as(buffer))


def has_divided_weights(trainer: L.Trainer) -> bool:
    """Whether no process has all weights: what one process computes with them, all must compute at the same time."""
    return isinstance(trainer.strategy, ModelParallelStrategy)


def blocks_of(module: nn.Module, least: int) -> list[nn.Module]:
    """The smallest elements of module lists and sequences in `module` that have at least so many parameters."""
    listed = [part for parts in module.modules() if isinstance(parts, nn.Sequential | nn.ModuleList) for part in parts]
    large = [part for part in listed if sum(parameter.numel() for parameter in part.parameters()) >= least]
    return [part for part in large if not any(part is not other and other in set(part.modules()) for other in large)]


def drop_anonymous(logger: WandbLogger) -> None:
    """Leave out the argument ``anonymous`` of ``wandb.init``: W&B warns of it, whatever its value."""
    logger._wandb_init.pop("anonymous", None)


_HINTS = (
    "does not have many workers",
    "This DataLoader will create",  # more workers than the process may use cores
    "smaller than the logging interval",
    "LeafSpec",
    "in eval mode at the start of training",  # a frozen encoder is
    "Checkpoint directory .* exists and is not empty",
    "Experiment logs directory .* exists and is not empty",
    "find_unused_parameters=True was specified",  # see `coseg.training.fit.make_trainer`
    "your dataloader is not resumable",  # it is: the sampler starts where training stopped
    "`srun` command is available",
    "could not find the monitored key",  # where nothing is validated, there is no best checkpoint
)


def quiet_lightning() -> None:
    """Keep out of this process's log what Lightning, and torch's spawning, advise and report of themselves."""
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
        logging.getLogger(f"{name}.utilities.rank_zero").setLevel(logging.WARNING)
    for hint in _HINTS:
        warnings.filterwarnings("ignore", message=f".*{hint}")
