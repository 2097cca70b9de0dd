"""`copilot token`: access to the API and the page."""

import json
from typing import Annotated, Literal

import typer
from pydantic import TypeAdapter, ValidationError

from copilot.cli.options import JsonOption
from copilot.cli.output import print_result
from copilot.errors import SettingsError

RoleName = Literal["viewer", "operator", "admin"]
# With a callback `new` is a subcommand although it is the only one.
app = typer.Typer(help="Tokens for the API and the page.", no_args_is_help=True, callback=lambda: None)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Who uses it: grafana, alice, …")],
    changes: Annotated[bool, typer.Option("--changes", help="It can only report changes, and read nothing.")] = False,
    role: Annotated[RoleName, typer.Option(help="A viewer only reads; an operator also reports and notes.")] = "viewer",
    cluster: Annotated[list[str] | None, typer.Option(help="It reads this cluster only. May be repeated.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Create a token. It is shown only once; copilot.toml stores its hash.

    In a browser, use any user name and the token as password.

    Example: copilot token new grafana

    Example: copilot token new alice --role operator --cluster production

    Example: copilot token new github-actions --changes"""
    from copilot.api.auth import new_token, token_hash
    from copilot.settings.sources import Name

    if changes and (cluster or role != "viewer"):
        raise SettingsError(["--changes goes without --role and --cluster: such a token can only report changes"])
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        problem = f"{name[:80]!r} is not a valid name: use letters, digits, dots, - and _, at most 63"
        raise SettingsError([problem]) from error
    token = new_token()
    hashed = token_hash(token)
    key = name if "." not in name else f'"{name}"'
    line = f'{key} = "{hashed}"'
    if role != "viewer" or cluster:
        limit = f", clusters = {json.dumps(cluster, ensure_ascii=False)}" if cluster else ""
        line = f'{key} = {{ hash = "{hashed}", role = "{role}"{limit} }}'
    shown = f"The token of {name}, shown only now:\n\n  {token}\n"
    add = f"Add this to copilot.toml and restart the API:\n\n  [api.{'change_' if changes else ''}tokens]\n  {line}"
    print_result({"name": name, "token": token, "hash": hashed, "line": line}, [shown, add], as_json=as_json)
