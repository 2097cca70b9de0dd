"""A step of the wall clock in one process only.

A program asks the kernel's vDSO page, mapped into it, what time it is. We change that page in the memory of one
process: it asks the kernel itself and adds an offset to the seconds of the wall clock. Monotonic clocks, other
processes and the machine's clock stay as they are. Linux on x86-64 only, for processes of ours that we may write to."""

import os
import platform
import signal
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

JUMP_LENGTH = 5
# Each: the code before the offset (seconds, 32 bits, signed) and after it. Registers as in C's calling convention.
_ADDING = {
    # mov eax, 228; syscall; test edi, edi; je add; cmp edi, 5; jne end; add: add qword [rsi], OFFSET; end: ret
    b"__vdso_clock_gettime": (b"\xb8\xe4\0\0\0\x0f\x05\x85\xff\x74\x05\x83\xff\x05\x75\x07\x48\x81\x06", b"\xc3"),
    # mov eax, 96; syscall; test rdi, rdi; je end; add qword [rdi], OFFSET; end: ret
    b"__vdso_gettimeofday": (b"\xb8\x60\0\0\0\x0f\x05\x48\x85\xff\x74\x07\x48\x81\x07", b"\xc3"),
    # mov eax, 201; syscall; add rax, OFFSET; test rdi, rdi; je end; mov [rdi], rax; end: ret
    b"__vdso_time": (b"\xb8\xc9\0\0\0\x0f\x05\x48\x05", b"\x48\x85\xff\x74\x03\x48\x89\x07\xc3"),
}
_SLOT = 64


def possible() -> bool:
    """Whether clocks can be stepped on this machine."""
    return sys.platform == "linux" and platform.machine() == "x86_64"


class SteppedClock:
    """The wall clock of the process `pid`, right until `set` moves it. OSError where its memory may not be written."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._offsets: list[int] = []

    def set(self, offset_sec: int) -> None:
        """From now on the process sees the true wall clock plus so many seconds."""
        if not self._offsets:
            self._install()
        with Path(f"/proc/{self._pid}/mem").open("r+b", buffering=0) as memory:
            for place in self._offsets:
                _write(memory.fileno(), place, struct.pack("<i", offset_sec))

    def _install(self) -> None:
        start, end = _vdso_of(self._pid)
        os.kill(self._pid, signal.SIGSTOP)  # So that no thread runs through what is being changed.
        try:
            with Path(f"/proc/{self._pid}/mem").open("r+b", buffering=0) as memory:
                image = os.pread(memory.fileno(), end - start, start)
                room = (len(image.rstrip(b"\0")) + _SLOT) // _SLOT * _SLOT
                for name, address in _functions(image):
                    before, after = _ADDING[name]
                    code = before + struct.pack("<i", 0) + after
                    if room + len(code) > len(image):
                        raise OSError("the vDSO page has no room left")
                    _write(memory.fileno(), start + room, code)
                    _write(memory.fileno(), start + address, b"\xe9" + struct.pack("<i", room - address - JUMP_LENGTH))
                    self._offsets.append(start + room + len(before))
                    room += _SLOT
        finally:
            os.kill(self._pid, signal.SIGCONT)


def _write(memory: int, place: int, data: bytes) -> None:
    os.pwrite(memory, data, place)


def _vdso_of(pid: int) -> tuple[int, int]:
    for line in Path(f"/proc/{pid}/maps").read_text(encoding="ascii").splitlines():
        if line.endswith("[vdso]"):
            start, _, end = line.split()[0].partition("-")
            return int(start, 16), int(end, 16)
    raise OSError(f"process {pid} has no vDSO")


def _functions(image: bytes) -> Iterator[tuple[bytes, int]]:
    """Name and place of the functions to change, from the ELF image's dynamic symbols."""
    (sections,) = struct.unpack_from("<Q", image, 0x28)
    size, count = struct.unpack_from("<HH", image, 0x3A)
    headers = [struct.unpack_from("<IIQQQQIIQQ", image, sections + i * size) for i in range(count)]
    symbols = next(h for h in headers if h[1] == 11)
    names = headers[symbols[6]]
    for place in range(symbols[4], symbols[4] + symbols[5], 24):
        name, _, _, _, value, _ = struct.unpack_from("<IBBHQQ", image, place)
        begin = names[4] + name
        found = image[begin : image.index(b"\0", begin)]
        if found in _ADDING:
            yield found, value
