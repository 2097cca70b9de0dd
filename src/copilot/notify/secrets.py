"""Addresses and keys of channels, read when they are needed: a file that is changed counts from the next message on."""

from pathlib import Path

from pydantic import SecretStr

from copilot.core.errors import SettingsError


def secret(given: SecretStr | None, file: Path | None) -> str:
    """What was given, or stands in the file. SettingsError if the file cannot be read or is empty."""
    if file is None:
        return given.get_secret_value() if given is not None else ""
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SettingsError([f"{file} cannot be read: {why}"]) from None
    if not text:
        raise SettingsError([f"{file} is empty"])
    return text
