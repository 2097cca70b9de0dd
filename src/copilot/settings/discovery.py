"""What `discover` of a metrics page may name: `dns:NAME:PORT`, or `kubernetes:NAMESPACE/SELECTOR`. Values only."""

import re
from typing import Annotated, NamedTuple

from pydantic import BeforeValidator

from copilot.settings.sources import valid

_DNS = re.compile(r"dns:[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9])?(:[0-9]{1,5})?")
_WORD = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_KEY = rf"(?:[a-z0-9](?:[a-z0-9.-]{{0,251}}[a-z0-9])?/)?{_WORD}"
_SET = rf"\(\s*(?:{_WORD})?(?:\s*,\s*(?:{_WORD})?)*\s*\)"
_REQUIREMENT = rf"\s*(?:!\s*{_KEY}|{_KEY}(?:\s*(?:==?|!=)\s*(?:{_WORD})?|\s+(?:in|notin)\s*{_SET})?)\s*"
_NAMESPACE = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_PODS = re.compile(rf"kubernetes:(?P<namespace>{_NAMESPACE})/(?P<selector>{_REQUIREMENT}(?:,{_REQUIREMENT})*)")
_PORT_NAME = re.compile(r"(?=.*[a-z])(?!.*--)[a-z0-9](?:[a-z0-9-]{0,13}[a-z0-9])?")
_EXAMPLE = "kubernetes:temporal/app.kubernetes.io/name=temporal"


class PodSelector(NamedTuple):
    """Pods of one namespace of Kubernetes, by a selector of their labels as `kubectl --selector` has it."""

    namespace: str
    selector: str


def pod_selector(discover: str) -> PodSelector | None:
    """The pods that `discover` names; None where it names something else."""
    found = _PODS.fullmatch(discover)
    return PodSelector(found["namespace"], found["selector"].strip()) if found else None


def _known(discover: str) -> object:
    if discover.startswith("kubernetes:"):
        if (found := pod_selector(discover)) is None:
            raise ValueError(
                f"{discover!r} selects no pods: write kubernetes:NAMESPACE/SELECTOR, for example {_EXAMPLE}"
            )
        return found
    if _DNS.fullmatch(discover) is None:
        raise ValueError(
            f"{discover!r} is not a name to discover: write dns:NAME:PORT, dns:NAME, or kubernetes:NAMESPACE/SELECTOR"
        )
    return discover


def _port(given: object) -> object:
    """A number, or the name of a container's port; ValueError for anything else."""
    if isinstance(given, str) and given.isascii() and given.isdigit():
        given = int(given)
    number = isinstance(given, int) and not isinstance(given, bool) and 0 < given < 65536
    if number or (isinstance(given, str) and _PORT_NAME.fullmatch(given)):
        return given
    raise ValueError(f"{given!r} is not a port: give its number, or the name that the containers give it")


Discover = Annotated[str, valid(_known)]
PodPort = Annotated[int | str, BeforeValidator(_port)]
