// SPDX-License-Identifier: GPL-2.0

//! Starting an OS's kernel on its CPUs, and parking them.

use crate::{
    cpu_offline::{self, OwnedCpu},
    firmware::{
        host_bridge::HostBridge,
        mailbox, {acpi, boot_params, efi},
    },
    image::{
        identity_map,
        kernel_image::Mode,
        layout::{self, Layout},
        setup_header::SetupHeader,
    },
    linux::{log::Shown, phys_memory::Mapping},
    machine::{
        assembled::assembled,
        local_apic::LocalApic,
        wakeup::{EntryMode, Purpose, Stage, Trampoline, ANSWER_LIMIT, FIRST_LIMIT},
    },
    memory::memmap::Range,
    os_instance::timing::{Phase, Span, Timing},
};
use kernel::{prelude::*, str::CString};

/// What a kernel is told beside what lies in its memory already.
pub(crate) struct Told<'a> {
    /// Its setup header.
    pub(crate) setup_header: &'a SetupHeader,
    /// Its command line.
    pub(crate) command_line: &'a CStr,
    /// The I/O port of its serial port, if it has one.
    pub(crate) console: Option<u16>,
    /// Its PCI host bridges.
    pub(crate) bridges: &'a [HostBridge],
    /// How it is entered.
    pub(crate) mode: Mode,
    /// The offset of its entry from its start.
    pub(crate) entry: u64,
    /// Whether it knows EFI firmware.
    pub(crate) efi: bool,
}

/// The CPUs of an OS, and where they start and park.
pub(crate) struct Cpus<'a> {
    /// The OS's name.
    pub(crate) os: &'a CString,
    /// By what they are reset and woken.
    pub(crate) apic: &'a LocalApic,
    /// Where everything of the OS lies.
    pub(crate) layout: &'a Layout,
    /// The root of page tables by which a CPU comes to long mode.
    pub(crate) stepping_stone: u32,
    /// The CPUs, the one first that is started.
    pub(crate) cpus: &'a [OwnedCpu],
    /// The page of the layout in which they wake up.
    pub(crate) trampoline: &'a mut Trampoline,
}

impl Cpus<'_> {
    /// Writes what the kernel is told, resets all CPUs, and starts the kernel on the first. How
    /// long that takes goes to `timing`.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT` if the CPU did not get as far as the kernel, `EIO` if an IPI was not delivered,
    /// `ENOMEM` if there is no room for a mapping, `E2BIG` if what is told does not fit.
    ///
    /// # Safety
    ///
    /// The memory of the layout must be the OS's, the kernel and the initrd in it, and none of the
    /// CPUs may run in it.
    pub(crate) unsafe fn start(&mut self, told: &Told<'_>, timing: &mut Timing) -> Result {
        // SAFETY: The caller's promise.
        let purpose = timing.measure(Phase::Tables, || unsafe { self.write_tables(told) })?;
        // All of them leave the first OS's idle loop; the kernel starts the others itself.
        let apic_ids = self.cpus.iter().map(OwnedCpu::apic_id);
        timing.measure(Phase::Reset, || self.apic.init(apic_ids))?;
        let first = self.cpus.first().ok_or(EINVAL)?;
        let (span, result) = Span::of(|| self.wake(first, &purpose));
        timing.set(Phase::Entry, span);
        result.inspect_err(|_| {
            pr_err!(
                "{}: CPU {} did not start the kernel\n",
                &**self.os,
                first.number()
            );
        })
    }

    /// Writes the firmware, and the page tables if the kernel is entered with some.
    ///
    /// # Safety
    ///
    /// As for [`Cpus::start`].
    unsafe fn write_tables(&self, told: &Told<'_>) -> Result<Purpose> {
        let layout = self.layout;
        // SAFETY: The firmware area is the OS's, and none of its CPUs runs.
        let mut firmware = unsafe { Mapping::new(layout.firmware) }?;
        self.write_firmware(firmware.bytes(), told)?;
        drop(firmware);
        let mode = match told.mode {
            Mode::Protected => EntryMode::Protected,
            // SAFETY: The caller's promise.
            Mode::Long => unsafe { self.write_page_tables() }?,
        };
        Ok(Purpose::Start {
            mode,
            entry: layout.kernel.start() + told.entry,
            boot_params: layout.boot_params.start(),
        })
    }

    /// Writes the page tables that a 64-bit kernel is entered with.
    ///
    /// # Safety
    ///
    /// As for [`Cpus::start`].
    unsafe fn write_page_tables(&self) -> Result<EntryMode> {
        let layout = self.layout;
        // SAFETY: They are the OS's, and none of its CPUs runs.
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
            stepping_stone: self.stepping_stone,
            root,
        })
    }

    /// Resets the CPUs, and proves of each that it runs nothing of the OS any more: it answers from
    /// the trampoline, and is then reset for good.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT` if one does not answer, `EIO` if an IPI was not delivered. No memory is needed.
    ///
    /// # Safety
    ///
    /// The memory of the layout must be the OS's.
    pub(crate) unsafe fn park(&mut self) -> Result {
        self.apic.init(self.cpus.iter().map(OwnedCpu::apic_id))?;
        for cpu in self.cpus {
            self.wake(cpu, &Purpose::Park).inspect_err(|_| {
                pr_err!(
                    "{}: CPU {} can't be proved parked: its memory and CPUs are kept\n",
                    &**self.os,
                    cpu.number()
                );
            })?;
            self.apic.init(core::iter::once(cpu.apic_id()))?;
        }
        Ok(())
    }

    /// Wakes `cpu`, which waits for a startup IPI, and waits until it has done what it was to do.
    fn wake(&mut self, cpu: &OwnedCpu, purpose: &Purpose) -> Result {
        let page = self.layout.low.trampoline();
        let trampoline = &mut *self.trampoline;
        // SAFETY: The page is the OS's, whose CPUs have all been reset.
        unsafe { trampoline.prepare(purpose) };
        self.apic.startup(cpu.apic_id(), page)?;
        let answer = match trampoline.wait(FIRST_LIMIT) {
            Err(Stage::NONE) => {
                // The protocol has a second startup IPI; a CPU that took the first ignores it.
                self.apic.startup(cpu.apic_id(), page)?;
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

    /// Writes `boot_params`, the command line, and the ACPI and EFI firmware into `area`, the
    /// firmware area.
    fn write_firmware(&self, area: &mut [u8], told: &Told<'_>) -> Result {
        let layout = self.layout;
        area.fill(0);
        let at = |range: &Range| {
            let start = (range.start() - layout.firmware.start()) as usize;
            start..start + range.len() as usize
        };

        let machine = acpi::Machine {
            cpus: self.cpus.iter().map(OwnedCpu::apic_id),
            decoy: acpi::decoy(cpu_offline::apic_id_exists),
            ioapic: layout.low.ioapic(),
            sleep_register: layout.mailbox.start() + mailbox::SLEEP as u64,
            console: told.console,
            bridges: told.bridges,
        };
        let tables = area.get_mut(at(&layout.acpi)).ok_or(EINVAL)?;
        let rsdp = acpi::write(tables, layout.acpi.start(), &machine).ok_or(E2BIG)?;

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
        let efi = efi::write(tables, memory_map, layout, rsdp, width).ok_or(E2BIG)?;

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

/// The EFI runtime services, as assembled.
fn efi_runtime(width: efi::Width) -> &'static [u8] {
    match width {
        efi::Width::Bits32 => assembled!(mint_efi_runtime32, mint_efi_runtime32_end),
        efi::Width::Bits64 => assembled!(mint_efi_runtime, mint_efi_runtime_end),
    }
}
