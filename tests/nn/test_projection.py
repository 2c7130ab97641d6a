import torch
from torch import nn

from gensweep.nn.projection import ConditionalBatchNorm2d


def test_a_conditional_batch_norm_is_one_batch_norm_per_class():
    norm = ConditionalBatchNorm2d(4, 3)
    nn.init.normal_(norm.label_shift.weight)
    x, labels = torch.randn(6, 4, 5, 5), torch.tensor([0, 1, 2, 0, 1, 2])
    y = norm(x, labels)
    for label in range(3):
        own = nn.BatchNorm2d(4)
        own.load_state_dict(
            own.state_dict() | {"weight": norm.label_scale.weight[label], "bias": norm.label_shift.weight[label]}
        )
        torch.testing.assert_close(y[labels == label], own(x)[labels == label])
