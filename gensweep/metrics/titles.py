"""Titles of scores, such as FD-EffNetLite0."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gensweep.results import Identity

_EXTRACTORS = {"efficientnet_lite0": "EffNetLite0"}
# Only features of the FID-2015 Inception network make a Frechet distance an FID, and a kernel distance a KID.
_DISTANCES = {"fd": ("FID", "FD"), "fid": ("FID", "FD"), "kid": ("KID", "KD")}
_TITLES = {"bpd": "bits/dim"}


def metric_title(metric: str, identity: Identity | None) -> str:
    """The column head of a score: "FID" for the literature's network only, "FD-EffNetLite0" and the like otherwise."""
    if metric not in _DISTANCES:
        return _TITLES.get(metric, metric)
    literatures, distance = _DISTANCES[metric]
    extractor = "" if identity is None else (identity.extractor or "").partition("/")[0]
    if extractor == "inception2015":
        return literatures
    return f"{distance}-{_EXTRACTORS.get(extractor, extractor)}" if extractor else distance
