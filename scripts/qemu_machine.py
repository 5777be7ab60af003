# SPDX-License-Identifier: GPL-2.0
"""The one way in which demo, tests, shell and benchmarks run a machine in QEMU.

A Machine has a serial port for each system on it. Whoever uses it waits for
what a system prints, never for time to pass; when that does not come within
the limit, the last lines of every port say why. Limits are multiples of what
this host takes for a plain boot.
"""

import json
import os
import re
import selectors
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

CACHE = Path(os.environ["MINT_CACHE"])

# The I/O ports of a PC's serial ports, in QEMU's order: the first is the first
# OS's console, the others are for successors.
UARTS = (0x3F8, 0x2F8, 0x3E8, 0x2E8)

# What keeps a stock kernel's boot dependable on an emulated machine (Documentation/rig.rst, "The machine").
DEPENDABLE = "no_timer_check tsc=nowatchdog"

# The CPUs that TCG emulates: without fast string instructions, which are slower there than the kernel's
# own loops.
CPU = "max,-fsrm,-fsrs,-erms"

# How many plain boots anything is waited for. What is waited for takes one at most; the rest is
# for other work that the host may get meanwhile.
PATIENCE = 15
# What a plain boot is taken to need, in seconds, until this host has shown it: twice what an idle one does.
ASSUMED_BOOT = 20

# What a kernel prints when something is wrong with it; nothing that it prints
# in passing matches.
SPLAT = re.compile(
    rb"(WARNING: (CPU:|.* at |possible|suspicious|inconsistent|bad unlock|held lock)"
    rb"|BUG: |kernel BUG at|Oops|general protection fault|Kernel panic"
    rb"|INFO: (possible|rcu_|task .* blocked|lockdep|trying to register)"
    rb"|rcu: INFO:|UBSAN:|KASAN:|KFENCE:|Bad page state|refcount_t:|unchecked MSR"
    rb"|DEBUG_LOCKS_WARN|sleeping function called|list_(add|del) corruption"
    rb"|Modules linked in:|soft lockup|hard LOCKUP|APIC frequency too slow|duplicate filename|returned bad count)"
)

# What the debug kernel reports when a disk's driver goes, without Mint as well (Documentation/rig.rst, "The debug
# kernel"), if bdev_free_inode() is in the call trace.
KNOWN_REPORT = re.compile(
    rb"[^\n]*ODEBUG: free active [^\n]* hint: kobject_delayed_cleanup.*?---\[ end trace [0-9a-f]* \]---[^\n]*\n",
    re.DOTALL)


class MachineError(Exception):
    """A machine did not do what was waited for; the text has the evidence."""


@dataclass
class Port:
    """One serial port: all that came out of it, and how far it was looked at."""

    name: str
    sock: socket.socket
    log: bytearray = field(default_factory=bytearray)
    seen: int = 0

    def tail(self, lines=25):
        """The last lines, but for ticks, which drive out what was said before."""
        text = self.log.decode(errors="replace").replace("\r", "")
        said = [line for line in text.split("\n") if not line.startswith("mint-tick")]
        return "\n".join(f"  [{self.name}] {line}" for line in said[-lines:])

    def splats(self):
        log = KNOWN_REPORT.sub(lambda report: b"" if b"bdev_free_inode+" in report[0] else report[0], bytes(self.log))
        return [
            line.decode(errors="replace").strip()
            for line in log.split(b"\n")
            if SPLAT.search(line)
        ]


def pick_accelerator(kernel, initramfs):
    """KVM where a stock kernel really boots on it, else TCG.

    That /dev/kvm opens says little: the answer comes from a boot, and is kept
    for as long as the machine is up.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    kept = CACHE / "accelerator"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    if kept.exists() and kept.read_text().split()[0] == boot:
        return kept.read_text().split()[1]
    try:
        with Machine(kernel, initramfs, "mint.run=hello", cpus=2, accelerator="kvm") as machine:
            machine.wait("first", rb"mint-hello", 30)
        found = "kvm"
    except MachineError:
        found = "tcg"
    kept.write_text(f"{boot} {found}\n")
    return found


def below_ports(devices, **fill):
    """QEMU's options for devices below a root port each, on buses 1, 2 and so on.

    A device is its options, and those of its other side: a disk's file, say, or a card's network. In both
    {bus} stands for the number, and what `fill` names for that. Of the other side's the first two come
    before the device, and the rest, if any, after it.
    """
    for bus, (device, other) in enumerate(devices, 1):
        fill["bus"] = bus
        yield from ("-device", f"pcie-root-port,id=port{bus},chassis={bus},slot={bus}")
        yield from (option.format(**fill) for option in other[:2])
        yield from ("-device", f"{device.format(**fill)},bus=port{bus}")
        yield from (option.format(**fill) for option in other[2:])


class Machine:
    """A QEMU machine, from start to its end as a context manager.

    Without a `kernel` its firmware boots what `extra` has. `boot` is how long a plain boot takes on this
    host, in seconds. `translated` is how many MiB TCG has for the code that it has translated; it throws
    all away when they are full.
    """

    def __init__(self, kernel, initramfs, append, *, cpus=4, memory="3G", names=("first",),
                 accelerator="tcg", threads="single", translated=512, boot=ASSUMED_BOOT,
                 extra=(), echo=None, interactive=False):
        self.echo = echo
        self.boot = boot
        self.started = time.monotonic()
        self.selector = selectors.DefaultSelector()
        self.ports = {}
        self.greeted = False
        command = [
            # A machine ends with the thread that has started it, even if that is killed.
            "setpriv", "--pdeathsig", "KILL",
            "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none",
            "-machine", "q35", "-smp", str(cpus), "-m", memory, "-no-reboot",
        ]
        if kernel:
            command += ["-kernel", str(kernel), "-initrd", str(initramfs),
                        "-append", f"console=ttyS0 panic=-1 {DEPENDABLE} {append}"]
        if accelerator == "kvm":
            command += ["-accel", "kvm", "-cpu", "host"]
        else:
            # One thread for all CPUs: with several, TCG now and then runs a
            # stale translation of text that another CPU is patching.
            command += ["-accel", f"tcg,thread={threads},tb-size={translated}",
                        "-cpu", CPU]
        handed = []
        for index, name in enumerate(names):
            if interactive and index == 0:
                command += ["-chardev", "stdio,id=s0,mux=on,signal=off",
                            "-mon", "chardev=s0", "-serial", "chardev:s0"]
                continue
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            self.ports[name] = Port(name, ours)
            self.selector.register(ours, selectors.EVENT_READ, self.ports[name])
            command += ["-chardev", f"socket,id=s{index},fd={theirs.fileno()}",
                        "-serial", f"chardev:s{index}"]
            handed.append(theirs)
        ours, theirs = socket.socketpair()
        self.qmp, self.answers = ours, ours.makefile("rb")
        command += ["-chardev", f"socket,id=qmp,fd={theirs.fileno()}", "-mon", "chardev=qmp,mode=control"]
        handed.append(theirs)
        command += extra
        self.process = subprocess.Popen(
            command, pass_fds=[sock.fileno() for sock in handed],
            stdin=None if interactive else subprocess.DEVNULL,
            stderr=None if interactive else subprocess.PIPE,
        )
        for sock in handed:
            sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.process.stderr:
            self.process.stderr.close()
        for port in self.ports.values():
            port.sock.close()
        self.answers.close()
        self.qmp.close()
        self.selector.close()

    def _read(self, timeout):
        """Takes in what the ports have to say; False once all are closed."""
        if not self.selector.get_map():
            return False
        for key, _ in self.selector.select(timeout):
            port = key.data
            try:
                data = port.sock.recv(65536)
            except ConnectionError:
                data = b""
            if not data:
                self.selector.unregister(port.sock)
                continue
            port.log += data
            if self.echo:
                self.echo(port.name, data)
        return True

    def evidence(self, what, first=None):
        """What was found, and the last lines of every port: those of system `first` come first."""
        error = ""
        if not self.selector.get_map():
            # Its ports are closed already; a signal that ended it is a negative status.
            error = f"\n  [qemu] ended with status {self.process.wait()}"
            if self.process.stderr:
                error += ": " + self.process.stderr.read().decode(errors="replace")
        ports = sorted(self.ports.values(), key=lambda port: port.name != first)
        return f"{what}\n" + "\n".join(port.tail() for port in ports) + error

    def where(self):
        """Where each CPU is, as far as QEMU still answers: a kernel that prints nothing may spin or sleep."""
        self.qmp.settimeout(self.boot)
        try:
            registers = self.monitor("info registers -a")
        except (MachineError, OSError, ValueError):
            return ""
        return "".join(f"\n  [qemu] {line}" for line in re.findall(r"^(?:CPU#|RIP=|EIP=).*", registers, re.MULTILINE))

    def took(self):
        """How long the machine has been there, in seconds."""
        return time.monotonic() - self.started

    def tell_limit(self, limit):
        return f"{limit:.0f} s ({limit / self.boot:.0f} plain boots of {self.boot:.1f} s)"

    def wait(self, name, pattern, limit=None):
        """Waits until system `name` prints `pattern`, by default for PATIENCE plain boots; returns the match."""
        limit = limit or PATIENCE * self.boot
        port = self.ports[name]
        pattern = re.compile(pattern)
        deadline = time.monotonic() + limit
        while True:
            found = pattern.search(port.log, port.seen)
            if found:
                port.seen = found.end()
                return found
            left = deadline - time.monotonic()
            if left <= 0:
                raise MachineError(self.evidence(
                    f"'{name}' did not print '{pattern.pattern.decode()}' within {self.tell_limit(limit)}"
                    + self.where(), name))
            if not self._read(left):
                raise MachineError(self.evidence(
                    f"the machine ended before '{name}' printed '{pattern.pattern.decode()}'", name))

    def wait_end(self, limit=None):
        """Waits for the machine to power off by itself."""
        limit = limit or PATIENCE * self.boot
        deadline = time.monotonic() + limit
        while self._read(max(0, deadline - time.monotonic())):
            if time.monotonic() >= deadline:
                raise MachineError(self.evidence(f"the machine was still running after {self.tell_limit(limit)}"
                                                 + self.where()))
        self.process.wait()

    def send(self, name, text):
        self.ports[name].sock.sendall(text.encode())

    def execute(self, command, **arguments):
        """Has QEMU execute a command of QMP (QEMU's qmp-spec.rst); returns what it answers."""
        if not self.greeted:
            self.greeted = True
            self.answers.readline()
            self.execute("qmp_capabilities")
        try:
            self.qmp.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
            for line in self.answers:
                answer = json.loads(line)
                if "error" in answer:
                    raise MachineError(self.evidence(f"QEMU refused {command} {arguments}: {answer['error']['desc']}"))
                # Events come in between.
                if "return" in answer:
                    return answer["return"]
        except ConnectionError:
            pass
        raise MachineError(self.evidence(f"the machine ended before it answered {command} {arguments}"))

    def monitor(self, command):
        """Has QEMU execute a command of its monitor for humans; returns the text."""
        return self.execute("human-monitor-command", **{"command-line": command}).replace("\r", "")

    def splats(self, names=None):
        """What the systems, all or those named, said that a healthy kernel does not say."""
        return [f"[{name}] {line}" for name in names or self.ports
                for line in self.ports[name].splats()]
