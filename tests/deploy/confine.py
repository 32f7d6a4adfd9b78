"""Run a program as containers and services run it: confine.py SCRATCH PROGRAM …, within a user namespace.

It is a user without a name, a home or privileges, and every file system is read-only, but for a new one in
memory at SCRATCH and for /proc. To be started by `unshare --map-root-user --mount`: nothing else sees of it.
"""

import ctypes
import os
import subprocess
import sys

SYS_MOUNT_SETATTR = 442
AT_FDCWD, AT_RECURSIVE, RDONLY = -100, 0x8000, 1
PR_SET_NO_NEW_PRIVS = 38
USER = "10001"

libc = ctypes.CDLL(None, use_errno=True)


def done(result: int, what: str) -> None:
    if result < 0:
        sys.exit(f"confine: {what}: {os.strerror(ctypes.get_errno())}")


def set_mounts(place: bytes, flags: int, *, sets: int = 0, clears: int = 0) -> None:
    attributes = (ctypes.c_uint64 * 4)(sets, clears)  # then propagation, userns_fd
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    done(
        libc.syscall(SYS_MOUNT_SETATTR, AT_FDCWD, place, flags, ctypes.byref(attributes), size),
        "mount_setattr",
    )


def main(scratch: str, *command: str) -> None:
    set_mounts(b"/", AT_RECURSIVE, sets=RDONLY)
    set_mounts(b"/proc", 0, clears=RDONLY)  # where a user namespace is told who is who
    options = "size=16m,mode=1777,nosuid,nodev,noexec"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", scratch], check=True)
    done(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
    inner = ["unshare", "--user", f"--map-user={USER}", f"--map-group={USER}"]
    os.execvp(inner[0], [*inner, *command])


if __name__ == "__main__":
    main(*sys.argv[1:])
