"""``coseg-serve``: co-segmentation for programs, by HTTP."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from coseg.cli.options import MOST_THREADS, add_trust, host_name, positive, whole

if TYPE_CHECKING:
    from coseg.serve.app import Model


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="coseg-serve",
        description="Serve co-segmentation to programs: photographs are sent by HTTP, masks come back. Uploads, "
        "memory, waiting requests and time are bounded; nothing is kept. The printed address lists the endpoints.",
    )
    add = parser.add_argument
    add("--checkpoint", metavar="MODEL", help="file, folder, run directory or hub id (the bundled model)")
    add("--onnx", type=Path, metavar="FOLDER", help="of coseg-export: under ONNX Runtime alone, without torch")
    add("--int8", action="store_true", help="with --onnx: the quantised graphs in it")
    add_trust(parser)
    add("--device", default="auto", metavar="NAME", help="cpu, cuda, mps (the fastest there is)")
    add("--size", type=whole(16, 8192, "a number of pixels"), metavar="PIXELS", help="at which the network works")
    add("--threads", type=whole(0, MOST_THREADS), default=0, help="that compute one request; 0: one for each core")
    add("--keep-islands", action="store_true", help="keep small islands and strips along the border in the masks")
    add("--host", default="127.0.0.1", help="address to listen at (%(default)s: this machine alone)")
    add("--port", type=whole(0, 65535, "a port"), default=8000, help="to listen at; 0: any that is free (%(default)s)")
    add(
        "--allowed-host",
        action="append",
        default=[],
        type=host_name,
        metavar="NAME",
        help="a further name by which the service may be asked for, behind a proxy for example; repeatable",
    )
    limits = parser.add_argument_group("limits")
    add = limits.add_argument
    add("--workers", type=whole(1, 64), default=1, help="requests that are computed at the same time (%(default)s)")
    add("--waiting", type=whole(0, 200), default=16, help="further requests that may wait (%(default)s)")
    add("--images", type=whole(2, 200), default=20, help="of one request (%(default)s)")
    add("--request-mb", type=whole(1, 2048), default=100, help="of one request (%(default)s)")
    add("--megapixels", type=positive(200), default=50.0, help="of one image (%(default)g)")
    add("--seconds", type=whole(1, 3600), default=120, help="that a request may wait and compute (%(default)s)")
    add("--upload-seconds", type=whole(1, 3600), default=60, help="that an upload may take (%(default)s)")
    return parser


def _model(options: argparse.Namespace) -> Model:
    """The exported graphs, or a model of torch."""
    from coseg.errors import CosegError

    if options.onnx is None:
        if options.int8:
            raise CosegError("--int8 is for exported graphs: give their folder with --onnx.")
        import torch

        from coseg.hub.load import load_pretrained
        from coseg.inference.segmenter import CoSegmenter

        if options.threads:
            torch.set_num_threads(options.threads)
        network, settings, source = load_pretrained(options.checkpoint, options.trust)
        islands = options.keep_islands
        model = CoSegmenter(network, settings, options.device, options.size, source=source, keep_islands=islands)
        if model.size_note is not None:
            print(model.size_note, flush=True)
        return model
    if options.checkpoint is not None or options.size is not None or options.device not in ("auto", "cpu"):
        raise CosegError(
            "--onnx serves the exported graphs as they are, on the CPU: leave out --checkpoint, --size and --device."
        )
    from coseg.serve.graphs import GraphModel

    return GraphModel(options.onnx, options.threads, options.int8, options.keep_islands)


def _serve(options: argparse.Namespace) -> None:
    """Serve until a signal comes, and then finish what is computed."""
    from coseg.serve.jobs import Limits
    from coseg.serve.server import free_port, require_fastapi, serving
    from coseg.signals import handled

    require_fastapi()  # what is wrong with these is reported before the model is loaded
    free_port(options.host, options.port, "service")
    print("Loading the model …", flush=True)
    model = _model(options)
    limits = Limits(
        options.workers,
        options.waiting,
        options.images,
        options.request_mb * 2**20,
        options.megapixels,
        options.seconds,
        options.upload_seconds,
    )
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> Any:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()

    with handled(stop), serving(model, limits, options.host, options.port, options.allowed_host) as address:
        print(f"The service is at {address}, with {model.source}. Ctrl-C stops it.", flush=True)
        if options.host not in ("127.0.0.1", "localhost", "::1"):
            print("Everyone who reaches this machine can use it.", flush=True)
        stopped.wait()
        print("Stopping: what is computed is finished, the rest is refused.", flush=True)
    print("Stopped.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    options = _parser().parse_args(arguments)
    from coseg.cli.sentences import guard

    guard(lambda: _serve(options))
    raise SystemExit(0)


if __name__ == "__main__":
    main()
