"""``coseg-demo``: a page to try co-segmentation on one's own photographs."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Sequence

from coseg.cli.options import add_trust, host_name, whole

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="coseg-demo",
        description="Open a page in the browser: drop photographs, and see what they have in common cut out. It works "
        "without internet; photographs stay on this machine, and are removed.",
    )
    add = parser.add_argument
    size, port = whole(16, 8192, "a number of pixels"), whole(0, 65535, "a port")
    add("--checkpoint", metavar="MODEL", help="file, folder, run directory or hub id (the bundled model)")
    add_trust(parser)
    add("--device", default="auto", metavar="NAME", help="cpu, cuda, mps (the fastest there is)")
    add("--size", type=size, metavar="PIXELS", help="at which the network works (the model's; others are often worse)")
    add("--keep-islands", action="store_true", help="keep small islands and strips along the border in the masks")
    add("--host", default=_LOOPBACK[0], help="address to listen at (%(default)s: this machine alone)")
    add("--port", type=port, default=7860, help="to listen at; 0: any that is free (%(default)s)")
    add(
        "--allowed-host",
        action="append",
        default=[],
        type=host_name,
        metavar="NAME",
        help="a further name by which the page may be asked for, behind a proxy for example; repeatable",
    )
    add("--no-browser", action="store_true", help="do not open a browser")
    return parser


def _demo(options: argparse.Namespace) -> None:
    """Serve the page until a signal comes."""
    import webbrowser

    from coseg.page.server import require_gradio, serving
    from coseg.serve.server import free_port

    require_gradio()  # what is wrong with these is reported before the model is loaded
    free_port(options.host, options.port)
    from coseg.hub.load import load_pretrained
    from coseg.inference.segmenter import CoSegmenter
    from coseg.signals import handled

    print("Loading the model …", flush=True)
    network, settings, source = load_pretrained(options.checkpoint, options.trust)
    segmenter = CoSegmenter(network, settings, options.device, options.size, keep_islands=options.keep_islands)
    stopped = threading.Event()
    with (
        handled(lambda *_: stopped.set()),
        serving(segmenter, source, options.host, options.port, options.allowed_host) as address,
    ):
        if segmenter.size_note is not None:
            print(segmenter.size_note, flush=True)
        print(f"The page is at {address}, with {source} on {segmenter.device}. Ctrl-C stops it.", flush=True)
        if options.host not in _LOOPBACK:
            print("Everyone who reaches this machine can use it.", flush=True)
        if not options.no_browser:
            webbrowser.open(address)
        stopped.wait()
    print("Stopped; what was uploaded and made is removed.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    options = _parser().parse_args(arguments)
    from coseg.cli.sentences import guard

    guard(lambda: _demo(options))
    raise SystemExit(0)


if __name__ == "__main__":
    main()
