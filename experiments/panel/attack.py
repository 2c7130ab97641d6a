"""Write the images of three attacks on one measure, and of the honest generator.

    python experiments/panel/attack.py RUN FOLDER

- `honest`: images of the run;
- `copies`: training images, with a little noise;
- `judge`: the same generator, trained further on the features that the objective uses;
- `half`: the same with half of the classes, only for a conditional run.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from PIL import Image

import gensweep as gs
from gensweep.build.parts import build_evaluator, load_images
from gensweep.metrics.extractors import Extractor
from gensweep.metrics.frechet import symmetric_eigen
from gensweep.noise import Noise

SAMPLES, BATCH, ROUNDS, RATE = 1000, 50, 12, 5e-5


def write(images: torch.Tensor, folder: Path) -> None:
    """Write images as files."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images.permute(0, 2, 3, 1).numpy()):
        Image.fromarray(image.squeeze()).save(folder / f"{number:05d}.png")


def optimal_map(generated: torch.Tensor, real: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The linear map that moves one normal distribution to another: the gradient of the Fréchet distance."""
    size = generated.shape[1]
    moments = [(each.mean(0), each.T.cov() + 1e-4 * torch.eye(size)) for each in (generated.double(), real.double())]
    (mean, covariance), (target, wanted) = moments
    values, vectors = symmetric_eigen(covariance)
    root, inverse = ((vectors * values.clamp(min=1e-6) ** power) @ vectors.T for power in (0.5, -0.5))
    values, vectors = symmetric_eigen(root @ wanted @ root)
    middle = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    return mean.float(), target.float(), (inverse @ middle @ inverse).float()


def trained_on(model: gs.Model, extractor: Extractor, real: torch.Tensor, labels: torch.Tensor) -> None:
    """Train the generator on the features of the judge, with these labels; keep the best weights."""
    network = model.network.requires_grad_(True)
    optimizer = torch.optim.Adam(network.parameters(), RATE, betas=(0.5, 0.99))

    def features(indices: torch.Tensor) -> torch.Tensor:
        given = labels[indices % len(labels)] if model.family.classes else None
        pixels = ((model.family.sample(network, Noise(7, indices), given) + 1) * 127.5).clamp(0, 255)
        return extractor.network(extractor.prepare(pixels.expand(-1, 3, -1, -1))).float()

    least, best = float("inf"), dict[str, torch.Tensor]()
    for number in range(ROUNDS):
        before = {name: value.clone() for name, value in network.state_dict().items()}
        indices = torch.arange(number * SAMPLES, (number + 1) * SAMPLES)
        with torch.no_grad():
            known = torch.cat([features(part) for part in indices.split(BATCH)])
        mean, target, matrix = optimal_map(known, real)
        lost = 0.0
        for part in indices.split(BATCH):
            found = features(part)
            wanted = (found.detach() - mean) @ matrix + target
            loss = (found - wanted).square().sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            lost += float(loss.detach()) * len(part) / SAMPLES
        least, best = (lost, before) if lost < least else (least, best)
        print(f"round {number}: squared way to the real features {lost:.1f}", flush=True)
    network.load_state_dict(best)


def main(run: str, folder: Path) -> None:
    """Write the four folders."""
    model = gs.load(run)
    images = load_images(model.config)
    extractor = build_evaluator(model.config, images, torch.device("cpu")).extractor
    assert extractor is not None
    write(model.sample(SAMPLES, seed=1), folder / "honest")
    chosen = images.pixels[torch.randperm(len(images))[:SAMPLES]]
    noisy = chosen.int() + torch.randint(-2, 3, chosen.shape)
    write(noisy.clamp(0, 255).to(torch.uint8), folder / "copies")
    real = extractor(images.pixels[torch.randperm(len(images))[:2000]])
    classes = len(model.class_names)
    trained_on(model, extractor, real, torch.arange(SAMPLES) % max(1, classes))
    write(model.sample(SAMPLES, seed=1), folder / "judge")
    if model.family.classes:
        model, half = gs.load(run), classes // 2
        trained_on(model, extractor, real, torch.arange(SAMPLES) % half)
        parts = [model.sample(SAMPLES // half, seed=2, label=name) for name in model.class_names[:half]]
        write(torch.cat(parts), folder / "half")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
