"""Whole machines under qemu-system: what each kind is made of, its kernel, its initramfs, and a running one."""

import os
import re
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import boards
import grid
from grid import Failed, TOOLS

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Kind:
    """One kind of machine."""

    #: `qemu-system-` and this.
    qemu: str
    #: Machine and devices; `netdev` is called n0.
    options: list[str]
    #: Debian's architecture and package, or `malta-be` for the one that is built here.
    kernel: tuple[str, str]
    #: As zig names the target, for the first program.
    zig: str
    #: Modules to load, in this order, each after those it needs.
    modules: list[str] = field(default_factory=list)
    console: str = "ttyS0"
    #: The device tree, where the board does not describe itself.
    dtb: str = ""
    append: str = ""
    #: The options of a second serial port, on a character device `line`.
    serial: list[str] = field(default_factory=list)


MALTA = ["-M", "malta", "-vga", "none", "-device", "pcnet,netdev=n0,romfile="]
VIRT = ["-nodefaults", "-device", "virtio-net-device,netdev=n0"]
VIRTIO = ["virtio_mmio", "virtio_net"]
# The Pis' network hangs on USB.
USB_CARD = ["-device", "usb-net,netdev=n0"]
DWC2 = ["phy_generic", "dwc2", "cdc_ether", "rndis_host"]
USB_SERIAL = ["-device", "usb-serial,chardev=line,always-plugged=on"]

KINDS = {
    "malta-be": Kind("mips", MALTA, ("malta-be", ""), "mips-linux-musleabi", serial=["-serial", "chardev:line"]),
    "malta-le": Kind(
        "mipsel",
        MALTA,
        ("mipsel", "linux-image-4kc-malta"),
        "mipsel-linux-musleabi",
        ["mii", "pcnet32"],
        serial=["-serial", "chardev:line"],
    ),
    "virt-armhf": Kind(
        "arm", ["-M", "virt,highmem=off", *VIRT], ("armhf", "linux-image-armmp"), "arm-linux-musleabihf", VIRTIO, "ttyAMA0"
    ),
    "virt-arm64": Kind(
        "aarch64", ["-M", "virt", *VIRT], ("arm64", "linux-image-arm64"), "aarch64-linux-musl", VIRTIO, "ttyAMA0"
    ),
    "raspi0": Kind(
        "arm",
        ["-M", "raspi0", *USB_CARD],
        ("armel", "linux-image-rpi"),
        "arm-linux-musleabi",
        ["cdc_ether", "rndis_host"],
        "ttyAMA0",
        "bcm2835-rpi-zero.dtb",
        "initcall_blacklist=bcm2835_power_driver_init",
    ),
    "raspi2": Kind(
        "arm",
        ["-M", "raspi2b", *USB_CARD],
        ("armhf", "linux-image-armmp"),
        "arm-linux-musleabihf",
        DWC2,
        "ttyAMA0",
        "bcm2836-rpi-2-b.dtb",
    ),
    "raspi3": Kind(
        "aarch64",
        ["-M", "raspi3b", *USB_CARD],
        ("arm64", "linux-image-arm64"),
        "aarch64-linux-musl",
        DWC2,
        "ttyAMA0",
        "bcm2837-rpi-3-b.dtb",
    ),
}


def kernel_folder(kind: Kind) -> Path:
    """Where the kernel lies, fetched or built when it is not there."""
    arch, package = kind.kernel
    folder = TOOLS / "kernels" / (f"debian-{arch}" if package else arch)
    script = ["kernels.sh", arch, package, folder] if package else ["malta-be.sh", folder]
    subprocess.run([HERE / script[0], *script[1:]], check=True, stdout=subprocess.DEVNULL)
    return folder


def first_program(kind: Kind, folder: Path) -> Path:
    """init.c, for this machine."""
    init = folder / "init"
    zig = TOOLS / "venv" / "bin" / "python-zig"
    # ARMv6 has no Thumb-2, which zig's own default for ARM would use.
    cpu = ["-mcpu=arm1176jzf_s"] if kind.zig == "arm-linux-musleabi" else []
    command = [zig, "cc", "-target", kind.zig, *cpu, "-Os", "-static", "-s", "-o", init, HERE / "init.c"]
    environment = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": str(TOOLS / "zig")}
    subprocess.run(command, check=True, env=environment)
    return init


def modules_of(kernel: Path, names: list[str]) -> list[Path]:
    """The files of these modules and of those they need, in the order in which they can be loaded."""
    files = {file.stem.replace("-", "_"): file for file in kernel.glob("lib/modules/*/kernel/**/*.ko")}
    order: list[Path] = []

    def add(name: str) -> None:
        file = files.get(name.replace("-", "_"))
        if file is None or file in order:
            return  # Built in.
        # .modinfo is NUL-separated `key=value`.
        found = re.search(rb"\0depends=([^\0]*)\0", file.read_bytes())
        for needed in found.group(1).decode().split(",") if found else []:
            if needed:
                add(needed)
        order.append(file)

    for name in names:
        add(name)
    return order


def pack(entries: list[tuple[str, int, bytes]]) -> bytes:
    """An initramfs of (path, mode, content): a cpio archive of the kind the kernel reads (newc,
    Documentation/driver-api/early-userspace/buffer-format.rst)."""
    out = bytearray()
    for number, (name, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        # /dev/console is the one device: 5, 1.
        device = (5, 1) if mode & 0o170000 == 0o020000 else (0, 0)
        fields = [number, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(name) + 1, 0]
        out += b"070701" + b"".join(b"%08x" % value for value in fields) + name.encode() + b"\0"
        out += b"\0" * (-len(out) % 4) + content
        out += b"\0" * (-len(out) % 4)
    return bytes(out)


def initramfs(board: dict, kind: Kind, kernel: Path, arguments: list[str], folder: Path) -> Path:
    """weir, its board file, the modules, and the program that starts it; nothing more."""
    program = grid.OUT / f"weir-{board['target']}"
    profile = f"{board['name']}.toml"
    modules = modules_of(kernel, kind.modules)
    folders = ["dev", "proc", "sys", "tmp", "m", "usr", "usr/share", "usr/share/weir", "usr/share/weir/boards"]
    directories = [(name, 0o040755, b"") for name in folders]
    files = [
        ("dev/console", 0o020600, b""),
        ("init", 0o100755, first_program(kind, folder).read_bytes()),
        ("weir", 0o100755, program.read_bytes()),
        ("arguments", 0o100644, "\n".join(["weir", *arguments, ""]).encode()),
        ("modules", 0o100644, "".join(f"/m/{file.name}\n" for file in modules).encode()),
    ]
    files.append((f"usr/share/weir/boards/{profile}", 0o100644, (boards.FOLDER / profile).read_bytes()))
    files += [(f"m/{file.name}", 0o100644, file.read_bytes()) for file in modules]
    image = folder / "initramfs"
    image.write_bytes(pack(directories + files))
    return image


class Machine(grid.Process, grid.Asked):
    """A running machine. Its console is its log; `udp` and `http` are where this machine's weir is reached."""

    def __init__(self, board: dict, arguments: list[str], folder: Path, ram_mib: int | None = None, extra: list[str] = []):
        how = board["machine"]
        kind = KINDS[how["kind"]]
        kernel = kernel_folder(kind)
        image = initramfs(board, kind, kernel, arguments, folder)
        udp, tcp = grid.free_port(), grid.free_port(grid.socket.SOCK_STREAM)
        self.udp, self.http = f"127.0.0.1:{udp}", f"127.0.0.1:{tcp}"
        forward = f"hostfwd=udp:{self.udp}-:8479,hostfwd=tcp:{self.http}-:8480"
        command = [f"qemu-system-{kind.qemu}", *kind.options, "-cpu", how["cpu"], "-m", str(ram_mib or how["ram_mib"])]
        command += ["-kernel", str(kernel / "vmlinuz"), "-initrd", str(image), "-no-reboot", "-display", "none"]
        command += ["-monitor", "none", "-netdev", f"user,id=n0,{forward}"]
        if kind.dtb:
            command += ["-dtb", str(next(kernel.glob(f"usr/lib/*/**/{kind.dtb}")))]
        command += ["-append", f"console={kind.console},115200 panic=-1 quiet {kind.append}".strip()]
        command += ["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console", *extra]
        self.began = time.monotonic()
        super().__init__(board["name"], command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.console = ""
        threading.Thread(target=self._read_console, daemon=True).start()

    def _read_console(self) -> None:
        for line in self.process.stdout:
            self.log += line.decode(errors="replace")

    def order(self, word: str) -> None:
        """A line for the first program: `kill` or `off`."""
        self.process.stdin.write(f"{word}\n".encode())
        self.process.stdin.flush()

    def memory(self) -> dict[str, int]:
        """The newest report from inside, in kB."""
        found = re.findall(r"init: memory (.*)", self.log)
        if not found:
            raise Failed(f"{self.name} reports no memory")
        return {name: int(value) for name, value in re.findall(r"(\w+)=(-?\d+)", found[-1])}
