// SPDX-License-Identifier: GPL-2.0

//! Starts an OS's kernel on its CPUs.

use crate::{
    cpu_offline::{self, OwnedCpu},
    firmware::{
        host_bridge::HostBridge,
        mailbox, {acpi, boot_params, efi, smbios},
    },
    image::{
        identity_map,
        kernel_image::Mode,
        layout::{self, Layout},
        setup_header::SetupHeader,
    },
    linux::{acpi_processor, log::Shown, phys_memory::Mapping},
    machine::{
        assembled::assembled,
        wakeup::{Entry, EntryMode, Stage, Trampoline, ANSWER_LIMIT, FIRST_LIMIT},
        Machine,
    },
    memory::memmap::Range,
    os_instance::timing::{Phase, Span, Timing},
};
use kernel::{prelude::*, str::CString};

/// The facts that the firmware and `boot_params` tell a kernel.
pub(crate) struct Told<'a> {
    /// Its setup header.
    pub(crate) setup_header: &'a SetupHeader,
    /// Its command line.
    pub(crate) command_line: &'a CStr,
    /// The I/O port of its serial port, if it has one.
    pub(crate) console: Option<u16>,
    /// What its SMBIOS says.
    pub(crate) system: smbios::System<'a>,
    /// Its PCI host bridges.
    pub(crate) bridges: &'a [HostBridge],
    /// The CPU mode in which it is entered.
    pub(crate) mode: Mode,
    /// The offset of its entry point from its load address.
    pub(crate) entry: u64,
    /// Whether it supports EFI.
    pub(crate) efi: bool,
}

/// The CPUs of an OS, and what is needed to start them.
pub(crate) struct Cpus<'a> {
    /// The OS's name.
    pub(crate) os: &'a CString,
    /// What parks and wakes them.
    pub(crate) machine: &'a Machine,
    /// The layout of the OS's memory.
    pub(crate) layout: &'a Layout,
    /// The CPUs; the first one boots the kernel.
    pub(crate) cpus: &'a [OwnedCpu],
    /// The trampoline's page of the layout, where the first CPU wakes up.
    pub(crate) trampoline: &'a mut Trampoline,
}

impl Cpus<'_> {
    /// Writes firmware and page tables, parks all CPUs, and starts the kernel on the first one.
    /// Records the duration in `timing`.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT` if a CPU could not be parked or did not get as far as the kernel, `EIO` if an
    /// IPI was not delivered, `ESHUTDOWN` if the first OS is going down, `ENOMEM` if memory can't be
    /// mapped, `E2BIG` if the firmware's tables do not fit.
    ///
    /// # Safety
    ///
    /// The memory of the layout must belong to the OS and contain the kernel and the initrd, and
    /// none of the CPUs may run in it.
    pub(crate) unsafe fn start(&mut self, told: &Told<'_>, timing: &mut Timing) -> Result {
        // SAFETY: This function has the same safety requirements.
        let entry = timing.measure(Phase::Tables, || unsafe { self.write_tables(told) })?;
        let first = self.cpus.first().ok_or(EINVAL)?;
        timing.measure(Phase::Reset, || {
            // All CPUs leave the first OS's idle loop. The kernel starts the other CPUs itself.
            let machine = self.machine;
            machine.rest_page.park(&machine.apic, self.cpus, self.os)?;
            machine.apic.init(core::slice::from_ref(first))
        })?;
        let (span, result) = Span::of(|| self.wake(first, &entry));
        timing.set(Phase::Entry, span);
        result.inspect_err(|_| {
            pr_err!(
                "{}: CPU {} did not start the kernel\n",
                &**self.os,
                first.number()
            );
        })
    }

    /// Writes the firmware, and for a 64-bit kernel the page tables.
    ///
    /// # Safety
    ///
    /// Those of [`Cpus::start`].
    unsafe fn write_tables(&self, told: &Told<'_>) -> Result<Entry> {
        let layout = self.layout;
        // SAFETY: The caller guarantees that the firmware area belongs to the OS, and that none of
        // its CPUs runs in it.
        let mut firmware = unsafe { Mapping::new(layout.firmware) }?;
        self.write_firmware(firmware.bytes(), told)?;
        drop(firmware);
        let mode = match told.mode {
            Mode::Protected => EntryMode::Protected,
            // SAFETY: This function has the same safety requirements.
            Mode::Long => unsafe { self.write_page_tables() }?,
        };
        Ok(Entry {
            mode,
            address: layout.kernel.start() + told.entry,
            boot_params: layout.boot_params.start(),
        })
    }

    /// Writes the page tables that a 64-bit kernel is entered with.
    ///
    /// # Safety
    ///
    /// Those of [`Cpus::start`].
    unsafe fn write_page_tables(&self) -> Result<EntryMode> {
        let layout = self.layout;
        // SAFETY: The caller guarantees that the page tables belong to the OS, and that none of its
        // CPUs runs on them.
        let mut tables = unsafe { Mapping::new(layout.page_tables) }?;
        let root = layout.page_tables.start();
        let first = Range::new(0, layout::PAGE).ok_or(EINVAL)?;
        identity_map::build(
            tables.bytes(),
            root,
            &[first, layout.firmware, layout.kernel],
        )
        .ok_or(EINVAL)?;
        Ok(EntryMode::Long {
            stepping_stone: self.machine.stepping_stone.root(),
            root,
        })
    }

    /// Wakes `cpu`, which must be waiting for a startup IPI, and waits until it enters the kernel.
    fn wake(&mut self, cpu: &OwnedCpu, entry: &Entry) -> Result {
        let page = self.layout.low.trampoline();
        let trampoline = &mut *self.trampoline;
        // SAFETY: The page belongs to the OS, and all its CPUs have been reset, so none of them
        // runs in the page.
        unsafe { trampoline.prepare(entry) };
        // SAFETY: The OS owns the CPU. The page has the trampoline, which enters the OS's kernel.
        unsafe { self.machine.apic.startup(cpu.apic_id(), page) }?;
        let answer = match trampoline.wait(FIRST_LIMIT) {
            Err(Stage::NONE) => {
                // The INIT-SIPI-SIPI protocol has a second startup IPI; a CPU that took the first
                // ignores it.
                // SAFETY: As for the first.
                unsafe { self.machine.apic.startup(cpu.apic_id(), page) }?;
                trampoline.wait(ANSWER_LIMIT)
            }
            Err(_) => trampoline.wait(ANSWER_LIMIT),
            Ok(()) => Ok(()),
        };
        answer.map_err(|stage| {
            pr_err!(
                "{}: CPU {} (APIC ID {}) was woken: {}\n",
                &**self.os,
                cpu.number(),
                cpu.apic_id(),
                Shown(stage)
            );
            ETIMEDOUT
        })
    }

    /// Writes `boot_params`, the command line, and the ACPI, SMBIOS and EFI firmware into `area`, the
    /// firmware area.
    fn write_firmware(&self, area: &mut [u8], told: &Told<'_>) -> Result {
        let layout = self.layout;
        area.fill(0);
        let at = |range: &Range| {
            let start = (range.start() - layout.firmware.start()) as usize;
            start..start + range.len() as usize
        };

        let ids = self.cpus.iter().map(OwnedCpu::apic_id);
        let power = acpi_processor::power_of(ids.clone());
        let machine = acpi::Machine {
            cpus: ids,
            decoy: acpi::decoy(cpu_offline::apic_id_exists),
            ioapic: layout.low.ioapic(),
            sleep_register: layout.mailbox.start() + mailbox::SLEEP as u64,
            console: told.console,
            bridges: told.bridges,
            power: power.as_ref(),
        };
        let tables = area.get_mut(at(&layout.acpi)).ok_or(EINVAL)?;
        let rsdp = acpi::write(tables, layout.acpi.start(), &machine).ok_or(E2BIG)?;
        let tables = area.get_mut(at(&layout.smbios)).ok_or(EINVAL)?;
        let smbios = smbios::write(tables, layout.smbios.start(), &told.system).ok_or(E2BIG)?;
        let pointers = efi::Pointers { rsdp, smbios };

        let width = match told.mode {
            Mode::Protected => efi::Width::Bits32,
            Mode::Long => efi::Width::Bits64,
        };
        let (efi, services) = (&layout.efi, efi_runtime(width));
        area.get_mut(at(&efi.code))
            .and_then(|page| page.get_mut(..services.len()))
            .ok_or(E2BIG)?
            .copy_from_slice(services);
        let (before, memory_map) = area
            .split_at_mut_checked(at(&efi.memory_map).start)
            .ok_or(EINVAL)?;
        let tables = before
            .get_mut(at(&efi.tables))
            .and_then(|page| page.try_into().ok())
            .ok_or(EINVAL)?;
        let memory_map = memory_map.first_chunk_mut().ok_or(EINVAL)?;
        let efi = efi::write(tables, memory_map, layout, &pointers, width).ok_or(E2BIG)?;

        let page = area.get_mut(at(&layout.boot_params)).ok_or(EINVAL)?;
        boot_params::write(
            page.try_into().map_err(|_| EINVAL)?,
            told.setup_header,
            layout,
            told.bridges,
            rsdp,
            told.efi.then_some(efi),
        );

        let line = told.command_line.to_bytes_with_nul();
        let page = area.get_mut(at(&layout.command_line)).ok_or(EINVAL)?;
        page.get_mut(..line.len())
            .ok_or(E2BIG)?
            .copy_from_slice(line);
        Ok(())
    }
}

/// Returns the assembled EFI runtime services.
fn efi_runtime(width: efi::Width) -> &'static [u8] {
    match width {
        // SAFETY: The start and the end of one object in `.rodata` (firmware/efi_runtime32.S).
        efi::Width::Bits32 => unsafe { assembled!(mint_efi_runtime32, mint_efi_runtime32_end) },
        // SAFETY: The start and the end of one object in `.rodata` (firmware/efi_runtime.S).
        efi::Width::Bits64 => unsafe { assembled!(mint_efi_runtime, mint_efi_runtime_end) },
    }
}
