// SPDX-License-Identifier: GPL-2.0

//! The ACPI tables of a successor: a hardware-reduced machine that has its CPUs, perhaps a serial
//! port, and nothing else.
//!
//! Reference: ACPI specification 6.3 (the version that the FADT claims), chapter 5; what Linux
//! makes of it: `acpi_generic_reduced_hw_init()` and `arch/x86/kernel/acpi/boot.c`.

use crate::firmware::aml;
use crate::memmap::Range;

/// What the tables tell.
#[derive(Clone, Copy, Debug)]
pub struct Machine<I> {
    /// The APIC IDs of its CPUs, the one that is started first.
    pub cpus: I,
    /// An APIC ID that no CPU of the machine has; see [`decoy`].
    pub decoy: u32,
    /// The address of what it takes for an I/O APIC.
    pub ioapic: u32,
    /// The byte that is its sleep control and its sleep status register.
    pub sleep_register: u64,
    /// The I/O port of its serial port, if it has one.
    pub console: Option<u16>,
}

/// `SLP_TYP` for the soft-off state S5.
pub const SLP_TYP_S5: u8 = 5;

const HEADER_LEN: usize = 36;
const RSDP_LEN: usize = 36;
const XSDT_LEN: usize = HEADER_LEN + 2 * 8;
const FADT_LEN: usize = 276;
const TABLE_ALIGN: usize = 64;

/// Highest APIC ID that fits a Processor Local APIC structure; 255 means all.
pub const XAPIC_ID_MAX: u32 = 254;
/// The physical address of every CPU's own local APIC.
const LOCAL_APIC_ADDRESS: u32 = 0xfee0_0000;

// 5.2.9.3, IA-PC Boot Architecture Flags. Clear: legacy devices, 8042.
const VGA_NOT_PRESENT: u16 = 1 << 2;
const CMOS_RTC_NOT_PRESENT: u16 = 1 << 5;

// Table 5-10, fixed feature flags.
const WBINVD: u32 = 1 << 0;
/// No power and no sleep button among the fixed hardware.
const PWR_BUTTON: u32 = 1 << 4;
const SLP_BUTTON: u32 = 1 << 5;
/// IPIs are addressed by APIC ID: the logical IDs that kernels give their CPUs count from each
/// system's own CPU 0 (`default_init_apic_ldr()`, 64-bit Linux before 6.12), so that those of one system
/// would be another's.
const FORCE_APIC_PHYSICAL_DESTINATION_MODE: u32 = 1 << 19;
const HW_REDUCED_ACPI: u32 = 1 << 20;

// Table 5-23, Local APIC flags.
const ENABLED: u32 = 1 << 0;
const ONLINE_CAPABLE: u32 = 1 << 1;

/// Chooses the decoy: an APIC ID for which `exists` is false for all CPUs of the machine.
///
/// The first CPU that the tables list is the machine's real boot CPU to Linux since 6.9, and
/// never started; would that be the successor's own first CPU, it would believe to be a crash
/// kernel and use no other (`check_for_real_bsp()`). Older kernels send INIT to any CPU they are
/// told is enabled. So the decoy is listed first, not enabled but online capable (a CPU that is
/// not there yet), and no CPU answers to its ID.
pub fn decoy(exists: impl Fn(u32) -> bool) -> u32 {
    (0..=XAPIC_ID_MAX)
        .rev()
        .chain(XAPIC_ID_MAX + 2..u32::MAX)
        .find(|&id| !exists(id))
        .unwrap_or(XAPIC_ID_MAX)
}

/// Writes the tables to `out`, which lies at physical address `at`, and returns the address of
/// the RSDP; [`None`] if they do not fit.
pub fn write<I>(out: &mut [u8], at: u64, machine: &Machine<I>) -> Option<u64>
where
    I: Iterator<Item = u32> + Clone,
{
    out.fill(0);
    // The RSDP comes first, since it has the address that is passed on.
    let mut tables = Tables {
        out,
        at,
        len: RSDP_LEN,
    };
    let dsdt = tables.add(*b"DSDT", 2, |body| dsdt(body, machine.console))?;
    let fadt = tables.add(*b"FACP", 6, |body| {
        fadt(body, dsdt.start(), machine.sleep_register)
    })?;
    let madt = tables.add(*b"APIC", 5, |body| madt(body, machine))?;
    let xsdt = tables.add(*b"XSDT", 1, |body| {
        let mut entries = body.get_mut(..XSDT_LEN - HEADER_LEN)?.chunks_exact_mut(8);
        entries.next()?.copy_from_slice(&fadt.start().to_le_bytes());
        entries.next()?.copy_from_slice(&madt.start().to_le_bytes());
        Some(XSDT_LEN - HEADER_LEN)
    })?;
    rsdp(tables.out.first_chunk_mut()?, xsdt.start());
    Some(at)
}

/// The tables written so far, one behind the other.
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

/// The byte that makes the sum of `bytes` and itself 0.
fn checksum(bytes: &[u8]) -> u8 {
    bytes
        .iter()
        .fold(0u8, |sum, &byte| sum.wrapping_add(byte))
        .wrapping_neg()
}

/// 5.2.5.3, Root System Description Pointer, revision 2.
fn rsdp(out: &mut [u8; RSDP_LEN], xsdt: u64) {
    out[0..8].copy_from_slice(b"RSD PTR ");
    out[9..15].copy_from_slice(b"MINT  ");
    out[15] = 2;
    out[20..24].copy_from_slice(&(RSDP_LEN as u32).to_le_bytes());
    out[24..32].copy_from_slice(&xsdt.to_le_bytes());
    // The first checksum covers the fields of revision 0, the extended one all.
    out[8] = checksum(&out[..20]);
    out[32] = checksum(&out[..]);
}

/// 5.2.9, Fixed ACPI Description Table. Offsets are the specification's.
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
    // FADT Minor Version: from 6.3 on, "online capable" in the MADT counts.
    put(131, &[3]);
    put(140, &dsdt.to_le_bytes());
    // Linux writes WAK_STS to the status, SLP_TYP and SLP_EN to the control register, and waits
    // for WAK_STS in the status (acpi_hw_extended_sleep()). Both being the same byte, that never
    // comes: the core spins, where it would go on with an ACPI error message.
    let register = sleep_register.to_le_bytes();
    for offset in [244, 256] {
        // 5.2.3.2, Generic Address Structure: system memory, 8 bits wide, byte access.
        put(offset, &[0, 8, 0, 1]);
        put(offset + 4, &register);
    }
    Some(body.len())
}

/// 5.2.12, Multiple APIC Description Table.
fn madt<I>(body: &mut [u8], machine: &Machine<I>) -> Option<usize>
where
    I: Iterator<Item = u32> + Clone,
{
    let mut len = 0;
    let mut put = |bytes: &[u8]| {
        body.get_mut(len..len + bytes.len())?.copy_from_slice(bytes);
        len += bytes.len();
        Some(())
    };
    put(&LOCAL_APIC_ADDRESS.to_le_bytes())?;
    // Flags: no PC-AT compatible pair of 8259s.
    put(&[0; 4])?;

    let cpus = machine.cpus.clone().map(|id| (id, ENABLED));
    let all = core::iter::once((machine.decoy, ONLINE_CAPABLE)).chain(cpus);
    // The APIC ID is the processor's UID as well: unique, and of one byte where there is no room
    // for more. An x2APIC structure with an ID below 255 would be ignored (acpi_parse_x2apic()).
    for (id, flags) in all {
        if id <= XAPIC_ID_MAX {
            // 5.2.12.2, Processor Local APIC.
            put(&[0, 8, id as u8, id as u8])?;
            put(&flags.to_le_bytes())?;
        } else {
            // 5.2.12.12, Processor Local x2APIC.
            put(&[9, 16, 0, 0])?;
            put(&id.to_le_bytes())?;
            put(&flags.to_le_bytes())?;
            put(&id.to_le_bytes())?;
        }
    }
    // 5.2.12.3, I/O APIC, with Global System Interrupts from 0 on. With none, Linux sets up the
    // ELCR of the PIC (acpi_pic_sci_set_trigger()), and kernels with CONFIG_X86_MPPARSE look for
    // the machine's own.
    put(&[1, 12, 0, 0])?;
    put(&machine.ioapic.to_le_bytes())?;
    put(&[0; 4])?;
    Some(len)
}

/// 5.2.11.1, Differentiated System Description Table.
fn dsdt(body: &mut [u8], console: Option<u16>) -> Option<usize> {
    let mut aml = aml::Writer::new(body);
    let s5 = u32::from(SLP_TYP_S5);
    aml.root_name(*b"_S5_", |w| w.package(&[s5, s5, 0, 0]));
    if let Some(port) = console {
        aml.scope(*b"_SB_", |w| {
            w.device(*b"UAR0", |w| {
                // A 16550A-compatible port; no interrupt among its resources, so it is polled.
                w.name(*b"_HID", |w| w.eisa_id(*b"PNP0501"));
                w.name(*b"_UID", |w| w.integer(0));
                w.name(*b"_CRS", |w| w.resource_template(|w| w.io(port, 8)));
            });
        });
    }
    aml.finish()
}
