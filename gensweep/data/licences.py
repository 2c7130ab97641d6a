"""Under which terms the data sets may be used, as those who publish them say; models that were trained on them tell."""

from __future__ import annotations

from typing import NamedTuple


class DataLicence(NamedTuple):
    """What a data set is, and the terms of its use, in words for the readers of a model card."""

    source: str
    terms: str


#: By the kind of the data set.  What a folder of pictures holds, and whose it is, only its owner knows.
DATA_LICENCES = {
    "digits": DataLicence(
        "E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998 "
        "(its test part, as scikit-learn ships it)",
        "Creative Commons Attribution 4.0 (CC BY 4.0)",
    ),
    "cifar10": DataLicence(
        "A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
        "published without a licence; its photographs were collected from the web",
    ),
}
