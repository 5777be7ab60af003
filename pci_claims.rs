// SPDX-License-Identifier: GPL-2.0

//! Which PCI functions are OSes', and the driver that is bound to them, which does nothing but keep
//! others off.
//!
//! Lock order: the locks of devices, then [`CLAIMS`], which is taken when the driver is bound.

use crate::{
    log::Shown,
    pci_function,
    pci_unit::Address, //
};
use kernel::{
    device,
    device_id::IdArray,
    driver::Registration,
    module::this_module,
    pci,
    prelude::*,
    str::CString, //
};

/// The name of the driver that is bound to functions that an OS has.
pub(crate) const DRIVER: &CStr = c"mint";

kernel::sync::global_lock! {
    // SAFETY: Initialised by `Driver::register()`, before any function can be claimed.
    unsafe(uninit) static CLAIMS: Mutex<KVec<Owner>> = KVec::new();
}

/// Whose a function is.
struct Owner {
    address: Address,
    os: CString,
    /// Mint's driver is bound to it.
    is_kept: bool,
}

/// The driver of functions that an OS has.
pub(crate) struct Keeper(());

static IDS: IdArray<pci::DeviceId, (), 0> = IdArray::new_without_index([]);

impl pci::Driver for Keeper {
    type IdInfo = ();
    type Data<'bound> = Self;
    // It matches what `driver_override` names it for.
    const ID_TABLE: pci::IdTable<Self::IdInfo> = &IDS;

    fn probe<'bound>(
        device: &'bound pci::Device<device::Core<'_>>,
        _info: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<Self::Data<'bound>, Error> + 'bound {
        let address = pci_function::address(device).ok_or(ENODEV)?;
        let is_claimed = set_kept(address, true);
        is_claimed.then_some(Keeper(())).ok_or(ENODEV)
    }

    fn unbind(device: &pci::Device<device::Core<'_>>, _this: Pin<&Keeper>) {
        if let Some(address) = pci_function::address(device) {
            set_kept(address, false);
        }
    }
}

/// Notes whether Mint's driver is bound to the function at `address`; returns whether that is some
/// OS's.
fn set_kept(address: Address, is_kept: bool) -> bool {
    let mut claims = CLAIMS.lock();
    match claims.iter_mut().find(|owner| owner.address == address) {
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
    let mut owners = claims.iter();
    owners.any(|owner| owner.address == address && owner.is_kept)
}

/// The driver, registered for as long as this lives.
pub(crate) struct Driver {
    _registration: Pin<KBox<Registration<pci::Adapter<Keeper>>>>,
    // After the driver, which looks at them.
    _claims: Claims,
}

impl Driver {
    /// Registers it. To be called once.
    ///
    /// # Errors
    ///
    /// Those of the registration.
    pub(crate) fn register() -> Result<Self> {
        // SAFETY: Called once, as the function's documentation asks.
        unsafe { CLAIMS.init() };
        let registration = Registration::new(DRIVER, this_module::<crate::Mint>());
        Ok(Driver {
            _registration: KBox::pin_init(registration, GFP_KERNEL)?,
            _claims: Claims(()),
        })
    }
}

/// Stands for [`CLAIMS`].
struct Claims(());

impl Drop for Claims {
    fn drop(&mut self) {
        // A static is never dropped, and an empty list keeps its room.
        *CLAIMS.lock() = KVec::new();
    }
}

/// A function that is an OS's, in [`CLAIMS`] for as long as this lives.
pub(crate) struct Claim(Address);

impl Claim {
    /// Claims the function at `address` for `os`.
    ///
    /// # Errors
    ///
    /// `EBUSY` if it is another OS's; the log says whose. `ENOMEM`.
    pub(crate) fn new(address: Address, os: &CString) -> Result<Self> {
        let owner = Owner {
            address,
            os: CString::try_from(&**os)?,
            is_kept: false,
        };
        let mut claims = CLAIMS.lock();
        check_owner(&claims, address, os)?;
        claims.push(owner, GFP_KERNEL)?;
        Ok(Claim(address))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        CLAIMS.lock().retain(|owner| owner.address != self.0);
    }
}

/// Checks that no OS has the function at `address`, for `os`.
///
/// # Errors
///
/// `EBUSY` if one has; the log says which.
pub(crate) fn check(address: Address, os: &CString) -> Result {
    check_owner(&CLAIMS.lock(), address, os)
}

fn check_owner(claims: &[Owner], address: Address, os: &CString) -> Result {
    match claims.iter().find(|owner| owner.address == address) {
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
