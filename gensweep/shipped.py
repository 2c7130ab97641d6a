"""The search spaces that come with gensweep, by name."""

from __future__ import annotations

import difflib
from pathlib import Path

from gensweep.errors import ConfigError

FOLDER = Path(__file__).parent / "search_spaces"
PURPOSES = {
    "A first sweep, in minutes on a processor": ("quickstart", "everything"),
    "Diffusion models and flows": ("ddpm", "ddpm_64", "vdm", "flow_matching", "meanflow", "dit"),
    "GANs": ("dcgan", "sngan", "diffusion_gan", "r3gan"),
    "Autoencoders": ("vae",),
    "Adding a class to a trained model": ("lora",),
}
#: Editors find the schema by this line, which is right only in a checkout.
SCHEMA_LINE = "# yaml-language-server:"


def shipped_spaces() -> dict[str, Path]:
    """The files by name: quickstart, everything, ddpm, ..."""
    return {name: FOLDER / f"{name}.yaml" for names in PURPOSES.values() for name in names}


def title(file: Path) -> str:
    """The first line of a space, its question."""
    return file.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


def space_file(cli_name: str) -> Path:
    """The file at a path, or the space of that name in gensweep.  Raises ConfigError for an unknown name."""
    path, spaces = Path(cli_name), shipped_spaces()
    if path.suffix in (".yaml", ".yml") and path.stem in spaces and not path.exists():
        raise ConfigError(f"{cli_name}: no such file; did you mean {path.stem}, as in: gensweep tune {path.stem}")
    if path.exists() or path.suffix or path.name != cli_name:
        return path
    if cli_name not in spaces:
        close = difflib.get_close_matches(cli_name, spaces, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ConfigError(
            f"{cli_name!r} is neither a file nor a search space of gensweep{hint} (known: {', '.join(spaces)})"
        )
    return spaces[cli_name]
