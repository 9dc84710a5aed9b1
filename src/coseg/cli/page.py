"""``coseg-demo``: a page to try co-segmentation on one's own photographs."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Callable, Sequence

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def _number(low: int, high: int, what: str) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"'{text}' must be {what}, from {low} to {high}")
        return int(text)

    return parse


def parser() -> argparse.ArgumentParser:
    """The options of ``coseg-demo``."""
    options = argparse.ArgumentParser(
        prog="coseg-demo",
        description="Open a page in the browser: drop photographs, and see what they have in common cut out. The page "
        "works without internet; photographs stay on this machine and are removed.",
    )
    options.add_argument(
        "--checkpoint",
        metavar="FILE|DIR|ID",
        help="a network of yours: a checkpoint, a run, a folder of save_pretrained, or a hub id (the model in the box)",
    )
    options.add_argument("--device", default="auto", help="auto, cpu, cuda, mps (auto)")
    options.add_argument(
        "--size", type=_number(16, 4096, "a number of pixels"), metavar="N", help="size at which the network looks"
    )
    options.add_argument("--host", default=_LOOPBACK[0], help="address to listen at (%(default)s, this machine)")
    options.add_argument(
        "--port",
        type=_number(0, 65535, "a port"),
        default=7860,
        help="port to listen at, 0 for a free one (%(default)s)",
    )
    options.add_argument("--no-browser", action="store_true", help="do not open a browser")
    return options


def demo(options: argparse.Namespace) -> None:
    """Serve the page until the process is told to stop."""
    import tempfile
    import webbrowser
    from pathlib import Path

    from coseg.page.server import free_port, prepare_gradio, serving

    free_port(options.host, options.port)  # what can be told at once is told before the model is loaded
    prepare_gradio(Path(tempfile.gettempdir()))
    from coseg.inference.segmenter import CoSegmenter

    segmenter = CoSegmenter.from_pretrained(options.checkpoint, device=options.device, size=options.size)
    model = "the one in the box" if options.checkpoint is None else options.checkpoint
    model = f"{model}, on {segmenter.device}"
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with serving(segmenter, model, options.host, options.port) as address:
        print(f"The page is at {address} (model: {model}). Press Ctrl-C to stop.", flush=True)
        if options.host not in _LOOPBACK:
            print("Everyone who reaches this machine can use it.", flush=True)
        if not options.no_browser:
            webbrowser.open(address)
        stopped.wait()
    print("Stopped; what was uploaded and made is removed.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    options = parser().parse_args(sys.argv[1:] if arguments is None else arguments)
    from coseg.cli.app import guard

    guard(lambda: demo(options))


if __name__ == "__main__":
    main()
