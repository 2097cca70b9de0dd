"""Licences of all that the locks name: `python -m tools.licences` checks requirements/LICENCES.md, `--write` writes it.

A package that is not installed here (for Windows, or of checkov's environment) keeps the licence of its row, as long as
its version stays.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "requirements" / "LICENCES.md"
LOCKS = ("run", "deploy", "dev", "checkov", "audit")
ENVIRONMENTS = {"checkov": ".checkov", "audit": ".audit"}
"""Environments of their own; the others' packages are installed beside this module."""
ALLOWED = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CNRI-Python"),
    *("ISC", "MIT", "MIT-0", "MPL-2.0", "PSF-2.0", "Zlib"),
}
"""What may be used and shipped without a question to a lawyer. MPL-2.0 binds changes of its own files only."""
SAME = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd 2-clause license": "BSD-2-Clause",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "the mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "psf license": "PSF-2.0",
    "psfl": "PSF-2.0",
    "python software foundation license": "PSF-2.0",
}
"""Names in old metadata, as SPDX has them."""
LOCKED = re.compile(r"^([\w.-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)
ROW = re.compile(r"^\| ([\w.-]+) \| (\S+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
UNKNOWN = "unknown"
HEAD = """\
# Licences of the dependencies

Written by `make docs` from the locks beside this file and the metadata of the installed packages, as SPDX expressions.
`make lint` fails when a licence is unknown or is not among: {allowed}.

| package | version | licence | locks |
|---|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Package:
    """A locked package. `licence` is an SPDX expression or `unknown`; `locks` names the files."""

    name: str
    version: str
    licence: str
    locks: tuple[str, ...]


def locked(lock: str) -> dict[str, str]:
    """Names and versions of a lock, those for other platforms too."""
    text = (ROOT / "requirements" / f"{lock}.txt").read_text("utf-8")
    return {str(canonicalize_name(name)): version for name, version in LOCKED.findall(text)}


def recorded(table: str) -> dict[tuple[str, str], str]:
    """The licences in a written table."""
    return {(name, version): licence for name, version, licence, _ in ROW.findall(table)[1:]}


def packages(known: Mapping[tuple[str, str], str]) -> list[Package]:
    """All locked packages, by name and version. `known` has licences of those that are not installed."""
    found: dict[tuple[str, str], tuple[str, list[str]]] = {}
    for lock in LOCKS:
        installed = {str(canonicalize_name(d.name)): d for d in _installed(lock)}
        for name, version in locked(lock).items():
            has = installed.get(name)
            here = licence(has) if has is not None and has.version == version else UNKNOWN
            before, locks = found.setdefault((name, version), (known.get((name, version), UNKNOWN), []))
            locks.append(lock)
            found[name, version] = here if here != UNKNOWN else before, locks
    return [Package(n, v, spdx, tuple(locks)) for (n, v), (spdx, locks) in sorted(found.items())]


def _installed(lock: str) -> Iterator[Distribution]:
    own = ENVIRONMENTS.get(lock)
    places = [str(p) for p in (ROOT / own).glob("lib/*/site-packages")] if own else None
    return iter(distributions() if places is None else distributions(path=places))


def licence(package: Distribution) -> str:
    """The SPDX expression of an installed package: as it says itself, from old metadata, or `unknown`."""
    said, text = ((package.metadata.get_all(field) or [""])[0] for field in ("License-Expression", "License"))
    text = (text.strip().splitlines() or [""])[0]
    classified = [
        c.rpartition(" :: ")[2] for c in package.metadata.get_all("Classifier") or () if c.startswith("License :: OSI")
    ]
    for name in (said, text, *classified) if len(classified) < 2 else (said, text):
        try:
            return canonicalize_license_expression(SAME.get(name.lower(), name))
        except InvalidLicenseExpression:
            continue
    names = {SAME.get(c.lower()) or (_by_text(package) if "BSD" in c else "") for c in classified}
    return " OR ".join(sorted(names - {"", UNKNOWN})) or _by_text(package)


def _by_text(package: Distribution) -> str:
    """The licence by the text of the package's licence file: old metadata often say "BSD", or nothing."""
    files = [f for f in package.files or () if re.search(r"licen[cs]e|copying", f.name, re.IGNORECASE)]
    text = " ".join(" ".join(f.read_text(encoding="utf-8").split()) for f in files)
    if "Redistribution and use in source and binary forms" in text:
        return (
            "BSD-3-Clause" if re.search(r"Neither the names? of|may not be used to endorse", text) else "BSD-2-Clause"
        )
    return "MIT" if "Permission is hereby granted, free of charge" in text else UNKNOWN


def refused(found: list[Package]) -> Iterator[str]:
    """What may not be used, a sentence each: every licence that an expression names must be allowed."""
    for package in found:
        if package.licence == UNKNOWN:
            yield f"the licence of {package.name} {package.version} is unknown: write it into {TABLE.name}"
        elif other := sorted(set(re.findall(r"[\w.+-]+", package.licence)) - ALLOWED - {"AND", "OR"}):
            yield f"{package.name} {package.version} has the licence {', '.join(other)}, which is not allowed"


def table(found: list[Package]) -> str:
    """The Markdown file."""
    rows = (f"| {p.name} | {p.version} | {p.licence} | {', '.join(p.locks)} |\n" for p in found)
    return HEAD.format(allowed=", ".join(sorted(ALLOWED))) + "".join(rows)


def main(words: list[str]) -> int:
    """Exit code 1 when a licence is refused or the file is not of these locks."""
    before = TABLE.read_text("utf-8") if TABLE.exists() else ""
    found = packages(recorded(before))
    wrong = list(refused(found))
    if "--write" in words:
        TABLE.write_text(table(found), "utf-8")
    elif table(found) != before:
        wrong.append(f"{TABLE.relative_to(ROOT)} is not of these locks: run `make docs`")
    print("\n".join(wrong), end="\n" if wrong else "", file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
