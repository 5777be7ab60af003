# SPDX-License-Identifier: GPL-2.0
"""The first OSes in which the kselftests run: machines, kernels, scripts, and what is seen from outside."""

import os
import re
import time
from dataclasses import dataclass

import rest
import uefi
from first_os import LOW_POOL, NO_BROADCAST, POOL, SOURCE
from qemu_machine import CPU, PATIENCE

SUCCESSORS = ("os1", "os2")
# The first OS's console, two successors, and the tests' own port.
PORTS = ("first", *SUCCESSORS, "control")
# A tick of a system, by its own clock; they come one a second.
TICK = re.compile(rb"mint-tick: up ([0-9.]+) s")
# The longest time between two ticks of a system that misses none, in plain boots: an emulator on a host
# that is busy with others stands still for seconds.
GAP = 1.5
# After how many seconds Linux's nvme driver does not wait for a request any more (nvme_core.io_timeout).
IO_TIMEOUT = 30
# The stock kernels beside the first OS's, by what they are there for; scripts/test says which they are.
ROLES = ("generic", "lts", "oldest", "i386", "i386-pae")


@dataclass
class Scenario:
    """A first OS and the script that runs in it."""

    script: str
    name: str = ""
    append: str = f"{NO_BROADCAST} {POOL}"
    environment: str = ""
    # QEMU's -smp.
    cpus: int | str = 4
    memory: str = "3G"
    # The roles of the kernels that the script finds in /kernels, and whether it gets each one's vmlinux.
    kernels: tuple = ()
    vmlinux: bool = False
    # Programs of the root's, and whether there is an initrd whose system can replace itself. They are also in
    # the initrd for the system that follows.
    programs: tuple = ()
    kexec: bool = False
    extra: tuple = ()
    # An ACPI table that the machine has besides: the name of its source in tools/testing/qemu.
    acpi: str = ""
    # What a system that is made to fail says; its script waits for it.
    expected: tuple = ()
    # The successors whose IPIs are watched, as WATCHED.
    watch: dict = None
    # The successors whose accesses to ports are watched, as PORTS_OF_ONE, and those that are made on purpose.
    ports: dict = None
    strays: tuple = ()
    # Whether it is watched which MSRs successors touch, as wherever ports are: those that they write on
    # purpose.
    msrs: tuple = None
    # What is below a root port each, from bus 1 on: a device of QEMU, and what it has to have.
    devices: tuple = ()
    # Whether there is an initrd for successors with their system on a disk made of memory.
    disk_init: bool = False
    # Whether the first OS and successors have the generic kernel, which has drivers for CARDS.
    generic: bool = False
    # Modules of their kernels that the first OS and successors load, and successors of other kernels.
    modules: tuple = ()
    other_modules: tuple = ()
    # What is seen of the machine once the script is over: yields (passed, name of the test).
    after: callable = None
    # What runs the scenario instead, if it has no script: it is given the seconds that a plain boot takes,
    # and yields (passed, name of the test).
    run: callable = None

    def __post_init__(self):
        self.name = self.name or self.script
        if self.ports:
            self.msrs = self.msrs or ()


def panic(system):
    """What a system says that is made to panic by sysrq."""
    return rf"\[{system}\].*Kernel panic - not syncing: sysrq triggered crash"


# What the deaths of deaths.sh have its successor say.
DEATHS = tuple(rf"\[os1\].*{said}" for said in (
    "Modules linked in: provoke",
    "Kernel panic - not syncing: sysrq triggered crash",
    # The last line of a panic with panic=0, in the midst of which the CPUs may be parked.
    r"---\[ end Kernel panic",
    "BUG: kernel NULL pointer dereference, address: 0000000000001000",
    "BUG: unable to handle page fault for address: 0000000000001000",
    "Oops: (Oops: )?0000 ",
    r"Kernel panic - not syncing: Fatal exception( \]---)?$",
    "BUG: TASK stack guard page was hit",
    "Oops: stack guard page: 0000 ",
    "Kernel panic - not syncing: Fatal exception in interrupt",
    "Kernel panic - not syncing: Out of memory: .*panic_on_oom is enabled",
    r"Kernel panic - not syncing: VFS: Unable to mount root fs on ",
))


# The successors of watch.sh and together.sh: where the RAM of each starts and ends, and its CPUs.
WATCHED = {
    "os1": (0x40000000, 0x50000000, (1, 2)),
    "os2": (0x50000000, 0x60000000, (3, 4)),
}
TOGETHER = {
    "os1": (0x40000000, 0x50000000, (1, 2)),
    "os2": (0x20000000, 0x30000000, (3, 4)),
}

# The first port of each successor's UART, and its CPUs.
PORTS_OF_ONE = {"os1": (0x2F8, (2, 3))}
PORTS_OF_TWO = {"os1": (0x2F8, (1, 2)), "os2": (None, (3,))}
PORTS_TOGETHER = {"os1": (0x2F8, (1, 2)), "os2": (0x3E8, (3, 4))}


# A disk of 64 MiB, or what a network card is connected to: options of QEMU, with the number of the bus.
DISK = ("-drive", "if=none,id=back{bus},format=raw,file={folder}/disk{bus}")
NET = ("-netdev", "hubport,id=back{bus},hubid=0")
# One of each: (options of the device, those of its other side); then those that stay the first OS's,
# and what can't be given.
DEVICES = (
    ("nvme,serial=mint,drive=back{bus}", DISK),
    ("virtio-blk-pci,drive=back{bus}", DISK),
    ("virtio-net-pci,netdev=back{bus}", NET),
    ("virtio-blk-pci,drive=back{bus}", DISK),
    ("virtio-net-pci,netdev=back{bus},mac=52:54:00:00:00:05", NET),
    ("virtio-rng-pci,multifunction=on,addr=0.0", ("-device", "virtio-rng-pci,addr=0.1,bus=port{bus}")),
    ("virtio-rng-pci,vectors=0", ()),
)
# A disk of 32 MiB whose sector 4096 can neither be read nor written.
BAD = ("virtio-blk-pci,drive=back{bus},rerror=report,werror=report", (
    "-drive", "if=none,id=back{bus},driver=blkdebug,inject-error.0.event=none,inject-error.0.sector=4096,"
              "image.driver=raw,image.size=32M,image.file.driver=file,image.file.filename={folder}/disk{bus}"))
# A file system with the image of a Debian (make-debian-root). What is written goes to a copy.
STORE = ("nvme,serial=store,drive=back{bus}", (
    "-drive", f"if=none,id=back{{bus}},format=raw,snapshot=on,file={os.environ.get('MINT_TEST_STORE')}"))
MODULES = ("nvme", "virtio_blk", "virtio_net")
# Which make and check the file systems of disks made of memory.
E2FSPROGS = ("/usr/sbin/mke2fs", "/usr/sbin/e2fsck")
# What Debian's cloud kernels have no drivers for; the last is the first OS's.
CARDS = (
    ("nvme,serial=mint,drive=back{bus}", DISK),
    ("e1000e,netdev=back{bus}", NET),
    ("qemu-xhci,id=usb", (*DISK, "-device", "usb-storage,bus=usb.0,drive=back{bus}")),
    ("virtio-net-pci,netdev=back{bus},mac=52:54:00:00:00:05", NET),
)
CARD_MODULES = ("nvme", "e1000e", "xhci_pci", "usb-storage", "sd_mod")
# A disk with more memory than there is room for below 4 GiB, and a card that can have virtual functions.
LARGE = ("nvme,serial=large,drive=back{bus},cmb_size_mb=2048", DISK)
VIRTUAL = ("igb,netdev=back{bus}", NET)
# A switch with a disk and a card, on buses 1 to 4.
SWITCH = ("x3130-upstream,id=up{bus}", (
    *DISK,
    "-device", "xio3130-downstream,id=down1,bus=up{bus},chassis=21,slot=21",
    "-device", "nvme,serial=mint,drive=back{bus},bus=down1",
    "-device", "xio3130-downstream,id=down2,bus=up{bus},chassis=22,slot=22",
    "-netdev", "hubport,id=card{bus},hubid=0",
    "-device", "virtio-net-pci,netdev=card{bus},bus=down2",
))
# A device that reads any address by DMA, and two that an IOMMU can't tell apart, on the buses after it.
EDU = ("edu,dma_mask=0xffffffffffffffff", ())
GROUP = sum((("-device", f"pcie-root-port,id=group{function},chassis=3{function},slot=3{function},disable-acs=on,"
              f"multifunction=on,addr=0x18.{function}",
              "-device", f"virtio-rng-pci,bus=group{function}") for function in (0, 1)), ())
# A card, a disk, and a device of two functions.
IN_USE = (DEVICES[2], DEVICES[1], DEVICES[5])
# Devices that are to be unplugged, to have errors, and to lose their power.
LOST = (
    ("virtio-rng-pci,id=unplugged", ()),
    ("virtio-rng-pci,id=sick,aer=on", ()),
    ("virtio-rng-pci", ()),
)
DISK_SIZE = 64 << 20
# A CPU that Linux takes for Intel's, a Skylake-X: QEMU's own passes for AMD's.
INTEL = ("-cpu", f"{CPU},vendor=GenuineIntel,family=6,model=85,stepping=4")
# For forward.sh: two cards of a 32-bit OS, one of which hears that of the first OS, and the other a host
# that answers whatever is asked of it.
FORWARD = (
    ("e1000e,netdev=back{bus}", NET),
    ("e1000e,netdev=back{bus}", ("-netdev", "user,id=back{bus},restrict=on,net=10.9.0.0/24,"
                                 f"guestfwd=tcp:10.9.0.100:80-cmd:sh {SOURCE}/tools/testing/qemu/http_answer")),
    ("virtio-net-pci,netdev=back{bus}", NET),
)
# A hub keeps what nobody takes, and the sender waits: a port with nothing behind it takes all.
LISTENER = ("-netdev", "hubport,id=listener,hubid=0")


# A firmware with a logo, and a screen that the firmware shows it on.
SCREEN = (
    "-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={uefi.FIRMWARE}/OVMF_CODE_4M.fd",
    "-drive", f"if=pflash,unit=1,format=raw,snapshot=on,file={uefi.FIRMWARE}/OVMF_VARS_4M.fd",
    "-device", "bochs-display",
)


# What Debian's i386 kernels say of QEMU's CPU, whatever starts them: as an AMD CPU of family 6 it is
# one that was not made for SMP (amd_k7_smp_check(), arch/x86/kernel/cpu/amd.c).
NOT_FOR_SMP = (r"\[os[12]\].*WARNING: .*amd\.c:\d+ init_amd", r"\[os[12]\].*Modules linked in:\r?$")


def ticks(machine, name):
    """How often `name` has ticked since it last came up, and the longest time between two, by its clock."""
    log = bytes(machine.ports[name].log)
    clocks = [float(clock) for clock in TICK.findall(log, max(0, log.rfind(b"mint-successor-up")))]
    gaps = [after - before for before, after in zip(clocks, clocks[1:])]
    return len(clocks), max(gaps, default=0)


def successors_outlive(machine):
    """The first OS panics and stays so."""
    machine.wait("first", rb"end Kernel panic")
    for name in SUCCESSORS:
        machine.ports[name].seen = len(machine.ports[name].log)
    for name in SUCCESSORS:
        before, _ = ticks(machine, name)
        while ticks(machine, name)[0] < before + 15:
            machine.wait(name, TICK.pattern)
        _, gap = ticks(machine, name)
        yield gap < GAP * machine.boot, f"{name} ticks on after the first OS's panic, {gap:.1f} s at most between two"


def successors_lose_disks(machine):
    """The first OS panics and stays so. os1 did not use its disk at that time, os2 did."""
    machine.wait("first", rb"Kernel panic - not syncing")
    started = time.monotonic()
    machine.wait("first", rb"end Kernel panic")
    # A disk that is gone has a size of 0.
    machine.send("os1", "dd if=/dev/zero of=/dev/nvme0n1 bs=4k count=1 oflag=direct || echo the disk is lost\n")
    for name in SUCCESSORS:
        # Either an event has told, or a request was not answered.
        machine.wait(name, rb"persistent internal error|CSTS=0xffffffff", IO_TIMEOUT + PATIENCE * machine.boot)
        machine.wait(name, rb"the disk is lost")
        yield True, f"{name} has an error for its disk, {time.monotonic() - started:.0f} s after the panic"
    for name in SUCCESSORS:
        before, _ = ticks(machine, name)
        while ticks(machine, name)[0] < before + 5:
            machine.wait(name, TICK.pattern)
        _, gap = ticks(machine, name)
        yield gap < GAP * machine.boot, f"{name} has ticked all the time, {gap:.1f} s at most between two"


def successor_outlives_crash_kernel(machine):
    """The first OS panics, and its crash kernel saves its core; os1 has a disk."""
    machine.wait("first", rb"mint-successor-up: [^\n]*, 1 CPUs")
    yield True, "the crash kernel comes to its user space, on one CPU"
    machine.ports["os1"].seen = len(machine.ports["os1"].log)
    machine.send("first", "echo core: $(stat -c %s /proc/vmcore) bytes\n")
    size = int(machine.wait("first", rb"core: (\d+) bytes")[1]) >> 20
    yield 1024 < size < 3072 - 960, f"the core has the first OS's memory alone, {size} MiB"
    machine.send("first", "/usr/bin/makedumpfile --dump-dmesg /proc/vmcore /tmp/dmesg; "
                          "echo said: $(grep -sc 'sysrq triggered crash' /tmp/dmesg)\n")
    yield int(machine.wait("first", rb"said: (\d+)")[1]) > 0, "its log can be read from that"
    before, _ = ticks(machine, "os1")
    while ticks(machine, "os1")[0] < before + 15:
        machine.wait("os1", TICK.pattern)
    _, gap = ticks(machine, "os1")
    yield gap < GAP * machine.boot, f"os1 ticks on, {gap:.1f} s at most between two"
    for _ in range(2):
        machine.wait("os1", rb"16 MiB of 1 came whole")
    yield True, "its disk is still its own"
    machine.send("first", "reboot -f\n")
    machine.wait_end()


def successor_is_stopped_by_kexec(machine):
    """The first OS starts another kernel."""
    machine.wait("first", rb"mint: os1: [^\n]* is stopped")
    yield True, "the first OS's log tells that os1 is stopped"
    machine.wait("first", rb"mint: the CPUs of all OSes have stopped")
    yield True, "and that its CPUs have stopped"
    machine.wait("first", rb"Linux version ")
    silent = len(machine.ports["os1"].log)
    machine.wait("first", rb"mint-successor-up: [^\n]*, 4 CPUs")
    yield True, "the next kernel comes to its user space, on all CPUs"
    while ticks(machine, "first")[0] < 5:
        machine.wait("first", TICK.pattern)
    yield len(machine.ports["os1"].log) == silent, "the successor says nothing any more"
    machine.send("first", "check_io write /dev/nvme0n1 2 && check_io read /dev/nvme0n1 2\n")
    machine.wait("first", rb"16 MiB of 2 came whole")
    yield True, "the next kernel has the successor's disk for itself"
    machine.send("first", "poweroff -f\n")
    machine.wait_end()


def successor_is_stopped_by_reboot(machine):
    """The first OS resets the machine."""
    machine.wait("first", rb"mint: os1: [^\n]* is stopped")
    yield True, "the first OS's log tells that os1 is stopped"
    machine.wait_end()
    yield machine.process.returncode == 0, "the machine is reset"


def scenarios(long=False):
    """All of them, the longest first. `long` has those repeat what a run shows once otherwise."""
    cycles = int(os.environ.get("MINT_CYCLES") or 100)
    device_cycles = int(os.environ.get("MINT_DEVICE_CYCLES") or (20 if long else 2))
    work = 60 if long else 20
    return [
        Scenario("devices", devices=DEVICES, modules=MODULES, expected=(panic("os1"),),
                 environment=f"CYCLES={device_cycles}", ports=PORTS_OF_ONE),
        Scenario("cards", devices=(*CARDS, LARGE), modules=("virtio_net",), other_modules=CARD_MODULES,
                 kernels=("generic", "i386-pae"), expected=NOT_FOR_SMP,
                 ports=PORTS_OF_ONE, append=f"{NO_BROADCAST} {POOL} {LOW_POOL}"),
        Scenario("cards_back", generic=True, devices=(*CARDS[1:], VIRTUAL),
                 modules=(*CARD_MODULES[1:], "igb", "virtio_net"), expected=(panic("os1"),),
                 environment=f"CYCLES={device_cycles}", ports=PORTS_OF_ONE),
        # Of the first OS's stock kernel: MINT_KO is for another.
        *(() if os.environ.get("MINT_KO") else (Scenario("uefi", run=uefi.run),)),
        Scenario("cycles", environment=f"CYCLES={cycles}"),
        Scenario("watch", cpus=5, watch=WATCHED, kernels=("oldest",), environment=f"WORK={work}"),
        Scenario("ports", ports=PORTS_OF_TWO, strays=(("os1", "read", 0x3FF),), expected=(panic("os1"),)),
        # The generic kernel has drivers for more of such a CPU.
        Scenario("msrs", cpus=5, extra=INTEL, msrs=(0x610,), kernels=("generic",)),
        Scenario("life", ports=PORTS_OF_ONE, expected=(panic("os1"),)),
        Scenario("deaths", ports=PORTS_OF_ONE, expected=DEATHS),
        Scenario("disks", cpus=5, devices=(*DEVICES[:2], BAD), modules=MODULES[:2], programs=E2FSPROGS),
        Scenario("disks_life", devices=DEVICES[:2], modules=MODULES[:2], programs=E2FSPROGS,
                 expected=(panic("os1"),)),
        Scenario("memory_devices", kernels=("generic", "lts", "oldest", *(("i386",) if long else ()), "i386-pae"),
                 modules=("tun",), other_modules=("nvme", "ena"),
                 expected=NOT_FOR_SMP, append=f"{NO_BROADCAST} {POOL} {LOW_POOL}"),
        *((Scenario("disks_debian", cpus=6, devices=(STORE,), modules=("nvme", "ext4"), programs=E2FSPROGS[1:],
                    disk_init=True),) if long else ()),
        # What is written to its disk may do the hostile OS itself harm.
        Scenario("network", cpus=5, modules=("tun", "bridge", "ena"), expected=(panic("os1"),)),
        Scenario("disks_hostile", expected=(r"\[os1\]",)),
        Scenario("postmortem", programs=("/usr/bin/makedumpfile",), expected=(panic("os1"),)),
        Scenario("traces", expected=(panic("os1"), r"\[os1\].*---\[ end Kernel panic")),
        Scenario("together", cpus=5, watch=TOGETHER, ports=PORTS_TOGETHER, kernels=("i386-pae",),
                 expected=NOT_FOR_SMP, append=f"{NO_BROADCAST} {POOL} {LOW_POOL}"),
        Scenario("parallel", cpus=8, memory="4G",
                 append=f"{NO_BROADCAST} memmap=960M$1G memmap=1G$4G memmap=448K$64K"),
        *(Scenario("kernels", name=f"kernels/{role}", kernels=(role,), ports=PORTS_OF_ONE,
                   expected=(panic("os1"), *(NOT_FOR_SMP if role.startswith("i386") else ())),
                   append=f"{NO_BROADCAST} {POOL} {LOW_POOL}")
          # The other two are started by cards, cards_back, together and forward.
          for role in (ROLES if long else ("lts", "oldest", "i386"))),
        *(Scenario("vmlinux", name=f"vmlinux/{role}", kernels=(role,), vmlinux=True,
                   programs=("/usr/bin/makedumpfile",), expected=(panic("os1"),))
          for role in (("generic", "lts", "oldest") if long else ("generic", "oldest"))),
        Scenario("start", expected=(panic("os2"),)),
        # Otherwise the first OS would use the port, and spin.
        Scenario("processors", acpi="processors.asl", ports=PORTS_OF_ONE,
                 append=f"{NO_BROADCAST} {POOL} processor.max_cstate=1"),
        Scenario("uki", programs=("/usr/bin/x86_64-linux-gnu-objcopy",),
                 expected=(r"\[os1\].*Kernel panic - not syncing: VFS: Unable to mount root fs on ",)),
        # Of the machine's UUID and the name os1, files.sh has the hash.
        Scenario("files", extra=("-uuid", "8d3fd83e-6b1c-4c53-b3f0-6b2e7b0ea7c5")),
        Scenario("siblings", expected=(panic("os2"),)),
        Scenario("recovery", expected=(panic("os1"),)),
        Scenario("kexec", kexec=True, devices=DEVICES[:1], modules=MODULES[:1]),
        Scenario("events"),
        # QEMU has AMD's CPUs say what threads are of a core only by topoext.
        Scenario("smt", cpus="6,cores=3,threads=2", extra=("-cpu", f"{CPU},+topoext")),
        Scenario("affinity"),
        Scenario("loads", environment="LOADS=200"),
        Scenario("panic_first", append=f"{NO_BROADCAST} {POOL} panic=0", expected=(panic("first"),),
                 after=successors_outlive),
        Scenario("disks_panic_first", append=f"{NO_BROADCAST} {POOL} panic=0", expected=(panic("first"),),
                 after=successors_lose_disks),
        Scenario("kdump", kexec=True, programs=("/usr/bin/makedumpfile",), devices=DEVICES[:1], modules=MODULES[:1],
                 memory="4G", append=f"{NO_BROADCAST} memmap=1G$4G memmap=128K$128K", expected=(panic("os1"),)),
        Scenario("kdump_first", kexec=True, programs=("/usr/bin/makedumpfile",), devices=DEVICES[:1],
                 modules=MODULES[:1], environment="CRASH=pci=off", append=f"{NO_BROADCAST} {POOL} crashkernel=192M",
                 expected=(panic("first"),), after=successor_outlives_crash_kernel),
        Scenario("ends_first", name="kexec_first", after=successor_is_stopped_by_kexec,
                 devices=DEVICES[:1], modules=MODULES[:1],
                 environment="END='kexec_self /boot/vmlinuz /boot/initrd /proc/cmdline'"),
        Scenario("ends_first", name="reboot_first", after=successor_is_stopped_by_reboot,
                 devices=DEVICES[:1], modules=MODULES[:1],
                 environment="END='reboot -f'"),
        Scenario("x2apic", kernels=("i386-pae",), msrs=(),
                 extra=("-device", "intel-iommu,intremap=on,eim=on"),
                 append=f"{NO_BROADCAST} {POOL} intel_iommu=on"),
        Scenario("switch", devices=(SWITCH, CARDS[-1]), modules=("nvme", "virtio_net"), ports=PORTS_OF_ONE),
        Scenario("forward", devices=FORWARD, extra=LISTENER, modules=("virtio_net",), other_modules=("e1000e",),
                 kernels=("i386-pae",), expected=NOT_FOR_SMP,
                 ports=PORTS_OF_ONE, append=f"{NO_BROADCAST} {POOL} {LOW_POOL}"),
        Scenario("iommu", devices=DEVICES[:1], modules=MODULES, environment="REMAPS=",
                 extra=("-device", "intel-iommu,intremap=off"),
                 append=f"{NO_BROADCAST} {POOL} intel_iommu=on"),
        Scenario("iommu", name="iommu/intremap", devices=DEVICES[:1], modules=MODULES, environment="REMAPS=yes",
                 extra=("-device", "intel-iommu,intremap=on"),
                 append=f"{NO_BROADCAST} {POOL} intel_iommu=on"),
        Scenario("in_use", devices=IN_USE, modules=MODULES[1:]),
        Scenario("lost", devices=LOST),
        Scenario("dma", devices=(EDU,), extra=("-device", "intel-iommu,intremap=off", *GROUP),
                 append=f"{NO_BROADCAST} {POOL} intel_iommu=on"),
        Scenario("disks_machine", name="disks_machine/x2apic", environment="X2APIC=yes",
                 extra=("-device", "intel-iommu,intremap=on,eim=on"),
                 append=f"{NO_BROADCAST} {POOL} intel_iommu=on"),
        Scenario("disks_machine", name="disks_machine/high", environment="X2APIC=", memory="4G",
                 devices=DEVICES[:1], modules=MODULES[:1],
                 append=f"{NO_BROADCAST} memmap=1G$4G memmap=128K$128K"),
        Scenario("lockdown"),
        Scenario("rest", run=rest.run),
        # Debian's cloud kernels have no CONFIG_ACPI_BGRT.
        Scenario("bgrt", generic=True, extra=SCREEN, append=NO_BROADCAST),
        Scenario("fuzz", devices=DEVICES[:2], environment=f"WRITES={10000 if long else 3000}"),
        Scenario("refusals", name="refusals/broadcast", append=POOL,
                 environment="REFUSAL=boot.it.with.no_ipi_broadcast=1"),
        Scenario("refusals", name="refusals/pool", append=NO_BROADCAST,
                 environment="REFUSAL=boot.with.memmap=SIZE"),
    ]
