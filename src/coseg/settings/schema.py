"""The settings that a user may change, group by group: the type of each.

A group of a class that is not coseg's, lightning's, torch's or albumentations' is its author's: its settings may mean
anything, and are left alone. So is every key that is not listed. Which words there are is checked where they are used.
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

from pydantic import ConfigDict, StrictStr, create_model

from coseg.settings.types import (
    MOST_CHANNELS,
    MOST_PIXELS,
    MOST_SEED,
    Field,
    described,
    finite,
    listed,
    mapping,
    number,
    one_of,
    part,
    path,
    several,
    steps,
    switch,
    whole,
    word,
)

Table = dict[str, Any]

PIXELS = whole(1, MOST_PIXELS)
PIXELS_OR_NULL = whole(1, MOST_PIXELS, null=True)
CHANNELS = whole(1, MOST_CHANNELS)
GIGABYTES = number(0, 1e6)
COUNT = whole(0, 10**15)
PAIRS = whole(1, 10**15, null=True)

COMMON: Table = {
    "seed": whole(0, MOST_SEED),
    "threads": whole(1, 4096, null=True),
    "runs": path(null=False),
    "panels": whole(0, 10**6, null=True),
    "trust": switch(),
    # of coseg-train
    "name": path(null=False),
    **dict.fromkeys(("resume", "weights"), path()),
    "check": switch(),
    "checkpoint_minutes": number(0, null=True),
    # of coseg-test
    **dict.fromkeys(("ckpt", "predictions"), path()),
    "save_masks": switch(words=("masks", "probabilities")),
    "input_size": PIXELS_OR_NULL,
    "mirrored": switch(),
    "threshold": number(0, 1, above=True, null=True),
    **dict.fromkeys(("feature_gb", "shared_gb"), GIGABYTES),
    "pairs_at_once": whole(1, 10**6),
}

TASK: Table = {
    "void": word(),
    **dict.fromkeys(("semantic", "jaccard"), number(0)),
    "exemplars": number(0, 1),
    **dict.fromkeys(("channels_last", "compile"), switch()),
}

LOSS: Table = {"weight": number(0), "void": word()}

PROTOCOL: Table = {"name": word(), "void": word(), "unit": word(), "size": PIXELS_OR_NULL, "grey_maps": switch()}

DATA: Table = {
    "batch_size": whole(1, 10**9),
    "order": word(),
    "pairs_per_epoch": PAIRS,
    "negatives": number(0, 1),
    "clique": whole(2, 10**4, null=True),
    "val_pairs": PAIRS,
    "test_pairs": PAIRS,
    "pairs": path(),
    "val_negatives": COUNT,
    "test_negatives": COUNT,
    "test_size": PIXELS_OR_NULL,
    "workers": whole(0, 1024),
    "cache_gb": GIGABYTES,
    "seed": whole(0, 2**63 - 1),
}

READER: Table = {
    **dict.fromkeys(("root", "images", "masks", "subset", "test_list", "class_name"), path()),
    **dict.fromkeys(("split_val", "resize_masks"), switch()),
    "unseen_classes": listed(word(), "names of classes", least=0),
    "classes": described(StrictStr | several(StrictStr), "all, a name of a class or a list of them"),
    "min_area": number(0),
    "max_area": number(0, null=True),
    **dict.fromkeys(("annotations", "folders", "lists"), described(mapping(path()), "a path or null for each split")),
    "above": whole(0, 254, null=True),
    **dict.fromkeys(("published_groups", "published_images"), whole(1, null=True)),
    "seed": whole(0, 2**63 - 1),
    **dict.fromkeys(("size", "release"), whole(1, MOST_PIXELS)),
    **dict.fromkeys(("train", "val", "seen", "unseen"), whole(1, 10**7)),
}

DATASET: Table = {
    **READER,
    "name": word(),
    "counts": described(mapping(whole(0, null=True)), "a number of images, or null, for each group"),
}

DEVICES = described(
    whole(1, also=-1, null=True)
    | one_of("auto")
    | Annotated[StrictStr, Field(pattern=r"^ *(-1|[1-9]\d{0,5}|\d{1,5} *,( *\d{1,5} *,)*( *\d{1,5})?) *$")]
    | listed(whole(0, 10**5), "numbers"),
    "a whole number of at least 1, -1 (all) or auto, or a list of the numbers of GPUs, such as [0,1]",
)

TRAINER: Table = {
    "devices": DEVICES,
    "max_epochs": steps(1, also=-1, null=True),
    "min_epochs": steps(0, null=True),
    "max_steps": steps(1, also=-1),
    "min_steps": steps(0, null=True),
    "max_time": described(StrictStr | mapping(number(0)) | None, "DD:HH:MM:SS in quotes, or null"),
    **dict.fromkeys([f"limit_{stage}_batches" for stage in ("train", "val", "test", "predict")], part()),
    "overfit_batches": part(null=False),
    "val_check_interval": described(
        part(zero=False) | StrictStr, "a whole number of batches of at least 1, a share of them up to 1.0, or null"
    ),
    "check_val_every_n_epoch": whole(1, null=True),
    "num_sanity_val_steps": whole(0, also=-1, null=True),
    "log_every_n_steps": whole(0, null=True),
    "accumulate_grad_batches": whole(1, 10**6),
    "gradient_clip_val": number(0, null=True),
    "gradient_clip_algorithm": one_of("norm", "value", null=True),
    "num_nodes": whole(1, 10**5),
    "profiler": described(one_of("simple", "advanced", "pytorch", "xla") | dict | None, "simple, advanced, or null"),
    "reload_dataloaders_every_n_epochs": whole(0),
    "precision": one_of(
        "32-true", "bf16-mixed", "16-mixed", "auto", "64-true", "16-true", "bf16-true",
        "transformer-engine", "transformer-engine-float16", 16, 32, 64, "16", "32", "64", "bf16", null=True,
    ),
    "fast_dev_run": described(switch() | whole(0), "true, false or a whole number of batches"),
    "deterministic": switch(null=True, words=("warn",)),
    "use_distributed_sampler": switch(),
    **dict.fromkeys(("detect_anomaly", "barebones", "sync_batchnorm"), switch()),
    **dict.fromkeys(
        ("enable_model_summary", "enable_progress_bar", "enable_checkpointing", "benchmark", "inference_mode"),
        switch(null=True),
    ),
}  # fmt: skip

BETAS = listed(number(0, 1, below=True), "a list of numbers from 0 to below 1, such as [0.9,0.999]", 2, 3)

OPTIMIZER: Table = {
    "lr": number(0, above=True),
    "encoder_lr_scale": number(0, above=True),
    "layer_decay": number(0, 1, above=True),
    "weight_decay": number(0),
    "betas": BETAS,
    "eps": described(number(0) | several(number(0, null=True)), "a finite number of at least 0"),
    "momentum": number(0),
    "dampening": finite(),
    "alpha": number(0),
    **dict.fromkeys(("nesterov", "amsgrad", "maximize", "centered", "capturable", "differentiable"), switch()),
    **dict.fromkeys(("foreach", "fused"), switch(null=True)),
}

RATE = described(number(0, above=True) | several(number(0, above=True)), "a finite number above 0")

SCHEDULE: Table = {
    "max_lr": RATE,
    "base_lr": RATE,
    "eta_min": number(0),
    "total_steps": described(whole(1, null=True) | one_of("auto"), "auto, null or a whole number of at least 1"),
    "pct_start": number(0, 1),
    "div_factor": number(0, above=True),
    "final_div_factor": number(0, above=True),
    "gamma": number(0),
    "step_size": whole(1),
    "cycle_momentum": switch(),
    "three_phase": switch(),
}

AUGMENTATION: Table = {"size": PIXELS, "tries": whole(1, 1000)}

TRANSFORM: Table = {
    "p": number(0, 1),
    **dict.fromkeys(("height", "width"), PIXELS),
    **dict.fromkeys(("min_height", "min_width"), PIXELS_OR_NULL),
    "size": listed(PIXELS, f"two whole numbers from 1 to {MOST_PIXELS}", 2, 2),
    "interpolation": whole(0, 6),
    "border_mode": whole(0, 4),
}

MODEL: Table = {
    "input_size": PIXELS_OR_NULL,
    "kernel_sizes": listed(whole(1, 255), "a list of odd numbers from 1 to 255, such as [3,5,7]"),
    "decoder_channels": listed(CHANNELS, f"a list of whole numbers from 1 to {MOST_CHANNELS}, or null", null=True),
    "width": number(0, 64, above=True, null=True),
    "hidden": whole(1, MOST_CHANNELS, null=True),
    **dict.fromkeys(("channels", "pyramid_channels", "decoder_width"), CHANNELS),
    **dict.fromkeys(("metric_channels", "decision_channels", "reduction"), CHANNELS),
    "skip_channels": whole(0, MOST_CHANNELS),
    "top": number(0, 0.2, above=True),
    "dropout": number(0, 1, below=True),
    "margin": number(0, 2, above=True),
    **dict.fromkeys(("metric_weight", "decision_weight"), number(0)),
    **dict.fromkeys(("batch_norm", "rescale", "low_level", "matching"), switch()),
    **dict.fromkeys(
        ("pooling", "normalization", "fusion", "correlation", "use", "partner", "mask_pairs", "attention"), word()
    ),
}

ENCODER: Table = {
    "width": number(0, 64, above=True),
    "stride": whole(1, 1024),
    "layer": word(),
    "weights": path(),
    **dict.fromkeys(("frozen", "batch_norm"), switch()),
    "model_name": word(),
    "out_indices": listed(whole(-100, 100), "a list of whole numbers, such as [1,2,3,4], or null", null=True),
    "train_from": whole(0, 100, null=True),
    "output_stride": whole(2, 64, null=True),
}

CALLBACK: Table = {
    "decay": number(0, 1),
    "sizes": listed(PIXELS, f"a list of whole numbers from 1 to {MOST_PIXELS}, such as [64,96,128]", most=10**4),
}

LOGGER: Table = {
    "offline": switch(),
    "log_model": switch(words=("all",)),
    "flush_logs_every_n_steps": whole(1),
    **dict.fromkeys(("name", "version", "group", "project"), described(StrictStr | int | None, "a word, or null")),
}

STUDY: Table = {
    "name": path(null=False),
    "runs": path(null=False),
    "overrides": described(list[StrictStr], "a list of overrides of coseg-train"),
    "trials": whole(1, 10**6),
    "failures": whole(1, 10**6),
    "seed": whole(0, MOST_SEED),
}

SAMPLER: Table = {
    "n_startup_trials": whole(0),
    "n_ei_candidates": whole(1),
    "multivariate": switch(),
    "group": switch(),
}

PRUNER: Table = {"n_startup_trials": whole(0), "n_warmup_steps": whole(0), "interval_steps": whole(1)}


class Group(NamedTuple):
    """A part of the configuration.

    Attributes:
        place: its key; ``*`` for any, also in a list.
        model: the pydantic model of its settings.
        classes: how the names of the classes begin whose settings these are; empty: it is of no class.
        maker: the key in the group whose ``_target_`` names the class; empty: its own.
    """

    place: str
    model: Any
    classes: tuple[str, ...] = ()
    maker: str = ""


def _group(place: str, table: Table, *classes: str, maker: str = "") -> Group:
    # Missing keys are right: groups of other classes have others, and runs of earlier versions lack some.
    fields: Any = {key: (annotation, None) for key, annotation in table.items()}
    return Group(place, create_model(place or "all", __config__=ConfigDict(extra="allow"), **fields), classes, maker)


GROUPS = (
    _group("", COMMON),
    _group("task", TASK),
    _group("loss.*", LOSS, "coseg."),
    _group("protocol", PROTOCOL),
    _group("data", DATA, "coseg."),
    _group("dataset", DATASET, "coseg.", maker="reader"),
    _group("dataset.reader", READER, "coseg."),
    _group("trainer", TRAINER, "lightning.", "pytorch_lightning."),
    _group("optimizer", OPTIMIZER, "torch.optim."),
    _group("schedule", SCHEDULE, "torch.optim."),
    _group("augmentation", AUGMENTATION, "coseg."),
    _group("augmentation.transforms.*", TRANSFORM, "albumentations."),
    _group("model", MODEL, "coseg."),
    _group("model.encoder", ENCODER, "coseg."),
    _group("callbacks.*", CALLBACK, "coseg."),
    _group("logger.*", LOGGER, "coseg.", "lightning."),
    _group("study", STUDY),
    _group("study.sampler", SAMPLER, "optuna."),
    _group("study.pruner", PRUNER, "optuna."),
)

_BOTH = (
    "dataset", "dataset.reader", "dataset.splits", "data", "data._target_", "data.reader", "data.splits", "trainer",
    "trainer._target_", "protocol.name", "protocol.void", "seed", "threads", "panels", "runs",
)  # fmt: skip

REQUIRED = {
    "train": (
        *_BOTH,
        "model",
        "model._target_",
        "optimizer",
        "optimizer._target_",
        "task",
        "logger",
        "name",
        "check",
        "resume",
    ),
    "test": (
        *(*_BOTH, "protocol.unit", "ckpt", "split"),
        *("input_size", "mirrored", "threshold", "feature_gb", "shared_gb", "pairs_at_once"),
    ),
    "sweep": (
        *(f"study.{key}" for key in ("name", "runs", "overrides", "trials", "failures", "seed", "sampler", "pruner")),
    ),
}
"""What a command can't do without, which an override can take away (``~seed``)."""

GROUPS_OF_SETTINGS = (
    "model", "data", "data.reader", "data.splits", "dataset", "dataset.reader", "dataset.splits", "optimizer",
    "trainer", "task", "study.sampler",
)  # fmt: skip
"""Those that are no single value and not null."""

GROUPS_OF_GROUPS = ("callbacks", "logger", "loss", "metrics")
"""Each of their values is a group of settings, or null."""
