#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""plain-boots.py KERNEL COUNT [single|multi]: is the rig itself dependable?

Boots a stock kernel to user space COUNT times with nothing of Mint in it, and
counts the boots that failed.
"""

import subprocess
import sys
import time
from pathlib import Path

from qemu_machine import CACHE, Machine, MachineError

here = Path(__file__).parent
kernel, count = sys.argv[1], int(sys.argv[2])
threads = sys.argv[3] if len(sys.argv) > 3 else "single"
initramfs = CACHE / "plain-boots.cpio"
subprocess.run([here / "make-initramfs", initramfs, here / "guest/first-init"], check=True)

failed = 0
for number in range(1, count + 1):
    started = time.monotonic()
    with Machine(kernel, initramfs, "mint.run=hello no_ipi_broadcast=1", threads=threads) as machine:
        try:
            machine.wait("first", rb"mint-hello", 120)
            machine.wait_end(60)
            splats = machine.splats()
        except MachineError as error:
            splats = [str(error)]
    if splats:
        failed += 1
        print("\n".join(splats))
    print(f"boot {number} of {count}: {time.monotonic() - started:.1f} s, {failed} failed so far", flush=True)
sys.exit(failed != 0)
