// SPDX-License-Identifier: GPL-2.0

//! Records which PCI functions belong to OSes, and registers the driver that is bound to these
//! functions. The driver does nothing but keep other drivers off.
//!
//! When the first OS later finds a function below an OS's bridge, at the address of a function that
//! it has lost or at another address, it makes a new device of it, and any matching driver would
//! bind. So Mint sets the driver override of that device before a driver can bind, and hands the
//! function to the OS, or to the first OS once the OS has ended.
//!
//! Lock order: device locks, then [`CLAIMS`], which is taken while the driver is bound.

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

/// The name of the driver that is bound to the functions of OSes.
pub(crate) const DRIVER: &CStr = c"mint";

kernel::sync::global_lock! {
    // SAFETY: `Driver::register()` initialises this before any function can be claimed.
    unsafe(uninit) static CLAIMS: Mutex<Claims> = Claims::none();
}

struct Claims {
    owners: KVec<Owner>,
    /// The functions that the first OS has found in the owners' units since these were claimed.
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

    /// Returns an owner whose unit includes `address`.
    fn owner_around(&self, address: Address) -> Option<&Owner> {
        self.owners.iter().find(|owner| owner.unit.has(&address))
    }

    /// Removes and returns the function that was found last among those for which `wanted` is true.
    fn take_found(&mut self, wanted: impl Fn(&Self, &PciFunction) -> bool) -> Option<PciFunction> {
        let place = self.found.iter().rposition(|found| wanted(self, found))?;
        self.found.remove(place).ok()
    }
}

/// The owner of a function.
struct Owner {
    function: PciFunction,
    unit: Unit,
    os: CString,
    /// Whether Mint's driver is bound to the function.
    is_kept: bool,
}

/// Mint's driver for the functions of OSes.
pub(crate) struct Keeper(());

impl OverrideDriver for Keeper {
    fn probe(device: &Device<Core<'_>>) -> Result<Self> {
        let function = PciFunction::new(device).ok_or(ENODEV)?;
        if !is_claimed(function.address()) {
            return Err(ENODEV);
        }
        // As drivers do. This fails if part of it is in use without a driver, such as by a console.
        function.request_bars(DRIVER).inspect_err(|_| {
            pr_err!(
                "memory or ports of {} are in use: see /proc/iomem and /proc/ioports\n",
                Shown(function.address())
            );
        })?;
        // SAFETY: This is the probe function of this module's driver.
        unsafe { function.handle_errors(&ERROR_HANDLERS) };
        set_kept(function.address(), true);
        Ok(Keeper(()))
    }

    fn unbind(device: &Device<Core<'_>>) {
        if let Some(function) = PciFunction::new(device) {
            set_kept(function.address(), false);
            iommu::leave(&function);
            function.release_bars();
        }
    }
}

/// What Mint's driver does when the hardware reports an error of a function.
static ERROR_HANDLERS: bindings::pci_error_handlers = bindings::pci_error_handlers {
    error_detected: Some(error_detected),
    mmio_enabled: None,
    slot_reset: None,
    reset_prepare: None,
    reset_done: None,
    resume: None,
    cor_error_detected: None,
};

/// Logs the error. Its result has the kernel send a uevent of the function (`pci_uevent_ers()`,
/// drivers/pci/pci-driver.c), and call nobody else: only the OS knows what the function was doing.
unsafe extern "C" fn error_detected(
    device: *mut bindings::pci_dev,
    state: bindings::pci_channel_state_t,
) -> bindings::pci_ers_result_t {
    const FROZEN: u32 = bindings::pci_channel_io_frozen;
    // SAFETY: The kernel passes the device that has the error, and keeps it meanwhile.
    let function = unsafe { PciFunction::of_device(&raw mut (*device).dev) };
    let is_fatal = state >= FROZEN;
    if let Some(function) = function {
        let claims = CLAIMS.lock();
        if let Some(owner) = claims.owner_of(function.address()) {
            pr_err!(
                "{}: {} has a {} error: {}\n",
                &*owner.os,
                Shown(function.address()),
                if is_fatal { "fatal" } else { "non-fatal" },
                if is_fatal {
                    "the bus is reset, and the OS can't use it until it is started anew"
                } else {
                    "the log above has the cause"
                }
            );
        }
    }
    match is_fatal {
        true => bindings::pci_ers_result_PCI_ERS_RESULT_DISCONNECT,
        false => bindings::pci_ers_result_PCI_ERS_RESULT_NONE,
    }
}

/// Returns whether the function at `address` belongs to an OS.
fn is_claimed(address: Address) -> bool {
    CLAIMS.lock().owner_of(address).is_some()
}

/// Records whether Mint's driver is bound to the function at `address`.
fn set_kept(address: Address, is_kept: bool) {
    if let Some(owner) = CLAIMS.lock().owner_of_mut(address) {
        owner.is_kept = is_kept;
    }
}

/// Returns whether Mint's driver is bound to the function at `address`.
pub(crate) fn is_kept(address: Address) -> bool {
    let claims = CLAIMS.lock();
    claims.owner_of(address).is_some_and(|owner| owner.is_kept)
}

/// Stops the DMA of all functions that belong to OSes. The OSes' CPUs must be stopped.
pub(crate) fn quiesce() {
    let claims = CLAIMS.lock();
    let functions = claims.owners.iter().map(|owner| &owner.function);
    for function in Iterator::chain(functions, &claims.found) {
        if function.quiesce().is_err() && function.block_dma().is_err() {
            pr_err!("{} does not stop using memory\n", Shown(function.address()));
        }
    }
}

/// Listens for functions that the first OS finds.
struct Finds;

impl Listener for Finds {
    unsafe fn hear(&self, event: c_ulong, data: *mut c_void) -> c_int {
        if event == bindings::bus_notifier_event_BUS_NOTIFY_ADD_DEVICE as c_ulong {
            // SAFETY: The notifier chain of the PCI bus passes the `dev` of a `struct pci_dev`,
            // which stays while the chain is called.
            if let Some(function) = unsafe { PciFunction::of_device(data.cast()) } {
                keep_found(function);
            }
        }
        bindings::NOTIFY_DONE as c_int
    }
}

unsafe extern "C" fn register_finds(block: *mut bindings::notifier_block) -> c_int {
    // SAFETY: `pci_bus_type` is static, and `Notifier` passes a valid block that stays in place
    // until it is unregistered.
    unsafe { bindings::bus_register_notifier(&raw const bindings::pci_bus_type, block) }
}

unsafe extern "C" fn unregister_finds(block: *mut bindings::notifier_block) -> c_int {
    // SAFETY: `pci_bus_type` is static, and `Notifier` passes the block that it registered.
    unsafe { bindings::bus_unregister_notifier(&raw const bindings::pci_bus_type, block) }
}

/// Keeps all drivers but Mint's from a function that is in an OS's unit and has no driver yet.
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

/// The registration of Mint's driver, for as long as this lives.
pub(crate) struct Driver {
    // Dropped first: the notifier has functions bound to the driver.
    _finds: Pin<KBox<Notifier<Finds>>>,
    _registration: Pin<KBox<Registration<Adapter<Bound<Keeper>>>>>,
    // Dropped after the driver, which reads the claims.
    _claims: AllClaims,
}

impl Driver {
    /// Registers the driver for `module`. Must be called once only.
    ///
    /// # Errors
    ///
    /// Those of registering the driver and the notifier.
    pub(crate) fn register(module: &'static ThisModule) -> Result<Self> {
        // SAFETY: This function is called once only, as its documentation demands, so `CLAIMS` is
        // initialised once.
        unsafe { CLAIMS.init() };
        let registration = Registration::new(DRIVER, module);
        // SAFETY: Both functions work on the notifier chain of the PCI bus, which is static, and
        // passes the devices that `Finds` expects.
        let finds = unsafe { Notifier::register(Finds, register_finds, unregister_finds) };
        Ok(Driver {
            _finds: KBox::pin_init(finds, GFP_KERNEL)?,
            _registration: KBox::pin_init(registration, GFP_KERNEL)?,
            _claims: AllClaims(()),
        })
    }
}

/// Empties [`CLAIMS`] when it is dropped.
struct AllClaims(());

impl Drop for AllClaims {
    fn drop(&mut self) {
        // A static is never dropped, and an empty vector keeps its allocation: replace it.
        *CLAIMS.lock() = Claims::none();
    }
}

/// A claim to a function for an OS, listed in [`CLAIMS`] for as long as this lives.
pub(crate) struct Claim(Address);

impl Claim {
    /// Claims `function`, which is in `unit`, for `os`.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the function belongs to another OS; the log says to which. `ENOMEM`.
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

    /// Returns the function that the first OS has found at this address, if it has lost the
    /// previous one.
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
        // Outside the lock: this may drop the last reference to the device.
        drop(owner);
        let is_nobodys =
            |claims: &Claims, found: &PciFunction| claims.owner_around(found.address()).is_none();
        loop {
            let found = CLAIMS.lock().take_found(is_nobodys);
            let Some(function) = found else { break };
            // No OS has used the function, so it need not be reset.
            let _ = function.set_override(c"");
            function.unbind();
            if function.is_there() {
                function.bind();
            }
        }
    }
}

/// Checks, for `os`, that no OS's unit includes the function at `address`.
///
/// # Errors
///
/// `EBUSY` if the function belongs to an OS; the log says to which.
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
