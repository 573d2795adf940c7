"""Speed of the network: five steps of a tile against the plain network and the machine's matrix products.

    python -m tests.benchmarks.speed_network FOLDER [--device cpu] [--threads 1] [--minutes 9]

All of a row is timed in turn in one process, each by its best of `--rounds`: what else the machine does tells
against none of them. Time on a CPU is processor time. Rows that are done are kept in FOLDER; repeated, it goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from emrdiff_cli.config import ModelConfig, TrainConfig
from emrdiff_cli.core.diffusion.emr_diff import EMRDiff, channels_last
from emrdiff_cli.core.diffusion.learning import Batch, Draws, make_optimizer, training_loss
from emrdiff_cli.core.network import BAFUNet
from emrdiff_cli.core.tile_network import TileNetwork

CHANNELS, TILES, STEPS = (16, 34, 131), (128, 256), 5
_MATRIX = 2048  # side of the matrices that the machine's rate is measured on
_MSI = 4
Row = dict[str, Any]


def make_config(channels: int) -> ModelConfig:
    """The default model with so many channels in the chain."""
    return ModelConfig(_MSI, 8, hsi_bands=channels - _MSI, subspace=channels - _MSI, steps=STEPS)


def make_network(channels: int, device: torch.device) -> BAFUNet:
    """A network of the default model, untrained, its gates settled."""
    torch.manual_seed(0)
    config = make_config(channels)
    network = BAFUNet(config.channels, None, config.levels, config.guidance_channels).requires_grad_(False)
    for head in network.heads:
        torch.nn.init.normal_(head.get_parameter("weight"))
    network.allot_averages()
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[no-any-return, call-overload]


def plain_steps(network: BAFUNet, x_t: Tensor, observed: Tensor) -> Tensor:
    """Five steps as the method is written: both branches in each."""
    for t in range(STEPS, 0, -1):
        estimate: Tensor = network(x_t, observed, torch.full((len(x_t),), t, device=x_t.device))
    return estimate


def tile_steps(network: TileNetwork, x_t: Tensor, observed: Tensor) -> Tensor:
    """Five steps as the sampler takes them."""
    denoise = network.denoiser(observed)
    for t in range(STEPS, 0, -1):
        estimate = denoise(x_t, torch.full((len(x_t),), t, device=x_t.device))
    return estimate


@contextmanager
def without_tf32() -> Iterator[None]:
    """Convolutions in float32 on a GPU as the sampler has them: not rounded to 10 bits."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


def best_seconds(
    works: Mapping[str, Callable[[], object]], rounds: int, device: torch.device
) -> dict[str, float]:
    """The least time of each over the rounds, timed in turn; on a CPU processor time of all threads."""
    found = dict.fromkeys(works, float("inf"))
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    for _ in range(rounds):
        for name, work in works.items():
            _wait(device)
            started = clock()
            work()
            _wait(device)
            found[name] = min(found[name], clock() - started)
    return found


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def operations(network: BAFUNet, x_t: Tensor, observed: Tensor) -> float:
    """Multiplications and additions of five steps with one pass of the guidance encoder."""

    counted = 0.0

    def add(layer: torch.nn.Module, _seen: object, made: Tensor) -> None:
        nonlocal counted
        if isinstance(layer, torch.nn.Conv2d):
            counted += 2.0 * layer.weight[0].numel() * made.numel()

    hooks = [m.register_forward_hook(add) for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    guidance = network.guide(observed)
    once, counted = counted, 0.0
    network.denoise(x_t, guidance, torch.ones(len(x_t), device=x_t.device))
    for hook in hooks:
        hook.remove()
    return once + STEPS * counted


def matrix_products(device: torch.device) -> dict[str, Callable[[], object]]:
    """Products of square matrices, in both types: the machine's own rate."""
    made: dict[str, Callable[[], object]] = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        matrix = torch.randn(_MATRIX, _MATRIX, device=device).to(dtype)
        made[f"product {name}"] = partial(torch.matmul, matrix, matrix)
    return made


def network_row(channels: int, tile: int, batch: int, rounds: int, device: torch.device) -> Row:
    """Times, ratios and rates of one shape, and how far the results lie from the plain network's."""
    network = make_network(channels, device)
    config = make_config(channels)
    x_t, observed = (
        torch.randn(batch, count, tile, tile, device=device).contiguous(memory_format=torch.channels_last)
        for count in (config.channels, config.guidance_channels)
    )
    exact, rounded = TileNetwork(network), TileNetwork(network, torch.bfloat16)
    made_by: dict[str, Tensor] = {}
    steps = {
        "plain": partial(plain_steps, network),
        "fp32": partial(tile_steps, exact),
        "bf16": partial(tile_steps, rounded),
    }

    def work(name: str) -> None:
        made_by[name] = steps[name](x_t, observed)

    works = {name: partial(work, name) for name in steps}
    with torch.inference_mode(), without_tf32():
        seconds = best_seconds({**works, **matrix_products(device)}, rounds, device)
        made = operations(network, x_t, observed)
    expected = made_by["plain"]
    errors = {
        name: float((made_by[name] - expected).abs().max() / expected.abs().max())
        for name in ("fp32", "bf16")
    }
    rates = {name: made / seconds[name] for name in ("fp32", "bf16")}
    product = {name: 2.0 * _MATRIX**3 / seconds[f"product {name}"] for name in ("fp32", "bf16")}
    return {
        "channels": channels,
        "tile": tile,
        "batch": batch,
        "seconds": {name: seconds[name] for name in works},
        "times_the_plain": {name: seconds["plain"] / seconds[name] for name in ("fp32", "bf16")},
        "gflops": {name: rate / 1e9 for name, rate in rates.items()},
        "product_gflops": {name: rate / 1e9 for name, rate in product.items()},
        "share_of_product": {name: rates[name] / product[name] for name in rates},
        "error": errors,
    }


def training_row(channels: int, rounds: int, device: torch.device) -> Row:
    """Seconds of a training's iteration at the default options, forward, backward and step."""
    torch.manual_seed(0)
    config, training = make_config(channels), TrainConfig()
    model = channels_last(EMRDiff(config).to(device))
    optimizer, draws = make_optimizer(model, training), Draws.on(device, 0)
    batch = _random_batch(config, training, device)

    def iterate() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = training_loss(model, batch, training, draws)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    seconds = best_seconds({"iteration": iterate}, 2 * rounds, device)["iteration"]
    return {"channels": channels, "seconds": seconds, "patches_a_second": training.batch / seconds}


def _random_batch(config: ModelConfig, training: TrainConfig, device: torch.device) -> Batch:
    count, side = training.batch, training.patch
    shapes = [(config.channels,), (config.channels,), (config.guidance_channels,), (1,)]
    target, a_0, guidance, edges = (torch.randn(count, *shape, side, side, device=device) for shape in shapes)
    weight = torch.ones(count, config.channels, 1, 1, device=device)
    return Batch(target, a_0, guidance, edges, torch.ones_like(edges), weight)


def run(
    folder: Path,
    device: torch.device,
    rounds: int,
    deadline: float,
    batch: int = 1,
    side: Sequence[int] = TILES,
) -> dict[str, Row]:
    """All rows that there is time for; those that are done are read."""
    folder.mkdir(parents=True, exist_ok=True)
    jobs: dict[str, Callable[[], Row]] = {}
    for channels in CHANNELS:
        for tile in side:
            jobs[f"network-{device.type}-{channels}-{tile}-{batch}"] = partial(
                network_row, channels, tile, batch, rounds, device
            )
        jobs[f"training-{device.type}-{channels}"] = partial(training_row, channels, rounds, device)
    found = {}
    for name, job in jobs.items():
        path = folder / f"{name}.json"
        if not path.exists() and time.time() < deadline:
            part = path.with_suffix(".part")
            part.write_text(json.dumps(job(), indent=1), encoding="utf-8")
            part.replace(path)
            sys.stderr.write(f"{name}: done\n")
        if path.exists():
            found[name] = json.loads(path.read_text(encoding="utf-8"))
    return found


def table(rows: Mapping[str, Row]) -> str:
    """The rows as Markdown."""
    lines = [
        "| channels | tile | plain (s) | fp32 (s) | bf16 (s) | fp32, times the plain | bf16, times the plain "
        "| fp32, share of its product's rate | bf16, share of its product's rate | fp32, error | bf16, error |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in (row for name, row in rows.items() if name.startswith("network")):
        seconds = [f"{row['seconds'][name]:.3f}" for name in ("plain", "fp32", "bf16")]
        ratios = [f"{row['times_the_plain'][name]:.2f}" for name in ("fp32", "bf16")]
        shares = [f"{row['share_of_product'][name]:.2f}" for name in ("fp32", "bf16")]
        errors = [f"{row['error'][name]:.1e}" for name in ("fp32", "bf16")]
        cells = [str(row["channels"]), str(row["tile"]), *seconds, *ratios, *shares, *errors]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| channels | training step (s) | patches a second |", "| --- | --- | --- |"]
    for row in (row for name, row in rows.items() if name.startswith("training")):
        lines.append(f"| {row['channels']} | {row['seconds']:.3f} | {row['patches_a_second']:.2f} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Time what is not timed yet and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=1e6, help="begin no row after that")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    deadline = time.time() + 60 * given.minutes
    rows = run(given.folder, torch.device(given.device), given.rounds, deadline, given.batch)
    sys.stdout.write(table(rows))


if __name__ == "__main__":
    main()
