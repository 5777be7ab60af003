// SPDX-License-Identifier: GPL-2.0

//! The PCI functions of an OS, taken from the first OS and given back.

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
        iommu::DmaMap,
        mcfg::Mcfg,
        unit::{self, Function, Request, Unit},
    },
};
use kernel::{prelude::*, str::CString};

/// What is asked for, found among the functions of the machine.
struct Selection {
    functions: KVec<PciFunction>,
    described: KVec<Function>,
}

impl Selection {
    /// Finds what `os` asks for by `requests`.
    ///
    /// # Errors
    ///
    /// `ENODEV` for what is not there, `EINVAL` for what can't be given away, `EBUSY` for what is
    /// another OS's or has a driver by somebody's choice, `EOPNOTSUPP` for what has its interrupts
    /// remapped; the log says which. `ENOMEM`.
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
                    "{}: the first OS remaps the interrupts of {}, which then can't reach another: boot it with intremap=off\n",
                    &**os,
                    Shown(function.address())
                );
                return Err(EOPNOTSUPP.into());
            }
        }
        Ok(selection)
    }

    /// Checks that a kernel that is entered in `mode` reaches all, below `bridges`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if a 32-bit one does not; the log says what.
    fn check_reach(&self, bridges: &[HostBridge], mode: Mode, os: &CString) -> Result {
        if let Some(bridge) = bridges.iter().find(|bridge| !bridge.is_reached_in(mode)) {
            pr_err!(
                "{}: a 32-bit kernel does not reach the configuration of bus {:02x}, which is above 4 GiB\n",
                &**os,
                bridge.first_bus
            );
            return Err(EINVAL);
        }
        let mut wanted = self.wanted();
        if mode == Mode::Protected && wanted.any(|function| function.bars_end() > FOUR_GIB) {
            pr_err!(
                "{}: a 32-bit kernel does not reach devices whose memory is above 4 GiB\n",
                &**os
            );
            return Err(EINVAL);
        }
        Ok(())
    }

    fn wanted(&self) -> impl Iterator<Item = &PciFunction> {
        let all = self.functions.iter().zip(&self.described);
        all.filter(|(_, described)| described.wanted)
            .map(|(function, _)| function)
    }

    /// The host bridges that an OS sees instead of the bridges above what is wanted.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` if the machine tells of no ECAM for them, `E2BIG` if they are too many.
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
            // 0 is the one whose configuration Linux reads by ports (raw_pci_read(),
            // arch/x86/pci/common.c).
            let ecam = domain
                .checked_add(1)
                .zip(ecam_of(mcfg.bytes(), domain, first_bus))
                // An ECAM that ends among its buses is none for the last of them.
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

/// Checks whether `os` could have what it asks for by `requests`, as things are.
///
/// # Errors
///
/// Those of [`Devices::take`], but for what is in use.
pub(crate) fn check(requests: &[Request], os: &CString) -> Result {
    Selection::new(requests, os)?.bridges(os).map(|_| ())
}

/// A function that an OS has.
struct Held {
    function: PciFunction,
    phase: Phase,
    /// It was reset, and is configured as before, so that a driver of the first OS can have it.
    is_whole: bool,
    // Last, so that nobody else claims it before it has its driver back.
    claim: Claim,
}

/// How far a function has come on its way to an OS.
enum Phase {
    /// Its driver is its own.
    Claimed,
    /// Its driver is Mint's.
    Kept,
    /// Its addresses are decoded.
    Enabled,
    /// Its configuration was this.
    Ready(SavedState),
}

impl Held {
    /// Gives it Mint's driver.
    fn keep(&mut self, os: &CString) -> Result {
        self.function.set_override(DRIVER)?;
        self.phase = Phase::Kept;
        self.function.unbind();
        self.function.bind();
        // One that was found again would be kept as well.
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

    /// Goes on with what the first OS has found in its place, if it has lost it; returns whether it did.
    ///
    /// # Errors
    ///
    /// Those of making it ready.
    fn renew(&mut self, os: &CString) -> Result<bool> {
        let found = self.claim.found_again();
        let is_new = found.is_some();
        if let Some(function) = found {
            self.function = function;
            self.phase = Phase::Kept;
        }
        // It may have failed before.
        if !matches!(self.phase, Phase::Ready(_)) && self.function.is_there() {
            self.make_ready(os)?;
        }
        Ok(is_new)
    }

    /// Configures it as it was when it was taken, once its unit was reset, as `reset` tells.
    fn restore(&mut self, reset: Result) -> Result {
        // What the first OS does not have any more is not ours to configure.
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
            // Whether there is a driver for it is not ours to say.
            self.function.bind();
        } else {
            pr_err!(
                "{} could not be reset, and is left without a driver\n",
                Shown(self.function.address())
            );
        }
    }
}

/// The functions that an OS has. They are reset and go back to the first OS's drivers when this is
/// dropped, which is to be when the OS's CPUs are parked.
pub(crate) struct Devices {
    os: CString,
    /// What they may use.
    memory: KVec<Range>,
    bridges: KVec<HostBridge>,
    units: KVec<Unit>,
    /// The OS may have used them.
    is_given: bool,
    /// One was found anew since the memory was mapped for them.
    is_map_stale: bool,
    // Before the functions get their drivers back.
    maps: KVec<DmaMap>,
    held: KVec<Held>,
}

impl Devices {
    /// Takes what `os`, whose kernel is entered in `mode`, asks for by `requests`, and resets it. Its
    /// DMA then reaches `memory`, and no other if there is an IOMMU.
    ///
    /// # Errors
    ///
    /// `ENODEV` for what is not there; `EINVAL` for what can't be given away, or not to such a
    /// kernel; `EBUSY` for what is in use, or another OS's; `EOPNOTSUPP` for what has no ECAM, or has
    /// its interrupts remapped; `ENOTTY` for what can't be reset; the log says which. `ENOMEM`.
    pub(crate) fn take(
        requests: &[Request],
        mode: Mode,
        memory: &[Range],
        os: &CString,
    ) -> Result<Self> {
        let selection = Selection::new(requests, os)?;
        let bridges = selection.bridges(os)?;
        selection.check_reach(&bridges, mode, os)?;
        let mut devices = Devices {
            os: CString::try_from(&**os)?,
            memory: KVec::new(),
            bridges,
            units: KVec::new(),
            is_given: false,
            is_map_stale: true,
            maps: KVec::new(),
            held: KVec::new(),
        };
        devices.memory.extend_from_slice(memory, GFP_KERNEL)?;
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
                    function,
                    phase: Phase::Claimed,
                    is_whole: true,
                };
                devices.held.push(held, GFP_KERNEL)?;
            }
        }
        // Until the drivers are unbound, so that nobody begins to use a disk before.
        let mut unused = Unused::new(os);
        for held in &devices.held {
            unused.add(&held.function)?;
        }
        // What lies below a bridge before the bridge.
        for held in devices.held.iter_mut().rev() {
            held.keep(os)?;
        }
        drop(unused);
        for held in devices.held.iter_mut() {
            held.make_ready(os)?;
        }
        // From here on they are reset again on their way back.
        devices.is_given = true;
        devices.make_ready()?;
        Ok(devices)
    }

    /// Makes the functions ready to be used: reset, configured as they were when they were taken, and
    /// with the OS's memory within their reach. They must be quiet.
    ///
    /// # Errors
    ///
    /// Those of [`Devices::reset`], and of mapping the memory.
    pub(crate) fn make_ready(&mut self) -> Result {
        self.reset()?;
        if self.is_map_stale {
            self.maps = KVec::new();
            let functions = self.held.iter().map(|held| &held.function);
            self.maps = DmaMap::for_all(functions, &self.memory, &self.os)?;
            self.is_map_stale = false;
        }
        Ok(())
    }

    /// What the OS is told instead of the bridges above its functions.
    pub(crate) fn bridges(&self) -> &[HostBridge] {
        &self.bridges
    }

    /// Keeps the functions from reading and writing memory.
    ///
    /// # Errors
    ///
    /// `EIO` if one does not do as it is told; the log says which.
    pub(crate) fn quiesce(&mut self) -> Result {
        let mut result = Ok(());
        for held in &mut self.held {
            match held.renew(&self.os) {
                Ok(is_new) => self.is_map_stale |= is_new,
                Err(error) => result = Err(error),
            }
            let function = &held.function;
            let quiet = function.quiesce().inspect_err(|_| {
                pr_err!(
                    "{}: {} does not stop using memory: its memory and CPUs are kept\n",
                    &*self.os,
                    Shown(function.address())
                );
            });
            result = result.and(quiet);
        }
        result
    }

    /// Resets the functions, and configures them as they were when they were taken.
    ///
    /// # Errors
    ///
    /// `ENOTTY` if one can't be reset, and those of the reset; the log says which. The others are
    /// reset nevertheless.
    fn reset(&mut self) -> Result {
        let mut result = Ok(());
        for unit in &self.units {
            let reset = reset_unit(&self.held, unit, &self.os);
            for held in &mut self.held {
                if unit.has(&held.function.address()) {
                    result = result.and(held.restore(reset));
                }
            }
        }
        result
    }
}

/// Resets those of `held` that make up `unit`, for `os`.
fn reset_unit(held: &[Held], unit: &Unit, os: &CString) -> Result {
    let functions = || {
        let all = held.iter().map(|held| &held.function);
        all.filter(|function| unit.has(&function.address()) && function.is_there())
    };
    functions().for_each(PciFunction::wake);
    // A bridge is only reset with all that is below it.
    let has_resets = functions().all(|function| function.has_reset() && !function.is_bridge());
    if has_resets && functions().try_for_each(PciFunction::reset).is_ok() {
        return Ok(());
    }
    let Some(first) = functions().find(|function| unit.is_above(&function.address())) else {
        // It has gone.
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
        // What fails has been logged.
        let quiet = self.quiesce();
        let _ = self.reset();
        if quiet.is_err() {
            self.held.iter_mut().for_each(|held| held.is_whole = false);
        }
    }
}
