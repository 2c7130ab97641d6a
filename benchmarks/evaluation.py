"""An evaluation with all metrics in one pass, against torch-fidelity's FID alone: seconds, memory, and agreement.

    .venv/bin/pip install --no-deps --target /some/folder torch-fidelity   # its wheel also brings a package `tests`
    .venv/bin/python benchmarks/evaluation.py --peer /some/folder
    .venv/bin/python benchmarks/evaluation.py --peer /some/folder --images 1000 --peer-images 250

Both see the same random images through the FID-2015 Inception network with the same random weights, in float32, on one
thread; times are those of the process, which other programs disturb less.  gensweep computes every metric that there is
for images; torch-fidelity the FID.  Statistics of real images are random numbers that both get: both keep them.
gensweep judges a small number of images, then the large one; torch-fidelity looks at `--peer-images` before and after
the large one, and the time of an image counts for all.  Memory is the most that the process held, less what it held
before: it should not grow with the number of images.  Before that FID, KID, precision, recall and the Inception score
of made-up features are compared with torch-fidelity's.

Prints the numbers and writes benchmarks/results/evaluation-DATE-PROCESSOR-IMAGES.json; it ends with an error if the
numbers disagree or gensweep is not 1.3 times as fast.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import torch
from dated_results import write_result
from measuring import evaluator
from torch import Tensor, nn

from gensweep.data.images import Images
from gensweep.metrics.extractors import Extractor
from gensweep.metrics.inception import INCEPTION_FEATURES, fid_network, from_weights
from gensweep.metrics.metric import METRICS
from gensweep.metrics.moments import Moments
from gensweep.metrics.probe import Classifier, fit_classifier
from gensweep.metrics.real import nearest
from gensweep.training.evaluation import EvaluationResult, evaluate_images

BAR, CLASSES, SIZE = 1.3, 10, 32
TOLERANCE = {"fid": 1e-6, "precision": 1e-6, "recall": 1e-6, "kid": 1e-6}


@dataclass(eq=False)
class Real:
    """Made-up features of real images, with all that is kept on disk computed already."""

    features: Tensor

    def __post_init__(self) -> None:
        self.class_names = tuple(f"class {i}" for i in range(CLASSES))
        self.labels = torch.arange(len(self.features)) % CLASSES
        self.moments = Moments.of(self.features)
        self._classifier = fit_classifier(self.features, self.labels, CLASSES)
        self._distances = nearest(self.features)[0][:, 0]

    def classifier(self) -> Classifier:
        """The one that was fitted."""
        return self._classifier

    def distances(self) -> Tensor:
        """Those that were computed."""
        return self._distances

    def pixels(self, positions: Tensor) -> Tensor:
        """Nothing to see."""
        return torch.zeros(len(positions), 3, SIZE, SIZE, dtype=torch.uint8)


def made_up(n: int, seed: int, d: int = INCEPTION_FEATURES) -> Tensor:
    """Features as a network's pooled activations are: correlated and not negative."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(64, d, generator=torch.Generator().manual_seed(0)) / 8
    x = torch.randn(n, 64, generator=generator) @ mixing + 0.3 * torch.randn(n, d, generator=generator)
    return (x + 0.3).relu()


def images_of(n: int) -> Tensor:
    """Random pictures."""
    return torch.randint(0, 256, (n, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def weights(file: Path) -> None:
    """Random weights of the network, in the layout of the published file."""
    torch.manual_seed(0)
    network = fid_network()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    torch.save(network.state_dict(), file)


def held() -> int:
    """Bytes that the process holds at the most since the last call, which starts anew from what it holds now."""
    status = Path("/proc/self/status").read_text()
    Path("/proc/self/clear_refs").write_text("5")
    return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def evaluate(extractor: Extractor, real: Real, images: Tensor) -> tuple[EvaluationResult, float, int]:
    """What gensweep says, the seconds of the process, and the bytes on top of what it held."""
    names = [name for name in METRICS if METRICS[name].needs == "samples" and name != "fd"]  # here the FID itself
    metrics = {name: METRICS[name](real, "cpu") for name in names}
    labels = torch.arange(len(images)) % CLASSES
    made_up = Images(images, labels, real.class_names, "made up", "", flip=False)
    held()
    before, start = held(), time.process_time()
    result = evaluate_images(
        evaluator(extractor, metrics, made_up, 250),
        lambda indices: images[indices],
        torch.device("cpu"),
        labels=labels,
    )
    return result, time.process_time() - start, held() - before


class Peer:
    """torch-fidelity: its extractor and its functions from features to scores."""

    def __init__(self, file: Path) -> None:
        from torch_fidelity import metric_fid, metric_kid, metric_prc
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        self.fid, self.kid, self.prc = metric_fid, metric_kid, metric_prc
        name = "inception-v3-compat"
        self.network = FeatureExtractorInceptionV3(name, ["2048"], feature_extractor_weights_path=str(file))

    @torch.no_grad()
    def extract(self, images: Tensor) -> float:
        """The seconds that an image takes, in its own default batches of 64."""
        start = time.process_time()
        for batch in images.split(64):
            self.network(batch)
        return (time.process_time() - start) / len(images)

    def distance(self, features: Tensor, reference: Any) -> tuple[float, float]:
        """Its FID from features, and the seconds it takes."""
        start = time.process_time()
        mine = self.fid.fid_featuresdict_to_statistics({"2048": features}, "2048")
        value = self.fid.fid_statistics_to_metric(mine, reference, False)["frechet_inception_distance"]
        return float(value), time.process_time() - start


def agreement(peer: Peer) -> dict[str, dict[str, float]]:
    """Both answers for made-up features, by metric."""
    x, y = (made_up(300, seed, 200) for seed in (2, 1))
    real = Real(y)

    def ours(name: str) -> float:
        metric = METRICS[name](real, "cpu")
        metric.update(x)
        return float(metric.compute())

    statistics = [peer.fid.fid_featuresdict_to_statistics({"2048": each.double()}, "2048") for each in (x, y)]
    theirs = {"fid": peer.fid.fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"]}
    theirs["kid"] = float(peer.kid.kernel_mmd(x.double().numpy(), y.double().numpy()))
    prc = peer.prc.prc_features_to_metric(x, y, prc_neighborhood=3, prc_batch_size=100, verbose=False)
    theirs |= {"precision": prc["precision"], "recall": prc["recall"]}
    return {name: {"gensweep": ours(name), "torch-fidelity": float(value)} for name, value in theirs.items()}


@click.command(help=(__doc__ or "").partition("\n")[0])
@click.option("--peer", type=click.Path(exists=True, path_type=Path), required=True, help="Where torch-fidelity lies.")
@click.option("--images", type=click.IntRange(100), default=5000, show_default=True, help="The large number.")
@click.option("--few", type=click.IntRange(100), default=1000, show_default=True, help="The small number.")
@click.option("--peer-images", type=click.IntRange(64), default=512, show_default=True, help="Each of two times.")
@click.option("--reference", type=click.IntRange(1000), default=5000, show_default=True, help="Real features.")
def main(peer: Path, images: int, few: int, peer_images: int, reference: int) -> None:
    """Parse, measure, print, write."""
    torch.set_num_threads(1)
    sys.path.append(str(peer))
    with TemporaryDirectory() as place:
        weights(file := Path(place) / "weights.pth")
        theirs, extractor = Peer(file), from_weights(file, "cpu")
    answers = agreement(theirs)
    for name, both in answers.items():
        print(f"{name:16} {both['gensweep']:.9g} and {both['torch-fidelity']:.9g} by torch-fidelity")
    real = Real(made_up(reference, 1))
    pixels = images_of(images)
    _, seconds_few, bytes_few = evaluate(extractor, real, pixels[:few])
    print(f"{few} images: {seconds_few:.1f} s, {bytes_few / 2**20:.0f} MiB", flush=True)
    an_image = [theirs.extract(pixels[:peer_images])]
    verdict, seconds, bytes_many = evaluate(extractor, real, pixels)
    print(f"{images} images: {seconds:.1f} s, {bytes_many / 2**20:.0f} MiB", flush=True)
    an_image.append(theirs.extract(pixels[-peer_images:]))
    statistics = theirs.fid.fid_featuresdict_to_statistics({"2048": real.features}, "2048")
    _, of_distance = theirs.distance(made_up(images, 2), statistics)
    of_peer = images * sum(an_image) / 2 + of_distance
    ratio = of_peer / seconds
    print(f"torch-fidelity's FID of {images} images: {of_peer:.1f} s; gensweep is {ratio:.2f} times as fast")
    off = [
        name
        for name, both in answers.items()
        if abs(both["gensweep"] - both["torch-fidelity"]) > TOLERANCE[name] * abs(both["torch-fidelity"])
    ]
    write_result(
        "evaluation",
        f"{images}",
        settings={"images": images, "few": few, "peer_images": 2 * peer_images, "reference": reference, "clock": "cpu"},
        agreement=answers,
        metrics=list(verdict.scores),
        gensweep={"seconds": seconds, "bytes": bytes_many, "seconds_few": seconds_few, "bytes_few": bytes_few},
        torch_fidelity={"seconds": of_peer, "seconds_an_image": an_image, "seconds_of_the_distance": of_distance},
        ratio=ratio,
    )
    if off or ratio < BAR:
        raise SystemExit(f"disagree: {off}; ratio {ratio:.2f}, and at least {BAR} is wanted")


if __name__ == "__main__":
    main()
