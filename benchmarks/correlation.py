"""Depth-wise correlation as `coseg.models.fast_correlation` computes it, against one plain grouped convolution.

    python benchmarks/correlation.py [--shapes 8x512x32x32 …] [--kernels 3 5 …] [--threads 2] [--repeats 5]
                                     [--device cpu|cuda] [--precision float32|bfloat16] [--clock wall|processor]

The two alternate, either first as often, and the smallest of the repeats counts, since other processes can only slow a
run down; on a busy machine ``--threads 1 --clock processor`` leaves out the time in which they had the core. Prints a
line of JSON for each shape B x C x H x W and kernel size: the ways chosen; milliseconds forward (without gradients) and
backward (both gradients) of ours and of the plain convolution, and how many times faster ours is; megabytes above
the inputs at the peak of a forward and a backward, results and gradients included; the largest difference of result
and gradients, relative to the largest value.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from coseg.models.fast_correlation import direct, forward_way, kernel_gradient_way, slide

Way = Callable[[Tensor, Tensor], Tensor]
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
SHAPES = ["8x512x32x32", "2x512x32x32", "2x64x64x64", "4x128x33x21", "4x128x24x24", "16x128x12x12", "4x512x8x8"]
KERNELS = [1, 3, 5, 7, 9, 11, 13, 15, 17, 25, 33]


def seconds(job: Callable[[], object], device: str, clock: Callable[[], float]) -> float:
    """Of the job's second run: the first has its data and the other way's in the caches or not, as it happens."""
    job()
    if device == "cuda":
        torch.cuda.synchronize()
    began = clock()
    job()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - began


def resident() -> int:
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0


def peak_megabytes(job: Callable[[], object], device: str) -> float:
    """How far the memory in use rises above what it is before: of the GPU, else of the process, sampled each ms."""
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        job()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    before = peak = resident()
    stop = threading.Event()

    def sample() -> None:
        nonlocal peak
        while not stop.wait(0.001):
            peak = max(peak, resident())

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    job()
    stop.set()
    thread.join()
    return (peak - before) / 1e6


def compare(
    shape: tuple[int, ...],
    size: int,
    repeats: int,
    device: str,
    dtype: torch.dtype,
    clock: Callable[[], float],
) -> dict[str, object]:
    settings = {"device": device, "dtype": dtype}
    base, gradient = (torch.randn(shape, **settings) for _ in range(2))  # type: ignore[call-overload]
    kernel = torch.randn(*shape[:2], size, size, **settings)  # type: ignore[call-overload]
    ways: dict[str, Way] = {"ours": slide, "plain": direct}
    forward: dict[str, list[float]] = {name: [] for name in ways}
    backward: dict[str, list[float]] = {name: [] for name in ways}
    memory, results = {}, {}
    for repeat in range(repeats + 1):  # the first one warms up
        for name, way in sorted(ways.items(), reverse=repeat % 2 == 1):  # either goes first as often
            forward[name].append(seconds(lambda way=way: way(base, kernel), device, clock))  # type: ignore[misc]
            inputs = base.detach().requires_grad_(), kernel.detach().requires_grad_()

            def both(way: Way = way, inputs: tuple[Tensor, Tensor] = inputs) -> tuple[Tensor, ...]:
                result = way(*inputs)
                return result.detach(), *torch.autograd.grad(result, inputs, gradient)

            if repeat == 0:
                results[name] = both()
                memory[name] = peak_megabytes(both, device)
                continue
            result = way(*inputs)
            step = lambda r=result, i=inputs: torch.autograd.grad(r, i, gradient, retain_graph=True)  # noqa: E731
            backward[name].append(seconds(step, device, clock))
    ms = {
        f"{name}_{what}_ms": round(1e3 * min(times[name]), 2)
        for what, times in (("forward", forward), ("backward", backward))
        for name in ways
    }
    differences = [
        float((x.float() - y.float()).abs().max() / y.float().abs().max())
        for x, y in zip(results["ours"], results["plain"], strict=True)
    ]
    height, width = shape[-2:]
    s, t = min(size, 2 * height - 1), min(size, 2 * width - 1)
    chosen = device == "cpu" and size > 3
    return {
        "shape": "x".join(map(str, shape)),
        "kernel": size,
        "forward": forward_way(height, width, s, t).__name__ if chosen else "direct",
        "kernel_gradient": kernel_gradient_way(height, width, s, t).__name__.removesuffix("_kernel_gradient")
        if chosen
        else "torch's",
        **ms,
        "forward_times_faster": round(ms["plain_forward_ms"] / ms["ours_forward_ms"], 2),
        "backward_times_faster": round(ms["plain_backward_ms"] / ms["ours_backward_ms"], 2),
        **{f"{name}_peak_mb": round(peak, 1) for name, peak in memory.items()},
        "largest_difference": f"{max(differences):.0e}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--shapes", nargs="+", default=SHAPES, help="B x C x H x W, as 8x512x32x32")
    parser.add_argument("--kernels", type=int, nargs="+", default=KERNELS)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="processor: of all threads together")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    for shape in arguments.shapes:
        for size in arguments.kernels:
            sides = tuple(map(int, shape.split("x")))
            dtype = getattr(torch, arguments.precision)
            clock = CLOCKS[arguments.clock]
            figures = compare(sides, size, arguments.repeats, arguments.device, dtype, clock)
            print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
