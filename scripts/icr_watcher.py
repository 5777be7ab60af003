# SPDX-License-Identifier: GPL-2.0
"""Which IPIs the systems' CPUs send, seen by a QEMU plugin that records writes to their ICRs."""

import re

from first_os import SOURCE, compile_c


class IcrWatcher:
    """What the systems' CPUs send by their ICRs, seen by a QEMU plugin."""

    LINE = re.compile(r"cr3=(0x[0-9a-f]+) dest=(\d+) shorthand=(\w+) mode=(\w+) level=\w+ destmode=(\w+) vector=")

    def __init__(self, folder):
        plugin = folder / "icr_watch.so"
        self.log = folder / "icr.log"
        self.marks = {}
        compile_c(plugin, SOURCE / "tools/testing/qemu/icr_watch.c", "-shared", "-fPIC")
        self.arguments = ("-plugin", f"{plugin},log={self.log}")

    def mark(self, what):
        self.marks[what] = self.log.stat().st_size

    def results(self, systems):
        """Checks the log against {name: (RAM's start, RAM's end, CPUs)}; yields (passed, name of the test).

        A line is from the system in whose RAM its page table lies, or else from the first OS.
        """
        text = self.log.read_bytes()[self.marks["start"]:self.marks["stop"]].decode()
        successors = {cpu for _, _, cpus in systems.values() for cpu in cpus}
        # The CPUs that the first OS has sent an INIT: from then on they are not its own.
        given = set()
        started = {name: set() for name in systems}
        seen, foreign = dict.fromkeys(systems, 0), []
        for line in text.splitlines():
            found = self.LINE.match(line)
            if not found:
                foreign.append(line)
                continue
            cr3, dest = int(found[1], 16), int(found[2])
            shorthand, mode = found[3], found[4]
            to_one = shorthand == "none" and found[5] == "physical"
            name = next((name for name, (start, end, _) in systems.items() if start <= cr3 < end), None)
            if name:
                seen[name] += 1
                own = to_one and dest in systems[name][2]
                if own:
                    started[name].add((mode, dest))
            else:
                if to_one and mode == "init" and dest in successors:
                    given.add(dest)
                # Only the module, which resets and wakes them, may reach CPUs that were given away.
                own = not given or to_one and (dest not in given or mode in ("init", "sipi"))
            if not own and shorthand != "self":
                foreign.append(line)
        yield given == successors, "the first OS was seen to reset the successors' CPUs"
        for name, (_, _, cpus) in systems.items():
            second = cpus[1]
            yield ({("init", second), ("sipi", second)} <= started[name],
                   f"{name} was seen to start its second CPU")
            yield seen[name] > 100, f"{name} was seen to send IPIs ({seen[name]})"
        yield not foreign, f"no system sent an IPI to another's CPU {foreign[:5] or ''}"
