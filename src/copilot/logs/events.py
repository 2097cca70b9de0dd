"""Lines that belong together are one event: a Go panic with its stack trace, and a long line that the kubelet (CRI) or
Docker cut into pieces. Lines of several files or pods may alternate."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from copilot.logs.formats import LEVEL_KEYS, Written, first_of, read_written
from copilot.logs.lines import LEVELS, MAX_LINE_BYTES, LogLine, line_of

FATAL = LEVELS.index("fatal")
MAX_MESSAGE_LINES = 20
"""Lines of a panic's own message, before its first goroutine."""
MAX_FRAME = 500
MAX_TAIL_BYTES = 1_000

_DIES = re.compile(r"panic: |fatal error: |SIG(?:QUIT|ABRT|SEGV|BUS|ILL|FPE|TRAP): |unexpected fault address ")
_GOROUTINE = re.compile(r"goroutine \d+(?: \S+)* \[[^\]]*\]:")
_FRAME = re.compile(
    r"(?:panic|[^\s(]*[./][^\s(]*(?:\(\*?[^\s)]+\)[^\s(]*)?)\((?:\.\.\.|[\s0-9a-fx{},?.+_]*)\)$"
    r"|(?:[\w.\-~]+/)+[\w\-.]+\.(?:\(\*?[\w\[\].,]+\)\.)?[\w.\-\[\]]+$|(?:main|runtime)\.[\w.]+$"
    r"|[\w./\-]*\.\(\*\w+\)\.[\w.]+$"
    r"|created by \S+|exit status \d+$|\[(?:signal SIG|originating from|recovered\])"
    r"|\.\.\.(?:additional frames|\d+ frames)"
    r"|(?:r\w{1,5}|[c-g]s) +0x[0-9a-f]+$|PC=0x"
)
_ORIGIN_LABELS = (
    "cluster", "namespace", "pod", "pod_name", "k8s_pod_name", "container", "container_name", "k8s_container_name",
    "host", "hostname", "instance", "filename", "stream", "log_iostream", "service_name", "app", "job",
)  # fmt: skip
"""Labels that tell files and pods apart. Others, such as a level or an observed time, differ from line to line."""


@dataclass(slots=True)
class _Origin:
    """Where in an event the last line of one file or pod was."""

    cut: Written | None = None
    dying: bool = False
    in_stack: bool = False
    message_lines: int = 0


@dataclass
class Joined:
    """Puts lines of several origins together, in the order in which they are given."""

    _origins: dict[tuple[tuple[str, str], ...], _Origin] = field(default_factory=dict)

    def add(self, raw: str, time: int | None = None, labels: Mapping[str, str] | None = None) -> Iterator[LogLine]:
        """The lines complete with this one: at most the one that it ends, and itself."""
        key = tuple((name, labels[name]) for name in _ORIGIN_LABELS if name in labels) if labels else ()
        written = read_written(raw)
        if written.wrapper:
            key = (*key, ("wrapper", written.wrapper))
        origin = self._origins.setdefault(key, _Origin())
        if (cut := origin.cut) is not None:
            origin.cut = None
            if len(cut.text) >= MAX_LINE_BYTES:
                yield from self._line(origin, _whole(cut), time, labels)
            elif written.partial:
                written = replace(cut, text=cut.text + written.text)
            else:
                written = _whole(replace(cut, text=cut.text + written.text))
        if written.partial:
            origin.cut = written
        else:
            yield from self._line(origin, written, time, labels)

    def rest(self) -> Iterator[LogLine]:
        """The pieces of which no end came."""
        for key, origin in self._origins.items():
            if origin.cut is not None:
                yield from self._line(origin, _whole(origin.cut), None, dict(key))

    def _line(
        self, origin: _Origin, written: Written, time: int | None, labels: Mapping[str, str] | None
    ) -> Iterator[LogLine]:
        line = line_of(written, time=time, labels=labels)
        if line is None:
            return
        first, _, more = line.text.partition("\n")
        own_level = first_of(written.fields, LEVEL_KEYS) if written.fields else ""
        if _DIES.match(first) and not own_level:
            origin.dying, origin.in_stack, origin.message_lines = True, False, 0
            line = replace(line, text=first, level=FATAL)
        elif written.fields is not None:
            origin.dying, origin.in_stack = False, "panic" in first  # Its stack may follow as text.
        elif _GOROUTINE.match(first):
            origin.in_stack, known = True, origin.dying or origin.in_stack
            if known:
                return
            if more:
                line = replace(line, text=first)
        elif _FRAME.match(first[:MAX_FRAME]):
            return
        elif origin.dying and not origin.in_stack and origin.message_lines < MAX_MESSAGE_LINES:
            origin.message_lines += 1
            return
        else:
            origin.dying = origin.in_stack = False
        yield line


def _whole(cut: Written) -> Written:
    """The line of all pieces that there are; what is around it in turn is unwrapped."""
    inner = read_written(cut.text)
    return replace(
        inner,
        time=inner.time or cut.time,
        level=inner.level or cut.level,
        labels={**cut.labels, **inner.labels},
        partial=False,
    )


def parse_lines(raw_lines: Iterable[bytes], filename: str = "") -> Iterator[LogLine]:
    """The log lines among the lines of a file, whose name may tell the service. Of a line over 64,000 bytes the
    middle is ignored: its service may be at its end."""
    labels = {"filename": filename} if filename else None
    joined = Joined()
    for raw in raw_lines:
        long = len(raw) > MAX_LINE_BYTES
        used = raw[: MAX_LINE_BYTES - MAX_TAIL_BYTES] + raw[-MAX_TAIL_BYTES:] if long else raw
        yield from joined.add(used.decode("utf-8", "replace").rstrip("\r\n"), labels=labels)
    yield from joined.rest()


def parse_entries(entries: Iterable[tuple[int, str, Mapping[str, str]]]) -> Iterator[LogLine]:
    """The log lines among a store's entries in the order of time: nanoseconds, line, and its stream's labels."""
    joined = Joined()
    for at, line, labels in entries:
        yield from joined.add(line, at, labels)
    yield from joined.rest()
