// SPDX-License-Identifier: GPL-2.0

//! A PCI driver that is bound only to the functions whose `driver_override` names it.

use kernel::{
    device::Core,
    device_id::IdArray,
    pci::{self, Device},
    prelude::*, //
};

/// The callbacks of such a driver.
pub(crate) trait OverrideDriver: Send + Sync + Sized + 'static {
    /// Binds the driver to `device`.
    ///
    /// # Errors
    ///
    /// On any error the driver is not bound.
    fn probe(device: &Device<Core<'_>>) -> Result<Self>;

    /// Unbinds the driver from `device`.
    fn unbind(device: &Device<Core<'_>>);
}

/// Implements [`pci::Driver`] for `T`.
pub(crate) struct Bound<T>(T);

#[cfg(optional_id_info)]
static IDS: IdArray<pci::DeviceId, (), 0> = IdArray::new_without_index([]);

// Up to Linux 7.2, `probe_callback()` takes the data of the first ID for a function that is matched by
// its `driver_override`, and panics if there is none. This ID matches no function: a device ID has 16
// bits.
#[cfg(not(optional_id_info))]
static IDS: IdArray<pci::DeviceId, (), 1> =
    IdArray::new_without_index([(pci::DeviceId::from_id(pci::Vendor::REDHAT, 0x1_0000), ())]);

impl<T: OverrideDriver> pci::Driver for Bound<T> {
    type IdInfo = ();
    type Data<'bound> = Self;
    const ID_TABLE: pci::IdTable<Self::IdInfo> = &IDS;

    #[cfg(optional_id_info)]
    fn probe<'bound>(
        device: &'bound Device<Core<'_>>,
        _info: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<Self::Data<'bound>, Error> + 'bound {
        T::probe(device).map(Bound)
    }

    #[cfg(not(optional_id_info))]
    fn probe<'bound>(
        device: &'bound Device<Core<'_>>,
        _info: &'bound Self::IdInfo,
    ) -> impl PinInit<Self::Data<'bound>, Error> + 'bound {
        T::probe(device).map(Bound)
    }

    fn unbind(device: &Device<Core<'_>>, _this: Pin<&Self>) {
        T::unbind(device);
    }
}
