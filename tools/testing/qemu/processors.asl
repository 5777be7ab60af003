// SPDX-License-Identifier: GPL-2.0
//
// What QEMU's own tables lack: idle states and frequencies, as of a server with AMD CPUs. C1 is
// entered by HLT, as QEMU's CPU has no MWAIT with hints, and C2 by a port that no core of QEMU's
// traps.

DefinitionBlock ("", "SSDT", 2, "MINT", "POWER", 1)
{
    External (\_SB.CPUS.C001, DeviceObj)
    External (\_SB.CPUS.C002, DeviceObj)
    External (\_SB.CPUS.C003, DeviceObj)

    Scope (\_SB)
    {
        Name (IDLE, Package () {
            2,
            Package () { ResourceTemplate () { Register (FFixedHW, 1, 1, 0) }, 1, 1, 0 },
            Package () { ResourceTemplate () { Register (SystemIO, 8, 0, 0x414, 1) }, 2, 800, 0 }
        })
        Name (CTRL, Package () {
            ResourceTemplate () { Register (FFixedHW, 0, 0, 0) },
            ResourceTemplate () { Register (FFixedHW, 0, 0, 0) }
        })
        Name (FREQ, Package () {
            Package () { 2450, 5000, 1, 1, 0, 0 },
            Package () { 1500, 2000, 1, 1, 1, 1 }
        })
    }
    Scope (\_SB.CPUS.C002)
    {
        Method (_CST) { Return (\_SB.IDLE) }
        Name (_PCT, Package () {
            ResourceTemplate () { Register (FFixedHW, 0, 0, 0) },
            ResourceTemplate () { Register (FFixedHW, 0, 0, 0) }
        })
        Method (_PSS) { Return (\_SB.FREQ) }
    }
    Scope (\_SB.CPUS.C003)
    {
        Method (_CST) { Return (\_SB.IDLE) }
        Method (_PCT) { Return (\_SB.CTRL) }
        Method (_PSS) { Return (\_SB.FREQ) }
    }
    // One that differs.
    Scope (\_SB.CPUS.C001)
    {
        Method (_CST) { Return (\_SB.IDLE) }
    }
}
