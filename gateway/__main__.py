"""Command line: `onekey-gateway serve|check-config|migrate|prompts|terminals|agents|accounts`."""

import argparse
import asyncio
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import ValidationError

from drivers.api.errors import StoreUnavailable
from gateway import admin, app
from gateway.accounts.adding import password_from
from gateway.config import Settings, load
from gateway.logs import logging_to
from gateway.store.migrate import StoreTooNew
from gateway.telephony.make_prompts import PromptError, make_prompts
from gateway.terminals.csv_file import CsvErrors
from gateway.web.app import CannotListen

# Exit codes of sysexits.h, so that a service manager can tell a wrong configuration from a fault.
EX_CONFIG = 78
EX_UNAVAILABLE = 69
EX_DATAERR = 65


def parser() -> argparse.ArgumentParser:
    """Return the command line's grammar."""
    top = argparse.ArgumentParser(prog="onekey-gateway", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    serve = commands.add_parser(
        "serve", help="run the daemon until SIGTERM (drain) or SIGINT (now)"
    )
    check = commands.add_parser("check-config", help="read the configuration, name every error")
    migrate = commands.add_parser("migrate", help="bring the store to this version's schema")
    prompts = commands.add_parser("prompts", help="speak the prompts that are missing (espeak-ng)")
    terminals = commands.add_parser("terminals", help="registered terminals")
    imported = terminals.add_subparsers(dest="action", required=True).add_parser("import")
    imported.add_argument("file", type=Path, help="CSV with a header line")
    agents = commands.add_parser("agents", help="agents of the call centre")
    agents_import = agents.add_subparsers(dest="action", required=True).add_parser("import")
    agents_import.add_argument("file", type=Path, help="CSV with a header line")
    added = _account_commands(commands)
    for command in (serve, check, migrate, prompts, imported, agents_import, added):
        command.add_argument("--config", type=Path, default=None, help="TOML file")
    return top


def _account_commands(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> argparse.ArgumentParser:
    accounts = commands.add_parser("accounts", help="SIP accounts of terminals and agents")
    added = accounts.add_subparsers(dest="action", required=True).add_parser("add")
    added.add_argument("user", help="what the phone registers as")
    owner = added.add_mutually_exclusive_group(required=True)
    owner.add_argument("--terminal", help="id of the terminal whose account it is")
    owner.add_argument("--agent", help="id of the agent whose account it is")
    added.add_argument(
        "--password-stdin", action="store_true", help="read the password instead of making one"
    )
    return added


def read_config(path: Path | None) -> Settings:
    """Return the settings or end the process with every error and its path."""
    try:
        return load(path)
    except ValidationError as error:
        lines = [
            f"  {'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
            for item in error.errors(include_url=False, include_input=False)
        ]
        sys.stderr.write(f"configuration {path or '(environment)'}:\n" + "\n".join(lines) + "\n")
    except (OSError, tomllib.TOMLDecodeError) as error:
        sys.stderr.write(f"configuration {path}: {error}\n")
    raise SystemExit(EX_CONFIG)


def _check(settings: Settings, _: argparse.Namespace) -> int:
    problems = app.check(settings)
    sys.stderr.write("".join(f"  {line}\n" for line in problems) or "configuration is valid\n")
    return EX_CONFIG if problems else 0


def _make_prompts(settings: Settings, _: argparse.Namespace) -> int:
    directory = settings.prompt_dirs[-1]
    made = make_prompts(directory)
    sys.stdout.write(f"{len(made)} prompts made in {directory}\n")
    return 0


def _migrate(settings: Settings, _: argparse.Namespace) -> int:
    with logging_to(settings.log):
        asyncio.run(admin.migrate(settings))
    return 0


def _import_terminals(settings: Settings, arguments: argparse.Namespace) -> int:
    with logging_to(settings.log):
        count = asyncio.run(admin.import_terminals(settings, arguments.file))
    sys.stdout.write(f"{count} terminals registered\n")
    return 0


def _import_agents(settings: Settings, arguments: argparse.Namespace) -> int:
    with logging_to(settings.log):
        count = asyncio.run(admin.import_agents(settings, arguments.file))
    sys.stdout.write(f"{count} agents registered\n")
    return 0


def _add_account(settings: Settings, arguments: argparse.Namespace) -> int:
    try:
        given = password_from(sys.stdin) if arguments.password_stdin else None
        owner = admin.AccountOwner(
            terminal=arguments.terminal, agent=arguments.agent, password=given
        )
        with logging_to(settings.log):
            made = asyncio.run(admin.add_account(settings, arguments.user, owner))
    except ValueError as error:  # a user name or a password that cannot be
        sys.stderr.write(f"{error}\n")
        return EX_DATAERR
    if made is not None:
        sys.stdout.write(f"{made}\n")  # once: only its digest is kept
    return 0


COMMANDS: dict[str, Callable[[Settings, argparse.Namespace], int]] = {
    "serve": lambda settings, _: app.serve(settings),
    "check-config": _check,
    "migrate": _migrate,
    "prompts": _make_prompts,
    "terminals": _import_terminals,
    "agents": _import_agents,
    "accounts": _add_account,
}


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks; returns the exit code."""
    return COMMANDS[arguments.command](read_config(arguments.config), arguments)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the console script."""
    try:
        return run(parser().parse_args(argv))
    except CsvErrors as error:
        sys.stderr.write(f"{error}\n")
        return EX_DATAERR
    except (StoreUnavailable, StoreTooNew, CannotListen, PromptError) as error:
        sys.stderr.write(f"{error}\n")
        return EX_UNAVAILABLE


if __name__ == "__main__":
    sys.exit(main())
