// SPDX-License-Identifier: GPL-2.0

//! The PCI functions of an OS: takes them from the first OS, and gives them back.

use crate::linux::errno::EOPNOTSUPP;
use crate::{
    firmware::host_bridge::{ecam_of, HostBridge, MAX_BRIDGES},
    image::{kernel_image::Mode, layout::FOUR_GIB},
    linux::log::Shown,
    memory::memmap::Range,
    pci::{
        claims::{self, Claim, DRIVER},
        device_use::Unused,
        function::{PciFunction, SavedState},
        iommu::{self, DmaMap},
        mcfg::Mcfg,
        unit::{self, Function, Request, Unit},
    },
};
use kernel::{prelude::*, str::CString};

/// The functions of the machine, and which of them an OS asks for.
struct Selection {
    functions: KVec<PciFunction>,
    described: KVec<Function>,
}

impl Selection {
    /// Finds the functions that `os` asks for by `requests`.
    ///
    /// # Errors
    ///
    /// `ENODEV` if a function does not exist; `EINVAL` if it can't be given away; `EBUSY` if it
    /// belongs to another OS, or if somebody has set its driver override; `EOPNOTSUPP` if the first
    /// OS remaps its interrupts; those of [`iommu::check`]; the log says which function. `ENOMEM`.
    fn new(requests: &[Request], os: &CString) -> Result<Self> {
        // Most OSes ask for nothing.
        let functions = match requests {
            [] => KVec::new(),
            _ => PciFunction::all()?,
        };
        let mut described = KVec::with_capacity(functions.len(), GFP_KERNEL)?;
        for function in &functions {
            described.push(function.describe(), GFP_KERNEL)?;
        }
        if let Err(error) = unit::select(&mut described, requests) {
            pr_err!("{}: devices: {}\n", &**os, Shown(error));
            for address in unit::missing(&described) {
                pr_err!("{}: {} has to come along\n", &**os, Shown(address));
            }
            return Err(match error {
                unit::Error::NotThere(_) => ENODEV,
                _ => EINVAL,
            });
        }
        let selection = Selection {
            functions,
            described,
        };
        for function in selection.wanted() {
            claims::check(function.address(), os)?;
            if function.has_override() {
                pr_err!(
                    "{}: the driver of {} is chosen by its driver_override: write an empty line there first\n",
                    &**os,
                    Shown(function.address())
                );
                return Err(EBUSY);
            }
            if function.has_isolated_msi() {
                pr_err!(
                    "{}: the first OS remaps the interrupts of {}, which then can't reach another OS: boot the first OS with intremap=off\n",
                    &**os,
                    Shown(function.address())
                );
                return Err(EOPNOTSUPP.into());
            }
        }
        iommu::check(selection.wanted(), os)?;
        Ok(selection)
    }

    fn wanted(&self) -> impl Iterator<Item = &PciFunction> + Clone {
        let all = self.functions.iter().zip(&self.described);
        all.filter(|(_, described)| described.wanted)
            .map(|(function, _)| function)
    }

    /// Returns the host bridges that the OS sees instead of the bridges above the wanted functions.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` if the machine's MCFG table has no ECAM for a bridge, `E2BIG` if there are too
    /// many bridges.
    fn bridges(&self, os: &CString) -> Result<KVec<HostBridge>> {
        let mcfg = Mcfg::get();
        let mut bridges = KVec::new();
        for unit in unit::units(&self.described) {
            let Unit {
                domain,
                first_bus,
                last_bus,
            } = unit;
            let first = self
                .wanted()
                .find(|function| unit.is_above(&function.address()))
                .ok_or(ENODEV)?;
            // Linux accesses the configuration space of segment 0 by I/O ports (raw_pci_read(),
            // arch/x86/pci/common.c), so the OS's segments start at 1.
            let ecam = domain
                .checked_add(1)
                .zip(ecam_of(mcfg.bytes(), domain, first_bus))
                // The ECAM must cover the last bus of the unit too.
                .filter(|_| ecam_of(mcfg.bytes(), domain, last_bus).is_some());
            let Some((segment, ecam)) = ecam else {
                pr_err!(
                    "{}: the machine has no ECAM (ACPI table MCFG) for bus {:04x}:{:02x}\n",
                    &**os,
                    domain,
                    first_bus
                );
                return Err(EOPNOTSUPP.into());
            };
            bridges.push(first.bridge_above(&unit, segment, ecam), GFP_KERNEL)?;
        }
        if bridges.len() > MAX_BRIDGES {
            pr_err!(
                "{}: devices below {} bridges are too many: {} at most\n",
                &**os,
                bridges.len(),
                MAX_BRIDGES
            );
            return Err(E2BIG);
        }
        Ok(bridges)
    }
}

/// Checks whether `os` could get the functions that it asks for by `requests`.
///
/// # Errors
///
/// Those of [`Devices::take`], except for functions that are in use.
pub(crate) fn check(requests: &[Request], os: &CString) -> Result {
    Selection::new(requests, os)?.bridges(os).map(|_| ())
}

/// A function that belongs to an OS.
struct Held {
    function: PciFunction,
    /// Whether it had a driver of the first OS, and gets one at the end.
    had_driver: bool,
    phase: Phase,
    /// The function has its old configuration, and no OS has used it since it was reset. So a driver
    /// of the first OS can take it.
    is_whole: bool,
    // Dropped last: nobody else may claim the function before it has its driver back.
    claim: Claim,
}

/// How far a function has been prepared for an OS.
enum Phase {
    /// It still has its driver of the first OS.
    Claimed,
    /// It has Mint's driver.
    Kept,
    /// The device is enabled: its BARs are decoded.
    Enabled,
    /// It is ready for the OS; this is its configuration from before.
    Ready(SavedState),
}

impl Held {
    /// Replaces the function's driver with Mint's.
    fn keep(&mut self, os: &CString) -> Result {
        self.function.set_override(DRIVER)?;
        self.phase = Phase::Kept;
        self.function.unbind();
        self.function.bind();
        // A function that was found anew at this address would be bound to Mint's driver as well,
        // so check that this one still exists.
        if claims::is_kept(self.function.address()) && self.function.is_there() {
            return Ok(());
        }
        pr_err!(
            "{}: {} can't be taken from its driver\n",
            &**os,
            Shown(self.function.address())
        );
        Err(EBUSY)
    }

    fn make_ready(&mut self, os: &CString) -> Result {
        let mut enable = || {
            if let Phase::Kept = self.phase {
                self.function.enable()?;
                self.phase = Phase::Enabled;
            }
            self.function.quiesce()?;
            self.phase = Phase::Ready(self.function.save()?);
            Ok(())
        };
        enable().inspect_err(|error: &Error| {
            pr_err!(
                "{}: {} can't be made ready (error {})\n",
                &**os,
                Shown(self.function.address()),
                error.to_errno()
            );
        })
    }

    /// Switches to the new device, if the first OS has lost the function and found one in its
    /// place. Returns whether it did.
    ///
    /// # Errors
    ///
    /// Those of making the new function ready.
    fn renew(&mut self, os: &CString) -> Result<bool> {
        let found = self.claim.found_again();
        let is_new = found.is_some();
        if let Some(function) = found {
            self.function = function;
            self.phase = Phase::Kept;
        }
        // An earlier attempt may have failed.
        if !matches!(self.phase, Phase::Ready(_)) && self.function.is_there() {
            self.make_ready(os)?;
        }
        Ok(is_new)
    }

    /// Restores the configuration from when the function was taken, after its unit was reset with
    /// the result `reset`.
    fn restore(&mut self, reset: Result) -> Result {
        // A function that the first OS has lost can't be configured.
        let restored = match &self.phase {
            Phase::Ready(state) if self.function.is_there() => self.function.restore(state),
            _ => Ok(()),
        };
        let result = reset.and(restored);
        self.is_whole = result.is_ok();
        result
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Phase::Claimed = self.phase {
            return;
        }
        let _ = self.function.set_override(c"");
        self.function.unbind();
        if !self.function.is_there() {
            return;
        }
        if let Phase::Enabled | Phase::Ready(_) = self.phase {
            self.function.disable();
        }
        if self.is_whole {
            self.function.allow_intx();
            if self.had_driver {
                self.function.bind();
            }
        } else {
            pr_err!(
                "{} could not be reset, and is left without a driver\n",
                Shown(self.function.address())
            );
        }
    }
}

/// The functions of an OS. Dropping this resets them and gives them back to the first OS's drivers;
/// the OS's CPUs must be parked by then.
pub(crate) struct Devices {
    os: CString,
    /// The memory that their DMA may reach.
    memory: KVec<Range>,
    bridges: KVec<HostBridge>,
    units: KVec<Unit>,
    /// Whether the OS may have used the functions.
    is_given: bool,
    /// Whether a bridge above a unit passes no DMA.
    is_blocked: bool,
    /// Whether a function was found anew since the memory was mapped for DMA.
    is_map_stale: bool,
    // Dropped before `held`: the maps must be gone when the functions get their drivers back.
    maps: KVec<DmaMap>,
    held: KVec<Held>,
}

impl Devices {
    /// Returns no functions, for `os`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn none(os: &CString) -> Result<Self> {
        Ok(Devices {
            os: CString::try_from(&**os)?,
            memory: KVec::new(),
            bridges: KVec::new(),
            units: KVec::new(),
            is_given: false,
            is_blocked: false,
            is_map_stale: true,
            maps: KVec::new(),
            held: KVec::new(),
        })
    }

    /// Takes the functions that `os` asks for by `requests` from the first OS's drivers. This takes
    /// as long as these drivers need.
    ///
    /// # Errors
    ///
    /// `ENODEV` if a function does not exist; `EINVAL` if it can't be given away; `EBUSY` if it may
    /// be in use, or belongs to another OS; `EOPNOTSUPP` if it has no ECAM, or the first OS remaps
    /// its interrupts; the log says which function. `ENOMEM`.
    pub(crate) fn take(requests: &[Request], os: &CString) -> Result<Self> {
        let selection = Selection::new(requests, os)?;
        let mut devices = Devices::none(os)?;
        devices.bridges = selection.bridges(os)?;
        for unit in unit::units(&selection.described) {
            devices.units.push(unit, GFP_KERNEL)?;
        }
        let Selection {
            functions,
            described,
        } = selection;
        for (function, described) in functions.into_iter().zip(described) {
            if described.wanted {
                let units = &mut devices.units.iter();
                let unit = units.find(|unit| unit.has(&function.address()));
                let held = Held {
                    claim: Claim::new(&function, *unit.ok_or(ENODEV)?, os)?,
                    had_driver: function.has_driver(),
                    function,
                    phase: Phase::Claimed,
                    is_whole: true,
                };
                devices.held.push(held, GFP_KERNEL)?;
            }
        }
        // Held until the drivers are unbound, so that nobody starts to use a device in between.
        let mut unused = Unused::new(os)?;
        for held in &devices.held {
            unused.add(&held.function)?;
        }
        // In reverse order: the functions below a bridge come before the bridge.
        for held in devices.held.iter_mut().rev() {
            held.keep(os)?;
        }
        Ok(devices)
    }

    /// Gets the functions ready for a kernel that is entered in `mode`. If there is an IOMMU, their
    /// DMA then reaches `memory` only.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the kernel does not reach a function; `ENOTTY` if a function can't be reset;
    /// those of mapping the memory; the log says which function. `ENOMEM`.
    pub(crate) fn give(&mut self, mode: Mode, memory: &[Range]) -> Result {
        self.check_reach(mode)?;
        self.memory.extend_from_slice(memory, GFP_KERNEL)?;
        for held in self.held.iter_mut() {
            held.make_ready(&self.os)?;
        }
        let result = self.make_ready();
        // From here on, dropping this resets the functions.
        self.is_given = result.is_ok();
        if result.is_err() {
            // No OS has used them, so the first OS's drivers can take them as they are.
            self.held.iter_mut().for_each(|held| held.is_whole = true);
        }
        result
    }

    /// Checks that a kernel that is entered in `mode` reaches all functions.
    ///
    /// # Errors
    ///
    /// `EINVAL` if a 32-bit kernel does not reach one; the log says what is out of reach.
    fn check_reach(&self, mode: Mode) -> Result {
        let mut bridges = self.bridges.iter();
        if let Some(bridge) = bridges.find(|bridge| !bridge.is_reached_in(mode)) {
            pr_err!(
                "{}: a 32-bit kernel does not reach the configuration of bus {:02x}, which is above 4 GiB\n",
                &*self.os,
                bridge.first_bus
            );
            return Err(EINVAL);
        }
        let is_high = |function: &PciFunction| function.bars_end() > FOUR_GIB;
        if mode == Mode::Protected && self.functions().any(is_high) {
            pr_err!(
                "{}: a 32-bit kernel does not reach devices whose memory is above 4 GiB\n",
                &*self.os
            );
            return Err(EINVAL);
        }
        Ok(())
    }

    fn functions(&self) -> impl Iterator<Item = &PciFunction> + Clone {
        self.held.iter().map(|held| &held.function)
    }

    /// Makes the functions ready for use: resets them, restores the configuration from when they
    /// were taken, and maps the OS's memory for their DMA. They must be quiesced.
    ///
    /// # Errors
    ///
    /// Those of [`Devices::reset`], and of mapping the memory.
    pub(crate) fn make_ready(&mut self) -> Result {
        self.reset()?;
        if self.is_map_stale {
            self.maps = KVec::new();
            self.maps = DmaMap::for_all(self.functions(), &self.memory, &self.os)?;
            self.is_map_stale = false;
        }
        Ok(())
    }

    /// Returns the host bridges that the OS sees instead of the bridges above its functions.
    pub(crate) fn bridges(&self) -> &[HostBridge] {
        &self.bridges
    }

    /// Stops the functions' DMA. Where a function goes on, or does not answer, the bridge above its
    /// unit stops the DMA of the whole unit.
    ///
    /// # Errors
    ///
    /// `EIO` if a bridge fails to do so; the log says which function goes on. Those of making ready
    /// a function that was found anew.
    pub(crate) fn quiesce(&mut self) -> Result {
        let mut result = Ok(());
        for held in &mut self.held {
            match held.renew(&self.os) {
                Ok(is_new) => self.is_map_stale |= is_new,
                Err(error) => result = Err(error),
            }
        }
        for held in &self.held {
            let function = &held.function;
            if function.quiesce().is_ok() {
                continue;
            }
            let above = self.unit_of(function).and_then(|unit| self.first_of(unit));
            match above.ok_or(EIO).and_then(PciFunction::block_dma) {
                Ok(()) => {
                    self.is_blocked = true;
                    pr_warn!(
                        "{}: {} does not answer, or does not stop using memory: the bridge above stops it\n",
                        &*self.os,
                        Shown(function.address())
                    );
                }
                Err(error) => {
                    pr_err!(
                        "{}: {} does not stop using memory: its memory and CPUs are kept\n",
                        &*self.os,
                        Shown(function.address())
                    );
                    result = Err(error);
                }
            }
        }
        result
    }

    /// Resets the functions, and restores the configuration from when they were taken.
    ///
    /// # Errors
    ///
    /// `ENOTTY` if a function can't be reset, and those of the reset; the log says which. The other
    /// functions are reset nevertheless.
    fn reset(&mut self) -> Result {
        let mut result = Ok(());
        let mut is_blocked = false;
        for unit in &self.units {
            let reset = reset_unit(&self.held, unit, &self.os);
            for held in &mut self.held {
                if unit.has(&held.function.address()) {
                    result = result.and(held.restore(reset));
                }
            }
            match self.first_of(unit) {
                Some(first) if reset.is_ok() && self.is_blocked => first.unblock_dma(),
                _ => is_blocked |= self.is_blocked,
            }
        }
        self.is_blocked = is_blocked;
        result
    }

    /// Returns the unit of `function`.
    fn unit_of(&self, function: &PciFunction) -> Option<&Unit> {
        let mut units = self.units.iter();
        units.find(|unit| unit.has(&function.address()))
    }

    /// Returns a function that is directly below the bridge above `unit`.
    fn first_of(&self, unit: &Unit) -> Option<&PciFunction> {
        self.functions()
            .find(|function| unit.is_above(&function.address()))
    }
}

/// Resets the functions of `held` that are in `unit`, for `os`.
fn reset_unit(held: &[Held], unit: &Unit, os: &CString) -> Result {
    let functions = || {
        let all = held.iter().map(|held| &held.function);
        all.filter(|function| unit.has(&function.address()) && function.is_there())
    };
    functions().for_each(PciFunction::wake);
    // A bridge can only be reset along with everything below it.
    let has_resets = functions().all(|function| function.has_reset() && !function.is_bridge());
    if has_resets && functions().try_for_each(PciFunction::reset).is_ok() {
        return Ok(());
    }
    let Some(first) = functions().find(|function| unit.is_above(&function.address())) else {
        // The function on this bus is gone.
        return Ok(());
    };
    first.reset_bus().inspect_err(|error| {
        pr_err!(
            "{}: {} can't be reset (error {})\n",
            &**os,
            Shown(first.address()),
            error.to_errno()
        );
    })
}

impl Drop for Devices {
    fn drop(&mut self) {
        if !self.is_given {
            return;
        }
        // Failures have been logged.
        let quiet = self.quiesce();
        let _ = self.reset();
        if quiet.is_err() {
            self.held.iter_mut().for_each(|held| held.is_whole = false);
        }
    }
}
