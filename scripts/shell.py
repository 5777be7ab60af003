#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""shell.py: the first OS with a shell on this terminal, the successors' consoles in files."""

import os
import tempfile
from pathlib import Path

from first_os import NO_BROADCAST, POOL, make_initramfs
from qemu_machine import CACHE, Machine, pick_accelerator

first = Path(os.environ["MINT_FIRST"])
logs = [CACHE / "log" / f"console-{port}.log" for port in ("0x2f8", "0x3e8")]
with tempfile.TemporaryDirectory() as folder:
    initramfs = make_initramfs(Path(folder), first)
    accelerator = pick_accelerator(first, initramfs)
    extra = [argument for log in logs for argument in ("-serial", f"file:{log}")]
    print(f"""
mint: the first OS boots with 4 CPUs; type poweroff -f, or ctrl-a x, to leave it.
mint: what successors print is in {logs[0]}
mint:                         and {logs[1]}
mint: 'cat /README' there says what to write.
""", flush=True)
    with Machine(first, initramfs, f"quiet {NO_BROADCAST} {POOL}", accelerator=accelerator,
                 extra=extra, interactive=True) as machine:
        machine.process.wait()
