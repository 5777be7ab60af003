// SPDX-License-Identifier: GPL-2.0

//! The ACPI tables of a successor: a hardware-reduced machine with CPUs, optionally a serial port
//! and PCI host bridges, and nothing else.
//!
//! Reference: ACPI specification 6.3 (the version that the FADT claims), chapter 5; PCI Firmware
//! Specification 3.3, chapter 4. Linux evaluates the tables in `acpi_generic_reduced_hw_init()` and
//! `arch/x86/kernel/acpi/boot.c`, `drivers/acpi/pci_root.c`, `arch/x86/pci/mmconfig-shared.c`.

use crate::firmware::aml::{self, Operand, Space};
use crate::firmware::host_bridge::{HostBridge, MAX_BRIDGES};
use crate::firmware::ioapic;
use crate::firmware::processor::{IdleState, Performance, Power, Register};
use crate::memory::memmap::Range;

/// The machine that the tables describe.
#[derive(Clone, Copy, Debug)]
pub struct Machine<'a, I> {
    /// The APIC IDs of its CPUs, the boot CPU first.
    pub cpus: I,
    /// An APIC ID that no CPU of the machine has; see [`decoy`].
    pub decoy: u32,
    /// The address of its emulated I/O APIC.
    pub ioapic: u32,
    /// The address of the byte that is both its sleep control and its sleep status register.
    pub sleep_register: u64,
    /// The I/O port of its serial port, if it has one.
    pub console: Option<u16>,
    /// Its PCI host bridges, [`MAX_BRIDGES`] at most.
    pub bridges: &'a [HostBridge],
    /// The power management of each of its CPUs, if known.
    pub power: Option<&'a Power>,
}

/// `SLP_TYP` for the soft-off state S5.
pub const SLP_TYP_S5: u8 = 5;

const HEADER_LEN: usize = 36;
const RSDP_LEN: usize = 36;
const FADT_LEN: usize = 276;
const TABLE_ALIGN: usize = 64;

/// Highest APIC ID that fits in a Processor Local APIC structure; 255 means all processors.
pub const XAPIC_ID_MAX: u32 = 254;
/// The physical address at which each CPU finds its own local APIC.
const LOCAL_APIC_ADDRESS: u32 = 0xfee0_0000;

// 5.2.9.3, IA-PC Boot Architecture Flags. Not set: legacy devices, 8042.
const VGA_NOT_PRESENT: u16 = 1 << 2;
const CMOS_RTC_NOT_PRESENT: u16 = 1 << 5;

// Table 5-10, fixed feature flags.
const WBINVD: u32 = 1 << 0;
/// The fixed hardware has no power button and no sleep button.
const PWR_BUTTON: u32 = 1 << 4;
const SLP_BUTTON: u32 = 1 << 5;
/// IPIs must be addressed by APIC ID. A kernel assigns logical IDs to its CPUs starting at its own
/// CPU 0 (`default_init_apic_ldr()`, 64-bit Linux before 6.12), so the logical IDs of two systems
/// would collide.
const FORCE_APIC_PHYSICAL_DESTINATION_MODE: u32 = 1 << 19;
const HW_REDUCED_ACPI: u32 = 1 << 20;

// Table 5-23, Local APIC flags.
const ENABLED: u32 = 1 << 0;
const ONLINE_CAPABLE: u32 = 1 << 1;

/// Chooses the decoy: an APIC ID that no CPU of the machine has, as `exists` says.
///
/// Linux since 6.9 takes the first CPU that the tables list for the machine's real boot CPU, and
/// never starts it. If that were the CPU that the successor boots on, which lacks the BSP bit of a
/// real boot CPU, the kernel would take itself for a crash kernel and use no other CPU
/// (`check_for_real_bsp()`). Older kernels send INIT to each CPU that the tables say is enabled. So
/// the tables list the decoy first, not enabled but online capable (a CPU that is not present yet),
/// and no CPU responds to its ID.
pub fn decoy(exists: impl Fn(u32) -> bool) -> u32 {
    (0..=XAPIC_ID_MAX)
        .rev()
        .chain(XAPIC_ID_MAX + 2..u32::MAX)
        .find(|&id| !exists(id))
        .unwrap_or(XAPIC_ID_MAX)
}

/// Writes the tables to `out`, which lies at physical address `at`, and returns the address of the
/// RSDP. Returns [`None`] if the tables do not fit, or if a host bridge is invalid.
pub fn write<I>(out: &mut [u8], at: u64, machine: &Machine<'_, I>) -> Option<u64>
where
    I: Iterator<Item = u32> + Clone,
{
    let can_be = |bridge: &HostBridge| bridge.segment != 0 && bridge.ecam_range().is_some();
    if machine.bridges.len() > MAX_BRIDGES || !machine.bridges.iter().all(can_be) {
        return None;
    }
    out.fill(0);
    // The RSDP comes first: its address is passed to the kernel.
    let mut tables = Tables {
        out,
        at,
        len: RSDP_LEN,
    };
    let dsdt = tables.add(*b"DSDT", 2, |body| dsdt(body, machine))?;
    let fadt = tables.add(*b"FACP", 6, |body| {
        fadt(body, dsdt.start(), machine.sleep_register)
    })?;
    let madt = tables.add(*b"APIC", 5, |body| madt(body, machine))?;
    // Linux warns about an MCFG without entries.
    let mcfg = if machine.bridges.iter().any(is_in_mcfg) {
        Some(tables.add(*b"MCFG", 1, |body| mcfg(body, machine.bridges))?)
    } else {
        None
    };
    let xsdt = tables.add(*b"XSDT", 1, |body| {
        let mut out = Out::new(body);
        for table in [Some(fadt), Some(madt), mcfg].into_iter().flatten() {
            out.put(&table.start().to_le_bytes())?;
        }
        Some(out.len)
    })?;
    rsdp(tables.out.first_chunk_mut()?, xsdt.start());
    Some(at)
}

/// The tables written so far, one after the other.
struct Tables<'a> {
    out: &'a mut [u8],
    at: u64,
    len: usize,
}

impl Tables<'_> {
    /// Adds a table whose body `body` writes; `body` returns the body's length.
    fn add(
        &mut self,
        signature: [u8; 4],
        revision: u8,
        body: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> Option<Range> {
        let start = self.len.next_multiple_of(TABLE_ALIGN);
        let table = self.out.get_mut(start..)?;
        let (header, rest) = table.split_at_mut_checked(HEADER_LEN)?;
        let len = HEADER_LEN + body(rest)?;
        // 5.2.6, System Description Table Header.
        header[0..4].copy_from_slice(&signature);
        header[4..8].copy_from_slice(&(len as u32).to_le_bytes());
        header[8] = revision;
        header[10..16].copy_from_slice(b"MINT  ");
        header[16..24].copy_from_slice(b"MINTOS  ");
        header[24..28].copy_from_slice(&1u32.to_le_bytes());
        header[28..32].copy_from_slice(b"MINT");
        header[32..36].copy_from_slice(&1u32.to_le_bytes());
        table[9] = checksum(&table[..len]);
        self.len = start + len;
        Range::new(self.at + start as u64, len as u64)
    }
}

/// The body of a table, to which entries are appended.
struct Out<'a> {
    body: &'a mut [u8],
    len: usize,
}

impl<'a> Out<'a> {
    fn new(body: &'a mut [u8]) -> Self {
        Out { body, len: 0 }
    }

    /// Appends `bytes`; returns [`None`] if there is no room.
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        self.body
            .get_mut(self.len..self.len + bytes.len())?
            .copy_from_slice(bytes);
        self.len += bytes.len();
        Some(())
    }
}

/// Returns the checksum byte, which makes the sum of `bytes` and itself 0.
fn checksum(bytes: &[u8]) -> u8 {
    bytes
        .iter()
        .fold(0u8, |sum, &byte| sum.wrapping_add(byte))
        .wrapping_neg()
}

/// Writes the Root System Description Pointer (5.2.5.3), revision 2.
fn rsdp(out: &mut [u8; RSDP_LEN], xsdt: u64) {
    out[0..8].copy_from_slice(b"RSD PTR ");
    out[9..15].copy_from_slice(b"MINT  ");
    out[15] = 2;
    out[20..24].copy_from_slice(&(RSDP_LEN as u32).to_le_bytes());
    out[24..32].copy_from_slice(&xsdt.to_le_bytes());
    // The first checksum covers the fields of revision 0, the extended one covers all fields.
    out[8] = checksum(&out[..20]);
    out[32] = checksum(&out[..]);
}

/// Writes the Fixed ACPI Description Table (5.2.9). The offsets are those in the specification.
fn fadt(body: &mut [u8], dsdt: u64, sleep_register: u64) -> Option<usize> {
    let body = body.get_mut(..FADT_LEN - HEADER_LEN)?;
    let mut put = |offset: usize, bytes: &[u8]| {
        let offset = offset - HEADER_LEN;
        body[offset..offset + bytes.len()].copy_from_slice(bytes);
    };
    put(109, &(VGA_NOT_PRESENT | CMOS_RTC_NOT_PRESENT).to_le_bytes());
    let flags =
        WBINVD | PWR_BUTTON | SLP_BUTTON | FORCE_APIC_PHYSICAL_DESTINATION_MODE | HW_REDUCED_ACPI;
    put(112, &flags.to_le_bytes());
    // FADT Minor Version: Linux honours the "online capable" flag of the MADT from 6.3 on.
    put(131, &[3]);
    put(140, &dsdt.to_le_bytes());
    // Linux writes WAK_STS to the status register, SLP_TYP and SLP_EN to the control register, and
    // waits for WAK_STS in the status register (acpi_hw_extended_sleep()). Both registers are the
    // same byte here, so WAK_STS never appears and the CPU spins. Otherwise the kernel would go on
    // with an ACPI error message.
    let register = sleep_register.to_le_bytes();
    for offset in [244, 256] {
        // 5.2.3.2, Generic Address Structure: system memory, 8 bits wide, byte access.
        put(offset, &[0, 8, 0, 1]);
        put(offset + 4, &register);
    }
    Some(body.len())
}

/// Writes the Multiple APIC Description Table (5.2.12).
fn madt<I>(body: &mut [u8], machine: &Machine<'_, I>) -> Option<usize>
where
    I: Iterator<Item = u32> + Clone,
{
    let mut out = Out::new(body);
    out.put(&LOCAL_APIC_ADDRESS.to_le_bytes())?;
    // Flags: no PC-AT-compatible dual 8259.
    out.put(&[0; 4])?;

    let cpus = machine.cpus.clone().map(|id| (id, ENABLED));
    let all = core::iter::once((machine.decoy, ONLINE_CAPABLE)).chain(cpus);
    // The APIC ID also serves as the processor's UID: it is unique, and fits in one byte in the
    // structure that has only one byte for it. Linux ignores an x2APIC structure with an ID below
    // 255 (acpi_parse_x2apic()).
    for (id, flags) in all {
        if id <= XAPIC_ID_MAX {
            // 5.2.12.2, Processor Local APIC.
            out.put(&[0, 8, id as u8, id as u8])?;
            out.put(&flags.to_le_bytes())?;
        } else {
            // 5.2.12.12, Processor Local x2APIC.
            out.put(&[9, 16, 0, 0])?;
            out.put(&id.to_le_bytes())?;
            out.put(&flags.to_le_bytes())?;
            out.put(&id.to_le_bytes())?;
        }
    }
    // 5.2.12.3, I/O APIC, with Global System Interrupts from 0 on. Without an I/O APIC, Linux sets
    // up the ELCR of the PIC (acpi_pic_sci_set_trigger()), and kernels with CONFIG_X86_MPPARSE look
    // for the I/O APIC of the machine.
    out.put(&[1, 12, 0, 0])?;
    out.put(&machine.ioapic.to_le_bytes())?;
    out.put(&[0; 4])?;
    Some(out.len)
}

/// Returns whether MCFG lists the ECAM of `bridge`. If an entry of MCFG lies above 4 GiB, Linux
/// rejects the whole table, unless there is an SMBIOS table with a date after 2009
/// (`acpi_mcfg_valid_entry()`); a successor has none. For such a bridge, `_CBA` has the address of
/// the ECAM, which Linux accepts at any address (`setup_mcfg_map()` in `arch/x86/pci/acpi.c`).
fn is_in_mcfg(bridge: &HostBridge) -> bool {
    bridge.ecam < u64::from(u32::MAX)
}

/// Writes the MCFG table (PCI Firmware Specification, 4.1.2), which has an allocation structure for
/// each bridge.
fn mcfg(body: &mut [u8], bridges: &[HostBridge]) -> Option<usize> {
    let mut out = Out::new(body);
    out.put(&[0; 8])?;
    for bridge in bridges.iter().filter(|bridge| is_in_mcfg(bridge)) {
        out.put(&bridge.ecam.to_le_bytes())?;
        out.put(&bridge.segment.to_le_bytes())?;
        out.put(&[bridge.first_bus, bridge.last_bus, 0, 0, 0, 0])?;
    }
    Some(out.len)
}

/// The routing of all interrupt pins, returned by each bridge's `_PRT`.
const ROUTING: aml::NameSeg = *b"INTX";

/// Writes the Differentiated System Description Table (5.2.11.1).
fn dsdt<I>(body: &mut [u8], machine: &Machine<'_, I>) -> Option<usize>
where
    I: Iterator<Item = u32> + Clone,
{
    let mut aml = aml::Writer::new(body);
    let s5 = u32::from(SLP_TYP_S5);
    aml.root_name(*b"_S5_", |w| w.package(&[s5, s5, 0, 0]));
    if let Some(port) = machine.console {
        aml.scope(*b"_SB_", |w| {
            w.device(*b"UAR0", |w| {
                // A 16550A-compatible port. It has no interrupt among its resources, so the driver
                // polls it.
                w.name(*b"_HID", |w| w.eisa_id(*b"PNP0501"));
                w.name(*b"_UID", |w| w.integer(0));
                w.name(*b"_CRS", |w| w.resource_template(|w| w.io(port, 8)));
            });
        });
    }
    if !machine.bridges.is_empty() {
        aml.scope(*b"_SB_", |w| {
            w.device(*b"MBRD", |w| ecam_resources(w, machine.bridges));
            w.name(ROUTING, interrupt_routing);
            for (index, bridge) in machine.bridges.iter().enumerate() {
                host_bridge(w, index as u8, bridge);
            }
        });
    }
    if let Some(power) = machine.power {
        aml.scope(*b"_SB_", |w| processors(w, machine.cpus.clone(), power));
    }
    aml.finish()
}

/// The idle states, the registers and the frequencies that all CPUs have.
const IDLE_STATES: aml::NameSeg = *b"CSTS";
const PERFORMANCE_REGISTERS: aml::NameSeg = *b"PCTS";
const PERFORMANCE_STATES: aml::NameSeg = *b"PSSS";

/// Writes a processor device (8.4) for each of `cpus`, which are APIC IDs. All have the same
/// `power`.
fn processors(w: &mut aml::Writer<'_>, cpus: impl Iterator<Item = u32>, power: &Power) {
    let register = |w: &mut aml::Writer<'_>, register: &Register| {
        w.resource_template(|w| w.register(register));
    };
    let idle = power.idle.iter().flatten();
    let idle_count = idle.clone().count() as u8;
    if idle_count > 0 {
        w.name(IDLE_STATES, |w| {
            w.packages(idle_count + 1, |w| {
                w.integer(idle_count.into());
                for state in idle {
                    let IdleState {
                        kind,
                        latency,
                        power,
                        ..
                    } = *state;
                    w.packages(4, |w| {
                        register(w, &state.register);
                        for number in [kind.into(), latency, power] {
                            w.integer(number.into());
                        }
                    });
                }
            });
        });
    }
    if let Some(Performance { registers, states }) = &power.performance {
        w.name(PERFORMANCE_REGISTERS, |w| {
            w.packages(2, |w| registers.iter().for_each(|one| register(w, one)));
        });
        w.name(PERFORMANCE_STATES, |w| {
            let states = states.iter().flatten();
            w.packages(states.clone().count() as u8, |w| {
                states.for_each(|numbers| w.package(numbers));
            });
        });
    }
    for (index, id) in cpus.enumerate().take(CPUS_MAX) {
        w.device(numbered(b'C', index), |w| {
            w.name(*b"_HID", |w| w.string("ACPI0007"));
            w.name(*b"_UID", |w| w.integer(id.into()));
            let mut method = |name, value| {
                w.method(name, 0, |w| w.return_value(Operand::Name(value)));
            };
            if idle_count > 0 {
                method(*b"_CST", IDLE_STATES);
            }
            if power.performance.is_some() {
                method(*b"_PCT", PERFORMANCE_REGISTERS);
                method(*b"_PSS", PERFORMANCE_STATES);
            }
        });
    }
}

/// The most CPUs that [`numbered`] has names for. More have no processor device.
const CPUS_MAX: usize = 1 << 12;

/// Returns the name of the `index`th of some devices: `letter`, and three hexadecimal digits.
fn numbered(letter: u8, index: usize) -> aml::NameSeg {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |shift: u32| DIGITS[(index >> shift) & 0xf];
    [letter, digit(8), digit(4), digit(0)]
}

/// Writes the motherboard device (PCI Firmware Specification, 4.1.2) that reserves the ECAM of each
/// of `bridges`. Linux uses an ECAM only if it is reserved in this way (`is_acpi_reserved()`).
fn ecam_resources(w: &mut aml::Writer<'_>, bridges: &[HostBridge]) {
    w.name(*b"_HID", |w| w.eisa_id(*b"PNP0C02"));
    w.name(*b"_CRS", |w| {
        w.resource_template(|w| {
            for ecam in bridges.iter().filter_map(HostBridge::ecam_range) {
                w.memory(&ecam);
            }
        });
    });
}

/// Writes the package for `_PRT` (6.2.13): it routes the four pins of each device on the bridge's
/// first bus to [`ioapic::GSI`]. Linux derives the routing of devices further below from this
/// (`acpi_pci_irq_lookup()` in `drivers/acpi/pci_irq.c`).
fn interrupt_routing(w: &mut aml::Writer<'_>) {
    const DEVICES: u32 = 32;
    const PINS: u32 = 4;
    w.packages((DEVICES * PINS) as u8, |w| {
        for (device, pin) in (0..DEVICES).flat_map(|device| (0..PINS).map(move |pin| (device, pin)))
        {
            // Any function of the device; a GSI instead of a link device.
            w.package(&[(device << 16) | 0xffff, pin, 0, ioapic::GSI]);
        }
    });
}

/// Writes the `index`th PCI Express host bridge.
fn host_bridge(w: &mut aml::Writer<'_>, index: u8, bridge: &HostBridge) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |value: u8| DIGITS[usize::from(value & 0xf)];
    w.device([b'P', b'C', digit(index >> 4), digit(index)], |w| {
        w.name(*b"_HID", |w| w.eisa_id(*b"PNP0A08"));
        w.name(*b"_CID", |w| w.eisa_id(*b"PNP0A03"));
        w.name(*b"_UID", |w| w.integer(index.into()));
        w.name(*b"_SEG", |w| w.integer(bridge.segment.into()));
        w.name(*b"_BBN", |w| w.integer(bridge.first_bus.into()));
        if !is_in_mcfg(bridge) {
            w.name(*b"_CBA", |w| w.integer(bridge.ecam));
        }
        w.name(*b"_CRS", |w| {
            w.resource_template(|w| {
                if let Some(buses) = bridge.buses() {
                    w.bus_numbers(&buses);
                }
                for (space, window) in [
                    (Space::Io, bridge.io),
                    (Space::Memory, bridge.memory),
                    (Space::Prefetchable, bridge.prefetchable),
                ] {
                    if let Some(window) = window {
                        w.window(space, &window);
                    }
                }
            });
        });
        operating_system_capabilities(w);
        w.method(*b"_PRT", 0, |w| w.return_value(Operand::Name(ROUTING)));
    });
}

/// The UUID of [`operating_system_capabilities`], 33DB4D5B-1FF7-401C-9657-7441C03DD766, in memory
/// byte order (PCI Firmware Specification, 4.5.1).
const OSC_UUID: [u8; 16] = [
    0x5b, 0x4d, 0xdb, 0x33, 0xf7, 0x1f, 0x1c, 0x40, 0x96, 0x57, 0x74, 0x41, 0xc0, 0x3d, 0xd7, 0x66,
];
// ACPI specification, 6.2.11: the status bits in the first doubleword that `_OSC` returns.
const OSC_UNRECOGNIZED_UUID: u32 = 1 << 2;
const OSC_CAPABILITIES_MASKED: u32 = 1 << 4;
/// PCI Firmware Specification, 4.5.1, control field: the features that a successor may control.
/// This is only the PCI Express capability of its own devices. Without that, Linux requests no
/// other feature, and leaves link power management (ASPM) alone (`negotiate_os_control()`).
///
/// Not granted are features whose messages go to the bridge above, which belongs to the first OS:
/// power management events, error reporting and latency tolerance reporting (bits 2, 3 and 5).
/// Downstream port containment (bit 7) depends on error reporting. The devices keep what the first
/// OS has set up for these features. Hot plug (bits 0 and 1) is not granted either: the first OS
/// must get back the devices that it gave.
const OSC_GRANTED: u32 = 1 << 4;

/// Writes `_OSC` (6.2.11) of a PCI Express host bridge. Linux repeats the request until no
/// capability is masked, and only then takes control (`acpi_pci_osc_control_set()`).
fn operating_system_capabilities(w: &mut aml::Writer<'_>) {
    use Operand::{Arg, Buffer, Integer, Local, Name};
    const STATUS: Operand<'_> = Name(*b"STAT");
    const CONTROL: Operand<'_> = Name(*b"CTRL");
    w.method(*b"_OSC", 4, |w| {
        w.create_dword_field(Arg(3), 0, *b"STAT");
        w.if_equal(Arg(0), Buffer(&OSC_UUID), |w| {
            w.create_dword_field(Arg(3), 8, *b"CTRL");
            w.and(CONTROL, Integer(OSC_GRANTED), Local(0));
            w.if_not_equal(Local(0), CONTROL, |w| {
                w.or(STATUS, Integer(OSC_CAPABILITIES_MASKED), STATUS);
            });
            w.store(Local(0), CONTROL);
        });
        w.or_else(|w| w.or(STATUS, Integer(OSC_UNRECOGNIZED_UUID), STATUS));
        w.return_value(Arg(3));
    });
}
