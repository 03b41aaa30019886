"""Print a script that completes commands, options, values, names of models and files in a shell.

  bash   eval "$(jettagger completion bash)"    in ~/.bashrc
  zsh    eval "$(jettagger completion zsh)"     in ~/.zshrc, after compinit
  fish   jettagger completion fish | source     in ~/.config/fish/config.fish

The script is made from the commands of this version; only names of models are looked up when a key is pressed (by
'jettagger completion models', which prints them, one a line).

examples:
  jettagger completion bash > ~/.local/share/bash-completion/completions/jettagger
  jettagger completion models
"""

from __future__ import annotations

import argparse

from jettagger.cli.console import Console

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``jettagger completion``."""
    parser.add_argument(
        "shell", choices=("bash", "zsh", "fish", "models"), metavar="SHELL", help="bash, zsh or fish; or models"
    )


def run(args: argparse.Namespace, console: Console) -> int:
    """Run ``jettagger completion``."""
    if args.shell == "models":
        from jettagger.bundles.registry import available

        names = list(available())
        console.answer(names, "\n".join(names))
        return 0
    from jettagger.cli.shells import SCRIPTS, commands

    text = SCRIPTS[args.shell](commands())
    console.answer(text, text)
    return 0
