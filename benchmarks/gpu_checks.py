"""Whether training on a device gives what it gives on a CPU: the checks of benchmarks/gpu.py.

Networks are small, images are made up, and all is in float32 without TF32.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from measuring import peak_bytes
from torch import Tensor, nn

from gensweep.config.models import bind, item_model
from gensweep.data.images import Images
from gensweep.data.loader import Loader
from gensweep.families.family import FAMILIES
from gensweep.noise import Noise
from gensweep.training import loop
from gensweep.training.cost import activation_bytes, trained_parameters
from gensweep.training.device import Compilation, compiled
from gensweep.training.distributed import ALONE, Workers, wrapped
from gensweep.training.evaluation import draw
from gensweep.training.learner_state import restore, state_of
from gensweep.training.loop import Learner
from gensweep.training.settings import TrainingSettings

SIZE, CLASSES, BATCH, STEPS = 16, 3, 16, 6
UNET = {"kind": "unet", "width": 32, "multipliers": (1, 2), "blocks": 1, "attention": (8,), "dropout": 0.0}
DCGAN = {"kind": "dcgan", "width": 16}
#: A family that is not listed has its defaults.
SETTINGS: dict[str, dict[str, Any]] = {
    "diffusion": {
        "network": UNET,
        "diffusion": {"timesteps": 100},
        "sampler": {"kind": "ddim", "steps": 10},
        "sampling_precision": "float32",
    },
    # The default features multiply rounding errors of an image by 800.
    "vdm": {"network": UNET, "vdm": {"fourier": (0, 1)}, "sampler": {"kind": "ddim", "steps": 10}},
    "gan": {"network": DCGAN, "gan": {"latent": 16, "penalty": {"kind": "r1", "every": 4}}},
    "diffusion_gan": {"network": DCGAN, "gan": {"latent": 16, "augmentation": {"kind": "ada"}}},
}
#: Adam's epsilon: by its own, a gradient that is nothing but rounding makes a step of full length.
EPSILON = 1e-3
#: How far losses may be apart, relatively, after a few steps on unlike devices or with unlike kernels.
LOSS_TOLERANCE = 2e-3
#: The share of pixels that may differ between devices, and by how many of the 256 levels.
PIXELS_APART, LEVELS_APART = 0.01, 2
#: After this time workers are taken to hang.
PARALLEL_SECONDS = 90.0
#: How far the measured peak of memory may lie from the estimate, as ratios.
MEMORY_RATIOS = 0.6, 1.25


@dataclass
class Check:
    """The outcome of a check; `passed` is None where it could not be made, as `note` says."""

    name: str
    passed: bool | None
    numbers: dict[str, float] = field(default_factory=dict)
    note: str = ""


def made_up(size: int, n: int = 64, channels: int = 3) -> Images:
    """Pictures of random pixels."""
    pixels = Noise(1, torch.arange(n)).integers(256, channels, size, size, stream=0).to(torch.uint8)
    return Images(pixels, torch.arange(n) % CLASSES, ("a", "b", "c"), "noise/train", f"{n:064x}", True)


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Networks that are compiled are compiled by this backend of torch.compile."""
    with mock.patch.object(loop, "compiled", partial(compiled, backend=name)):
        yield


def small_learner(
    kind: str, device: torch.device, workers: Workers = ALONE, compilation: Compilation = "none"
) -> Learner:
    """A small family ready for a few steps, the same on every device."""
    torch.manual_seed(0)
    settings = {"kind": kind, "conditional": True} | SETTINGS.get(kind, {})
    family = bind(item_model(FAMILIES, kind).model_validate(settings))(3, SIZE, CLASSES)
    for network in family.networks.values():
        for weight in network.parameters():  # what starts as nothing would hide the rest
            if weight.ndim > 1 and not weight.any():
                nn.init.normal_(weight, std=0.02)
    training = TrainingSettings(
        images=STEPS * BATCH,
        batch_size=BATCH,
        precision="float32",
        memory_format="channels_last",
        compilation=compilation,
        ema_half_life=4 * BATCH,
        log_every=BATCH,
    )
    learner = Learner(family, training, seed=3, device=device, workers=workers)
    learner.family.warmup = 0
    for optimizer in learner.optimizers.values():
        for group in optimizer.param_groups:
            group["eps"] = EPSILON
    return learner


def losses_of(learner: Learner, until: int = STEPS * BATCH) -> list[dict[str, float]]:
    """The losses of each step up to so many images."""
    found = []
    for event in filter(None, loop.train(learner, Loader(made_up(SIZE), seed=3, device=learner.device))):
        found.append(event.losses)
        if event.images >= until:
            break
    return found


def apart(one: list[dict[str, float]], other: list[dict[str, float]]) -> float:
    """The largest difference of two trainings' losses, relative to 1 or to the loss if that is larger."""
    assert [each.keys() for each in one] == [each.keys() for each in other]
    return max(abs(a[k] - b[k]) / max(1.0, abs(b[k])) for a, b in zip(one, other, strict=True) for k in a)


def noise(device: torch.device) -> Check:
    """Random integers are equal to the bit, normal numbers to rounding."""
    here, there = Noise(7, torch.arange(64)), Noise(7, torch.arange(64, device=device))
    integers = [each.integers(2**31, 5, 7, stream=1).cpu() for each in (here, there)]
    normal = [each.normal(3, 32, 32, stream=2).cpu() for each in (here, there)]
    difference = float((normal[0] - normal[1]).abs().max())
    return Check("random numbers", torch.equal(*integers) and difference < 1e-4, {"normal_apart": difference})


def samples(kind: str, device: torch.device) -> Check:
    """The same images as on a CPU."""
    drawn = []
    for where in (torch.device("cpu"), device):
        learner = small_learner(kind, where)
        positions = torch.arange(16, device=where)
        drawn.append(draw(learner.family, learner.sampler, Noise(0, positions), positions % CLASSES).cpu().int())
    difference = (drawn[0] - drawn[1]).abs()
    share, most = float((difference > 0).float().mean()), int(difference.max())
    passed = share <= PIXELS_APART and most <= LEVELS_APART
    return Check(f"{kind}: samples", passed, {"pixels_apart": share, "levels_apart": most})


def training(kind: str, device: torch.device) -> Check:
    """The losses of a training on a CPU."""
    difference = apart(losses_of(small_learner(kind, device)), losses_of(small_learner(kind, torch.device("cpu"))))
    return Check(f"{kind}: training", difference < LOSS_TOLERANCE, {"losses_apart": difference})


def resume(kind: str, device: torch.device) -> Check:
    """A training that goes on from the state of another is the one that never stopped."""
    whole, first, second = (small_learner(kind, device) for _ in range(3))
    losses_of(whole)
    losses_of(first, until=STEPS // 2 * BATCH)
    restore(second, {name: tensor.clone() for name, tensor in state_of(first).items()})
    second.images = first.images
    losses_of(second)
    difference = most_apart(state_of(second), state_of(whole))
    return Check(f"{kind}: resume", difference < 1e-3, {"state_apart": difference, "to_the_bit": difference == 0})


def most_apart(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The largest difference of two states."""
    pairs = [(tensor.double(), other[name].double()) for name, tensor in one.items() if tensor.numel()]
    return max(float((mine - theirs.to(mine.device)).abs().max()) for mine, theirs in pairs)


def waiting(kind: str, device: torch.device) -> Check:
    """No step waits for the device: PyTorch raises where one would."""
    if device.type != "cuda":
        return Check(f"{kind}: no step waits", None, note="only a GPU can be waited for; tests/training asks the CPU")
    learner, loader = small_learner(kind, device), Loader(made_up(SIZE), seed=3, device=device)
    learner.time()
    learner.step(loader)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(4):
            learner.step(loader)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return Check(f"{kind}: no step waits", True)


def compilation(kind: str, device: torch.device, mode: Compilation, compiler: str) -> Check:
    """Compiled networks have the losses of those that are not."""
    with backend(compiler):
        learner = small_learner(kind, device, compilation=mode)
    difference = apart(losses_of(learner), losses_of(small_learner(kind, device)))
    return Check(f"{kind}: compiled, {mode}", difference < LOSS_TOLERANCE, {"losses_apart": difference})


def parallel(kind: str, device: torch.device, world: int) -> Check:
    """Workers train like one, through NCCL on GPUs and gloo on CPUs."""
    name = f"{kind}: data-parallel, {world} process{'es' * (world > 1)}"
    if device.type == "cuda" and torch.cuda.device_count() < world:
        return Check(name, None, note=f"there are {torch.cuda.device_count()} GPUs")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    out = mp.get_context("spawn").SimpleQueue()
    workers = mp.spawn(_parallel_worker, (kind, device.type, world, port, out), nprocs=world, join=False)
    ends = time.monotonic() + PARALLEL_SECONDS
    while not workers.join(timeout=1):
        if time.monotonic() > ends:
            for process in workers.processes:
                process.kill()
            raise TimeoutError(f"the processes have not come to an end within {PARALLEL_SECONDS:.0f} s")
    difference = apart(out.get(), losses_of(small_learner(kind, device)))
    return Check(name, difference < LOSS_TOLERANCE, {"losses_apart": difference})


def _parallel_worker(rank: int, kind: str, device_type: str, world: int, port: int, out: Any) -> None:
    exact_float32()
    device = torch.device("cuda", rank) if device_type == "cuda" else torch.device("cpu")
    if device_type == "cuda":
        torch.cuda.set_device(device)
    else:
        torch.set_num_threads(1)
    name = "nccl" if device_type == "cuda" else "gloo"
    dist.init_process_group(name, init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    learner = small_learner(kind, device, Workers(rank, world))
    if world == 1:  # a training of one worker has no wrapper; with it, gradients go through the backend all the same
        learner.networks = {name: wrapped(network, Workers(0, 2)) for name, network in learner.networks.items()}
    losses = losses_of(learner)
    if rank == 0:
        out.put(losses)
    # A network that outlives the group frees its connections at the end, and then waits for a thread, at times forever.
    del learner
    dist.barrier()  # or one would take the connection away from the other
    dist.destroy_process_group()


def memory(name: str, learner: Learner, loader: Loader) -> Check:
    """The peak of a step, beside the data set, against what `gensweep tune --dry-run` would say."""
    learner.step(loader)
    there = sum(tensor.nbytes for tensor in state_of(learner).values())
    gradients = sum(each.nbytes for each in trained_parameters(learner.family))
    each = activation_bytes(learner.family, loader, learner.autocast)
    estimate = there + gradients + learner.training.batch_size * each
    if learner.device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        learner.step(loader)
        torch.cuda.synchronize()
        measured = there + torch.cuda.max_memory_allocated() - before
    else:
        measured = there + peak_bytes(lambda: learner.step(loader))
    ratio, (low, high) = measured / estimate, MEMORY_RATIOS
    numbers = {"measured_bytes": measured, "estimated_bytes": estimate, "ratio": ratio}
    return Check(f"{name}: memory", low <= ratio <= high, numbers)


def exact_float32() -> None:
    """Products in float32 are of float32, and cuDNN chooses the same kernels each time."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True


def made(check: Callable[..., Check], *arguments: Any) -> Check:
    """The check, or the error that it ended with: the others are made all the same."""
    try:
        return check(*arguments)
    except Exception as error:  # whatever a GPU may raise
        subject = " ".join(str(each) for each in arguments if isinstance(each, str))
        return Check(f"{check.__name__}: {subject}", False, note=f"{type(error).__name__}: {error}"[:500])
