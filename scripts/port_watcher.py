# SPDX-License-Identifier: GPL-2.0
"""Which I/O ports the systems' CPUs touch, seen by QEMU's trace of accesses to devices.

What a successor may touch is told here, with the reason for each port that is not its own.
"""

import re
from collections import Counter

from first_os import LOW_PAGES

DELAY = 0x80
# The registers of the CMOS clock that are read for the time: seconds, minutes, hours, day, month, year,
# and the two that tell whether it is being changed, and its format.
CLOCK = (0x0, 0x2, 0x4, 0x7, 0x8, 0x9, 0xA, 0xB)
# That of the shutdown status: what the firmware does after a reset.
SHUTDOWN = 0xF
# Bus 0, device 2, function 0, register 0.
GRAPHICS = 0x80001000

# The ports that each system's kernel touches though they are not its own, as nothing that it is told
# keeps it from that; what it may do there, given the value, and the register that it has chosen by port
# 0x70. Documentation/shared-hardware.rst has what may come of it.
TOUCHED = {
    # The delays of arch/x86/kernel/io_delay.c, and of autoconfig() in drivers/tty/serial/8250/8250_port.c
    # on i386. Nothing reads it.
    ("write", DELAY): lambda value, register: True,
    # quick_pit_calibrate(), arch/x86/kernel/tsc.c, where the CPU does not tell its frequency: it runs
    # before ACPI has told that there is no PIC. Channel 2 of the PIT, from 0xffff on; its gate on, the
    # speaker off.
    ("read", 0x42): lambda value, register: True,
    ("write", 0x42): lambda value, register: value == 0xFF,
    ("write", 0x43): lambda value, register: value == 0xB0,
    ("read", 0x61): lambda value, register: True,
    ("write", 0x61): lambda value, register: value & 3 == 1,
    # read_persistent_clock64(), arch/x86/kernel/rtc.c, reads the time at boot, whatever ACPI says of the
    # clock. smpboot_setup_warm_reset_vector(), arch/x86/kernel/smpboot.c, and what sets it back, when a
    # CPU is started.
    ("write", 0x70): lambda value, register: value in (*CLOCK, SHUTDOWN),
    ("read", 0x71): lambda value, register: register in CLOCK,
    ("write", 0x71): lambda value, register: register == SHUTDOWN and value in (0xA, 0),
    # snb_gfx_workaround_needed(), arch/x86/kernel/setup.c, reads the vendor of the graphics before the
    # command line is read.
    ("write", 0xCF8): lambda value, register: value == GRAPHICS,
    ("read", 0xCFC): lambda value, register: True,
}


class PortWatcher:
    """Checks that successors keep to their own ports.

    Each access to a device is a line of the log, with the CPU that QEMU's one thread then runs. Those
    below 64 KiB are to ports: no device is in memory there. Accesses to the local APIC are among them,
    which tells whose the CPUs are; that takes xAPIC mode.
    """

    ACCESS = re.compile(r"memory_region_ops_(read|write) cpu (-?\d+) mr \S+ addr 0x([0-9a-f]+) "
                        r"value 0x([0-9a-f]+) size (\d+) name '(.*)'")
    # What no device takes is not in the trace.
    REJECTED = re.compile(r"Invalid (read|write) at addr 0x[0-9A-Fa-f]{1,4},")

    def __init__(self, folder):
        self.log = folder / "ports.log"
        self.arguments = ("-trace", "enable=memory_region_ops_*", "-d", "guest_errors", "-D", str(self.log))

    def results(self, systems, strays=()):
        """Checks the log against {name: (the first port of its UART or None, CPUs)}.

        `strays` are accesses to other ports that the script has made, as (name, direction, port): they
        must be seen. Yields (passed, name of the test).
        """
        name_of = {cpu: name for name, (_, cpus) in systems.items() for cpu in cpus}
        # The destinations in the ICRs, the registers chosen by port 0x70, and the CPUs that run a kernel
        # of Mint's: from a startup IPI on that has them begin in low memory of Mint's, until an INIT.
        destination, register, given = {}, {}, set()
        started, own, touched, foreign = set(), Counter(), {name: set() for name in systems}, Counter()
        with self.log.open(errors="replace") as log:
            for line in log:
                found = self.ACCESS.match(line)
                if not found:
                    if self.REJECTED.match(line):
                        foreign["somebody", line.strip()] += 1
                    continue
                direction, cpu = found[1], int(found[2])
                address, value, size = int(found[3], 16), int(found[4], 16), int(found[5])
                if found[6] == "apic-msi" and direction == "write":
                    if address == 0xFEE00310:
                        destination[cpu] = value >> 24
                    # Not those to all, which only the firmware sends: see IcrWatcher.
                    elif address == 0xFEE00300 and not value >> 18 & 3:
                        mode = value >> 8 & 7
                        if mode == 5:
                            given.discard(destination[cpu])
                        elif mode == 6 and value & 0xFF in LOW_PAGES:
                            given.add(destination[cpu])
                            started.add(destination[cpu])
                if address > 0xFFFF:
                    continue
                if cpu in given:
                    name = name_of[cpu]
                    port, _ = systems[name]
                    may = TOUCHED.get((direction, address))
                    if port and port <= address and address + size <= port + 8:
                        own[name] += 1
                    elif may and may(value, register.get(cpu)):
                        touched[name].add(address)
                    else:
                        foreign[name, direction, address] += 1
                # Only now: it is chosen by the write.
                if (direction, address) == ("write", 0x70):
                    register[cpu] = value
        yield started == set(name_of), f"the successors' CPUs were seen to be started {sorted(started)}"
        for name, (port, _) in systems.items():
            ports = " ".join(f"{number:#x}" for number in sorted(touched[name]))
            yield 0x70 in touched[name], f"{name} was seen from its start on; what it touched: {ports}"
            yield (own[name] > 100 if port else not own[name],
                   f"{name} was seen to use its own port ({own[name]} times)")
        for stray in strays:
            yield foreign.pop(stray, 0) == 1, f"it is seen what was done on purpose: {' '.join(map(self.text, stray))}"
        told = [f"{' '.join(map(self.text, key))}: {count} times" for key, count in foreign.most_common(9)]
        yield not foreign, f"no system touched a port that is not its own {told or ''}"

    @staticmethod
    def text(part):
        return hex(part) if isinstance(part, int) else part
