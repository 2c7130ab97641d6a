"""Questions of users are answered by the help of the command that they would try first."""

import pytest

from gensweep.cli.main import run

ANSWERS = {
    "How do I search the batch size?": ("tune", "space.training.batch_size={choice: [64, 128]}"),
    "How do I train on four GPUs?": ("tune", "--set resources.workers=4 four GPUs per trial"),
    "How do I resume a sweep?": ("tune", "gensweep tune --resume ddpm-cifar10"),
    "How do I train a model longer?": ("train", "--continue-from ddpm-cifar10 --set training.images=2000000"),
    "How do I compare two sweeps?": ("best", "gensweep best --compare ddpm-cifar10 dcgan-cifar10"),
    "How do I run on a cluster?": ("tune", "RAY_ADDRESS=auto gensweep tune search_spaces/ddpm.yaml on a running Ray"),
    "How do I limit a sweep to eight hours?": ("tune", "--for 8h"),
    "What do I do if it is too close to call?": ("best", "too close to call, add trials (gensweep tune --extend"),
    "How do I add my own metric?": ("new", "gensweep new metric sharpness"),
    "How do I delete a sweep?": ("rm", "gensweep rm quickstart"),
}


@pytest.mark.parametrize("question", ANSWERS)
def test_help_answers(question, capsys):
    command, words = ANSWERS[question]
    assert run([command, "--help"]) == 0
    assert words in " ".join(capsys.readouterr().out.split())
