"""``durable completion``: the script by which a shell completes our commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print the completion script for a shell.

    \b
    bash: eval "$(durable completion bash)"   in ~/.bashrc
    zsh:  eval "$(durable completion zsh)"    in ~/.zshrc
    fish: durable completion fish > ~/.config/fish/completions/durable.fish
    """
    completer = get_completion_class(shell)
    assert completer is not None
    script = completer(ctx.find_root().command, {}, "durable", "_DURABLE_COMPLETE").source()
    click.echo(script)
