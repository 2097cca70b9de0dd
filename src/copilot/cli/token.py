"""`copilot token`: who may ask the API."""

import json
from typing import Annotated

import typer

from copilot.cli.options import JsonOption

app = typer.Typer(help="Tokens for the API and the page.", no_args_is_help=True)


@app.callback()
def _tokens() -> None:
    pass


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Who is to use it: grafana, alice, …")], as_json: JsonOption = False
) -> None:
    """Make a token. It is shown this once; copilot.toml gets only its hash.

    In a browser, log in as anybody with the token as password.

    Example: copilot token new grafana"""
    from pydantic import TypeAdapter, ValidationError

    from copilot.api.auth import new_token, token_hash
    from copilot.errors import SettingsError
    from copilot.settings.api import TokenName

    try:
        TypeAdapter(TokenName).validate_python(name)
    except ValidationError as error:
        raise SettingsError([f"{name[:80]!r} is no name: letters, digits, dots, - and _, 63 at most"]) from error
    token = new_token()
    kept = token_hash(token)
    key = name if "." not in name else f'"{name}"'
    line = f'{key} = "{kept}"'
    if as_json:
        typer.echo(json.dumps({"name": name, "token": token, "hash": kept, "line": line}))
        return
    typer.echo(f"The token of {name}, shown only now:\n\n  {token}\n")
    typer.echo(f"Put this into copilot.toml and start the API anew:\n\n  [api.tokens]\n  {line}")
