// SPDX-License-Identifier: GPL-2.0

//! Which PCI functions are OSes', and the driver that is bound to them, which does nothing but keep
//! others off.
//!
//! What the first OS finds below an OS's bridge later is a new function for it, at the address of one
//! that it has lost or at another, and would get any driver that matches. So it is kept from those
//! before it gets one, and handed to the OS, or to the first OS when that has ended.
//!
//! Lock order: the locks of devices, then [`CLAIMS`], which is taken when the driver is bound.

use crate::{
    linux::{
        log::Shown,
        notifier::{Listener, Notifier},
        pci_driver::{Bound, OverrideDriver},
    },
    pci::{
        function::{self, PciFunction},
        iommu,
        unit::{Address, Unit},
    },
};
use kernel::{
    bindings,
    device::Core,
    driver::Registration,
    pci::{Adapter, Device},
    prelude::*,
    str::CString, //
};

/// The name of the driver that is bound to functions that an OS has.
pub(crate) const DRIVER: &CStr = c"mint";

kernel::sync::global_lock! {
    // SAFETY: Initialised by `Driver::register()`, before any function can be claimed.
    unsafe(uninit) static CLAIMS: Mutex<Claims> = Claims::none();
}

struct Claims {
    owners: KVec<Owner>,
    /// What the first OS has found in their units since they were claimed.
    found: KVec<PciFunction>,
}

impl Claims {
    const fn none() -> Self {
        Claims {
            owners: KVec::new(),
            found: KVec::new(),
        }
    }

    fn owner_of(&self, address: Address) -> Option<&Owner> {
        let mut owners = self.owners.iter();
        owners.find(|owner| owner.function.address() == address)
    }

    fn owner_of_mut(&mut self, address: Address) -> Option<&mut Owner> {
        let mut owners = self.owners.iter_mut();
        owners.find(|owner| owner.function.address() == address)
    }

    /// The owner of a function in the unit of which `address` is part.
    fn owner_around(&self, address: Address) -> Option<&Owner> {
        self.owners.iter().find(|owner| owner.unit.has(&address))
    }

    /// Takes out what was found last of what `wanted` holds for.
    fn take_found(&mut self, wanted: impl Fn(&Self, &PciFunction) -> bool) -> Option<PciFunction> {
        let place = self.found.iter().rposition(|found| wanted(self, found))?;
        self.found.remove(place).ok()
    }
}

/// Whose a function is.
struct Owner {
    function: PciFunction,
    unit: Unit,
    os: CString,
    /// Mint's driver is bound to it.
    is_kept: bool,
}

/// The driver of functions that an OS has.
pub(crate) struct Keeper(());

impl OverrideDriver for Keeper {
    fn probe(device: &Device<Core<'_>>) -> Result<Self> {
        let address = function::address(device).ok_or(ENODEV)?;
        let is_claimed = set_kept(address, true);
        is_claimed.then_some(Keeper(())).ok_or(ENODEV)
    }

    fn unbind(device: &Device<Core<'_>>) {
        if let Some(function) = PciFunction::new(device) {
            set_kept(function.address(), false);
            iommu::leave(&function);
        }
    }
}

/// Notes whether Mint's driver is bound to the function at `address`; returns whether that is some
/// OS's.
fn set_kept(address: Address, is_kept: bool) -> bool {
    let mut claims = CLAIMS.lock();
    match claims.owner_of_mut(address) {
        Some(owner) => {
            owner.is_kept = is_kept;
            true
        }
        None => false,
    }
}

/// Whether Mint's driver is bound to the function at `address`.
pub(crate) fn is_kept(address: Address) -> bool {
    let claims = CLAIMS.lock();
    claims.owner_of(address).is_some_and(|owner| owner.is_kept)
}

/// Keeps all functions that are some OS's from using memory. Their CPUs must be stopped.
pub(crate) fn quiesce() {
    let claims = CLAIMS.lock();
    let functions = claims.owners.iter().map(|owner| &owner.function);
    for function in Iterator::chain(functions, &claims.found) {
        if function.quiesce().is_err() {
            pr_err!("{} does not stop using memory\n", Shown(function.address()));
        }
    }
}

/// Hears of functions that the first OS finds.
struct Finds;

impl Listener for Finds {
    unsafe fn hear(&self, event: c_ulong, data: *mut c_void) -> c_int {
        if event == bindings::bus_notifier_event_BUS_NOTIFY_ADD_DEVICE as c_ulong {
            // SAFETY: With all its events the chain of the PCI bus passes the device in a function.
            if let Some(function) = unsafe { PciFunction::of_device(data.cast()) } {
                keep_found(function);
            }
        }
        bindings::NOTIFY_DONE as c_int
    }
}

unsafe extern "C" fn register_finds(block: *mut bindings::notifier_block) -> c_int {
    // SAFETY: The bus is there for good; the block is the caller's to see to.
    unsafe { bindings::bus_register_notifier(&raw const bindings::pci_bus_type, block) }
}

unsafe extern "C" fn unregister_finds(block: *mut bindings::notifier_block) -> c_int {
    // SAFETY: As above.
    unsafe { bindings::bus_unregister_notifier(&raw const bindings::pci_bus_type, block) }
}

/// Keeps a function that is in some OS's unit, and has no driver yet, from all drivers but Mint's.
fn keep_found(function: PciFunction) {
    let mut claims = CLAIMS.lock();
    let address = function.address();
    let Some(owner) = claims.owner_around(address) else {
        return;
    };
    match function.set_override(DRIVER) {
        Ok(()) => pr_warn!(
            "{}: {} is found anew: restart the OS to use it, if it had it\n",
            &*owner.os,
            Shown(address)
        ),
        Err(_) => pr_err!(
            "{}: {} is found anew, and may get another driver for want of memory\n",
            &*owner.os,
            Shown(address)
        ),
    }
    if claims.found.push(function, GFP_KERNEL).is_err() {
        pr_err!(
            "{} is without a driver for want of memory\n",
            Shown(address)
        );
    }
}

/// The driver, registered for as long as this lives.
pub(crate) struct Driver {
    // First, as it has functions bound to the driver.
    _finds: Pin<KBox<Notifier<Finds>>>,
    _registration: Pin<KBox<Registration<Adapter<Bound<Keeper>>>>>,
    // After the driver, which looks at them.
    _claims: AllClaims,
}

impl Driver {
    /// Registers it for `module`. To be called once.
    ///
    /// # Errors
    ///
    /// Those of the registration.
    pub(crate) fn register(module: &'static ThisModule) -> Result<Self> {
        // SAFETY: Called once, as the function's documentation asks.
        unsafe { CLAIMS.init() };
        let registration = Registration::new(DRIVER, module);
        // SAFETY: They are of one chain, that of the PCI bus, which passes functions.
        let finds = unsafe { Notifier::register(Finds, register_finds, unregister_finds) };
        Ok(Driver {
            _finds: KBox::pin_init(finds, GFP_KERNEL)?,
            _registration: KBox::pin_init(registration, GFP_KERNEL)?,
            _claims: AllClaims(()),
        })
    }
}

/// Stands for [`CLAIMS`].
struct AllClaims(());

impl Drop for AllClaims {
    fn drop(&mut self) {
        // A static is never dropped, and an empty list keeps its room.
        *CLAIMS.lock() = Claims::none();
    }
}

/// A function that is an OS's, in [`CLAIMS`] for as long as this lives.
pub(crate) struct Claim(Address);

impl Claim {
    /// Claims `function`, which is in `unit`, for `os`.
    ///
    /// # Errors
    ///
    /// `EBUSY` if it is another OS's; the log says whose. `ENOMEM`.
    pub(crate) fn new(function: &PciFunction, unit: Unit, os: &CString) -> Result<Self> {
        let address = function.address();
        let owner = Owner {
            function: function.clone(),
            unit,
            os: CString::try_from(&**os)?,
            is_kept: false,
        };
        let mut claims = CLAIMS.lock();
        refuse(address, claims.owner_of(address), os)?;
        claims.owners.push(owner, GFP_KERNEL)?;
        Ok(Claim(address))
    }

    /// What the first OS has found at the address, if it has lost the function that was there.
    pub(crate) fn found_again(&self) -> Option<PciFunction> {
        function::wait_rescan();
        let mut claims = CLAIMS.lock();
        let function =
            claims.take_found(|_, found| found.address() == self.0 && found.is_there())?;
        if let Some(owner) = claims.owner_of_mut(self.0) {
            owner.function = function.clone();
        }
        Some(function)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        function::wait_rescan();
        let mut claims = CLAIMS.lock();
        let mut owners = claims.owners.iter();
        let place = owners.position(|owner| owner.function.address() == self.0);
        let owner = place.and_then(|place| claims.owners.remove(place).ok());
        drop(claims);
        // Maybe the last reference.
        drop(owner);
        let is_nobodys =
            |claims: &Claims, found: &PciFunction| claims.owner_around(found.address()).is_none();
        loop {
            let found = CLAIMS.lock().take_found(is_nobodys);
            let Some(function) = found else { break };
            // No OS has used it, so that it need not be reset.
            let _ = function.set_override(c"");
            function.unbind();
            if function.is_there() {
                function.bind();
            }
        }
    }
}

/// Checks that no OS has the function at `address`, or what is around it, for `os`.
///
/// # Errors
///
/// `EBUSY` if one has; the log says which.
pub(crate) fn check(address: Address, os: &CString) -> Result {
    refuse(address, CLAIMS.lock().owner_around(address), os)
}

fn refuse(address: Address, owner: Option<&Owner>, os: &CString) -> Result {
    match owner {
        None => Ok(()),
        Some(owner) => {
            pr_err!(
                "{}: {} belongs to '{}'\n",
                &**os,
                Shown(address),
                &*owner.os
            );
            Err(EBUSY)
        }
    }
}
