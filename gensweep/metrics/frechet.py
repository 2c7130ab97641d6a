"""The Frechet distance between two Gaussians, from their means and covariances."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import scipy.linalg
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from gensweep.errors import GensweepError


def frechet_distance(
    mean1: Float64[Tensor, " d"],
    cov1: Float64[Tensor, "d d"],
    mean2: Float64[Tensor, " d"],
    cov2: Float64[Tensor, "d d"],
) -> float:
    """The squared 2-Wasserstein distance of N(mean1, cov1) and N(mean2, cov2), at least 0.

    |mean1 - mean2|^2 + Tr(S1 + S2 - 2 (S1 S2)^1/2).  With factors S = L L^T and M = L1^T L2, the eigenvalues of
    (S1 S2)^1/2 are the square roots of those of the symmetric M M^T.  Directions without variance are cut out of the
    factors, so singular covariances (fewer images than features) lose no digits.
    Covariances are symmetric and positive semi-definite.  Raises GensweepError if a number is NaN or infinite.
    Source: Dowson & Landau 1982; Heusel et al. 2017, eq. 6.
    """
    for name, value in (("mean1", mean1), ("cov1", cov1), ("mean2", mean2), ("cov2", cov2)):
        if not bool(torch.isfinite(value).all()):
            raise GensweepError(f"{name} holds NaN or infinite numbers: no Frechet distance can be computed")
    m = factor(cov1).T @ factor(cov2)
    gram = m @ m.T if m.shape[0] <= m.shape[1] else m.T @ m
    overlap = symmetric_eigenvalues(gram).clamp(min=0).sqrt().sum()
    distance = (mean1 - mean2).square().sum() + cov1.trace() + cov2.trace() - 2 * overlap
    return max(0.0, float(distance))


def factor(covariance: Float64[Tensor, "d d"]) -> Float64[Tensor, "d r"]:
    """L with L L^T = covariance, by Cholesky with complete pivoting; every column carries variance.

    It stops where no remaining direction has a variance above d eps times the largest one of a feature.  A rounding
    error of 1e-16 would otherwise return as its square root, 1e-8.
    Source: Higham 1990, "Analysis of the Cholesky decomposition of a semi-definite matrix"; LAPACK's pstrf.
    """
    rows, order, rank, _ = scipy.linalg.lapack.dpstrf(covariance.detach().cpu().numpy(), lower=1)
    root = np.empty((len(rows), rank))
    root[order - 1] = np.tril(rows)[:, :rank]
    return torch.from_numpy(root).to(covariance)


def symmetric_eigen(matrix: Float[Tensor, "d d"]) -> tuple[Float[Tensor, " d"], Float[Tensor, "d d"]]:
    """Eigenvalues in ascending order, and eigenvectors in columns; only the lower triangle is read.

    With MKL, PyTorch's divide-and-conquer solver does not converge on some matrices of low rank or with many zeros,
    such as the scatter of features with dead units.  It then raises an error or silently returns NaN, depending on the
    number of threads.  In that case scipy computes in float64, by the QR iteration with Wilkinson's shifts, which
    always converges.  Raises GensweepError if a number is NaN or infinite.  Source: Wilkinson 1968 (convergence);
    LAPACK's syevd and syev.
    """
    if not bool(torch.isfinite(matrix).all()):
        raise GensweepError("a matrix with NaN or infinite numbers has no eigenvalues")
    with suppress(torch.linalg.LinAlgError):  # type: ignore[attr-defined]
        eigenvalues, vectors = torch.linalg.eigh(matrix)
        if bool(torch.isfinite(eigenvalues).all() and torch.isfinite(vectors).all()):
            return eigenvalues, vectors
    eigenvalues, vectors = scipy.linalg.eigh(matrix.detach().cpu().double().numpy(), driver="ev")
    return torch.from_numpy(eigenvalues).to(matrix), torch.from_numpy(vectors).to(matrix)


def symmetric_eigenvalues(matrix: Float[Tensor, "d d"]) -> Float[Tensor, " d"]:
    """Only the eigenvalues of `symmetric_eigen`, faster where PyTorch's solver converges."""
    with suppress(torch.linalg.LinAlgError):  # type: ignore[attr-defined]
        eigenvalues: Tensor = torch.linalg.eigvalsh(matrix)
        if bool(torch.isfinite(eigenvalues).all()):
            return eigenvalues
    return symmetric_eigen(matrix)[0]


def positive_eigen(matrix: Float[Tensor, "d d"]) -> tuple[Float[Tensor, " k"], Float[Tensor, "d k"]]:
    """Positive eigenvalues of a positive semi-definite matrix, above rounding errors, and their eigenvectors.

    The threshold is that of numpy's `matrix_rank`.
    """
    eigenvalues, vectors = symmetric_eigen(matrix)
    largest = eigenvalues[-1:].clamp(min=0)  # empty for an empty matrix
    kept = eigenvalues > largest * len(eigenvalues) * torch.finfo(eigenvalues.dtype).eps
    return eigenvalues[kept], vectors[:, kept]
