"""What the Copilot is made of, as a CycloneDX 1.5 document that the wheel carries (PEP 770): `python -m tools.sbom`.

It lists what the wheel contains of others, and each locked version of what its users install. The same locks give the
same document.
"""

import json
import sys
import tomllib
from typing import Any
from urllib.parse import quote

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.licences import ROOT, TABLE, locked, recorded

VENDORED = ROOT / "src" / "copilot" / "web" / "static" / "vendor" / "VERSIONS"
LOCKS = ("run", "deploy")
BUILD = frozenset({"editables", "hatchling", "pathspec", "pluggy", "trove-classifiers"})
"""What only makes the wheel."""


def component(name: str, version: str, licence: str, kind: str, scope: str) -> dict[str, Any]:
    """One component; `kind` is that of its package URL, `scope` required or optional."""
    url = f"pkg:{kind}/{name}@{quote(version)}"
    return {"type": "library", "bom-ref": url, "name": name, "version": version, "scope": scope, "purl": url,
            "licenses": [{"expression": licence}]}  # fmt: skip


def document() -> dict[str, Any]:
    """The whole document."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    base, embedded = (
        {canonicalize_name(Requirement(text).name) for text in texts}
        for texts in (project["dependencies"], project["optional-dependencies"]["embedded"])
    )
    required = locked("run").keys() - embedded
    licences = recorded(TABLE.read_text("utf-8"))
    versions = {name: version for lock in LOCKS for name, version in locked(lock).items() if name not in BUILD}
    parts = [
        component(name, version, licences[name, version], "pypi", "required" if name in required else "optional")
        for name, version in sorted(versions.items())
    ]
    for line in VENDORED.read_text("utf-8").splitlines():
        name, version, licence = line.split()[:3]
        parts.append(component(name.lower(), version, licence.strip("(,"), "npm", "required"))
    root = f"pkg:pypi/{project['name']}"
    direct = [part["bom-ref"] for part in parts if part["name"] in base or "pkg:npm" in part["bom-ref"]]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "application", "bom-ref": root, "name": project["name"], "purl": root,
                                   "licenses": [{"expression": project["license"]}]}},
        "components": parts,
        "dependencies": [{"ref": root, "dependsOn": direct}],
    }  # fmt: skip


if __name__ == "__main__":
    json.dump(document(), sys.stdout, indent=1)
    print()
