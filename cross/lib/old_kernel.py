"""Runs a program as if the kernel were Linux 3.18: every system call that came later answers ENOSYS, and so do the socket
options for many datagrams in one call (4.18, 5.0) with ENOPROTOOPT. For x86-64 and i386 programs on x86-64.

    old_kernel.py PROGRAM ARGUMENT...

The filter is classic BPF over `struct seccomp_data` (seccomp(2), linux/seccomp.h, linux/filter.h)."""

import ctypes
import errno
import os
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
ALLOW, REFUSE = 0x7FFF0000, 0x00050000
LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
NUMBER, ARCH, ARGUMENT_1, ARGUMENT_2 = 0, 4, 24, 32
X86_64, I386 = 0xC000003E, 0x40000003
# linux/arch/x86/entry/syscalls: bpf(2) was the last of 3.18 in both tables.
FIRST_AFTER = {X86_64: 322, I386: 358}
SETSOCKOPT, SOL_UDP, UDP_SEGMENT, UDP_GRO = 54, 17, 103, 104

PROGRAM = [
    # code, value, instructions to skip when true, when false
    (LOAD, ARCH, 0, 0),
    (EQUAL, I386, 0, 3),
    (LOAD, NUMBER, 0, 0),
    (AT_LEAST, FIRST_AFTER[I386], 9, 0),
    (RETURN, ALLOW, 0, 0),
    (LOAD, NUMBER, 0, 0),
    (AT_LEAST, FIRST_AFTER[X86_64], 6, 0),
    (EQUAL, SETSOCKOPT, 0, 4),
    (LOAD, ARGUMENT_1, 0, 0),
    (EQUAL, SOL_UDP, 0, 2),
    (LOAD, ARGUMENT_2, 0, 0),
    (AT_LEAST, UDP_SEGMENT, 2, 0),
    (RETURN, ALLOW, 0, 0),
    (RETURN, REFUSE | errno.ENOSYS, 0, 0),
    (RETURN, REFUSE | errno.ENOPROTOOPT, 0, 0),
]


def install() -> None:
    """From here on, this process and what it executes."""
    code = b"".join(struct.pack("=HBBI", code, yes, no, value) for code, value, yes, no in PROGRAM)
    buffer = ctypes.create_string_buffer(code)
    header = struct.pack("@HP", len(PROGRAM), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0):
        raise OSError(ctypes.get_errno(), "no filter")


if __name__ == "__main__":
    install()
    os.execvp(sys.argv[1], sys.argv[1:])
