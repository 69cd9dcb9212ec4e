"""``squidmesh completion``: what a shell needs to complete commands, options and runs."""

from __future__ import annotations

import click

_HOW = {
    "bash": 'eval "$(squidmesh completion bash)"   # in ~/.bashrc',
    "zsh": 'eval "$(squidmesh completion zsh)"   # in ~/.zshrc, after compinit',
    "fish": "squidmesh completion fish > ~/.config/fish/completions/squidmesh.fish",
}


@click.command()
@click.argument("shell", type=click.Choice(list(_HOW)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a SHELL: bash, zsh or fish.

    \b
    bash:  eval "$(squidmesh completion bash)"   in ~/.bashrc
    zsh:   eval "$(squidmesh completion zsh)"    in ~/.zshrc, after compinit
    fish:  squidmesh completion fish > ~/.config/fish/completions/squidmesh.fish
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    made = found(ctx.find_root().command, {}, "squidmesh", "_SQUIDMESH_COMPLETE")
    click.echo(f"# {_HOW[shell]}\n{made.source_template % made.source_vars()}")
