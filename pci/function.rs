// SPDX-License-Identifier: GPL-2.0

//! A PCI function of the machine, as the first OS has it.

use crate::{
    cpu_offline,
    firmware::host_bridge::HostBridge,
    memory::memmap::Range,
    pci::unit::{Address, Function, Obstacle, Unit},
};
use core::ptr::{self, NonNull};
use kernel::{
    bindings,
    error::to_result,
    pci,
    prelude::*,
    sync::aref::ARef,
    time::{delay::fsleep, Delta}, //
};

// kernel/irq/msi.c
#[allow(
    improper_ctypes,
    reason = "what locks have for debugging is empty in most kernels"
)]
extern "C" {
    fn msi_device_has_isolated_msi(device: *mut bindings::device) -> bool;
}

// include/uapi/linux/pci_regs.h
const PCI_COMMAND: c_int = 0x04;
const PCI_COMMAND_MASTER: u16 = 0x4;
const PCI_HEADER_TYPE_BRIDGE: u8 = 1;
const PCI_EXT_CAP_ID_SRIOV: c_int = 0x10;
/// From the SR-IOV capability on: enables virtual functions, and their memory.
const PCI_SRIOV_CTRL: c_int = 0x08;
const PCI_SRIOV_CTRL_VFE: u16 = 0x01;
const PCI_SRIOV_CTRL_MSE: u16 = 0x08;
/// From the power management capability on.
const PCI_PM_CTRL: c_int = 4;
const PCI_PM_CTRL_STATE_MASK: u16 = 0x3;

/// What a function reads as that does not answer.
const NO_ANSWER: u16 = !0;

/// How long a function may take from D3hot to D0 (PCI Express Base Specification 6.0, 5.9).
const D3HOT_DELAY: Delta = Delta::from_millis(10);
/// How long it takes for virtual functions to be gone (`sriov_disable()`, drivers/pci/iov.c).
const VF_DELAY: Delta = Delta::from_secs(1);

/// The BARs of a function (`PCI_STD_NUM_BARS`).
const BARS: usize = 6;

/// How often, and how long after each other, locks are tried that others hold for a moment: 5 s in all.
const LOCK_TRIES: usize = 100;
const LOCK_DELAY: Delta = Delta::from_millis(50);

/// A PCI function. It need not be there any more.
#[derive(Clone)]
pub(crate) struct PciFunction {
    device: ARef<pci::Device>,
    address: Address,
}

impl PciFunction {
    /// All functions of the machine, a bridge before what lies below it; without those in domains
    /// that are no PCI segment groups.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn all() -> Result<KVec<Self>> {
        const ANY: c_uint = bindings::PCI_ANY_ID as c_uint;
        let mut all = KVec::new();
        let mut device = ptr::null_mut();
        loop {
            // SAFETY: It is null or what the last call returned, whose reference this one drops.
            device = unsafe { bindings::pci_get_device(ANY, ANY, device) };
            let Some(found) = NonNull::new(device) else {
                return Ok(all);
            };
            // SAFETY: There is a reference to it until the next call, and `pci::Device` is a
            // transparent wrapper.
            let function = PciFunction::new(unsafe { found.cast::<pci::Device>().as_ref() });
            let result = match function {
                Some(function) => all.push(function, GFP_KERNEL),
                None => Ok(()),
            };
            if let Err(error) = result {
                // SAFETY: The reference is that of the last call.
                unsafe { bindings::pci_dev_put(device) };
                return Err(error.into());
            }
        }
    }

    /// The function that `device` is in, if its domain is a segment group.
    ///
    /// # Safety
    ///
    /// It is the `dev` of a `struct pci_dev` that stays while this is called.
    pub(crate) unsafe fn of_device(device: *mut bindings::device) -> Option<Self> {
        // SAFETY: By the safety requirements.
        let device = unsafe { kernel::container_of!(device, bindings::pci_dev, dev) };
        // SAFETY: It stays, and `pci::Device` is a transparent wrapper.
        PciFunction::new(unsafe { &*device.cast::<pci::Device>() })
    }

    /// The function that is `device`, if its domain is a segment group.
    pub(crate) fn new(device: &pci::Device) -> Option<Self> {
        Some(PciFunction {
            address: address(device)?,
            device: device.into(),
        })
    }

    fn as_raw(&self) -> *mut bindings::pci_dev {
        as_raw(&self.device)
    }

    /// The device in it that drivers bind to.
    pub(crate) fn as_device(&self) -> *mut bindings::device {
        // SAFETY: The reference keeps it.
        unsafe { &raw mut (*self.as_raw()).dev }
    }

    fn bus(&self) -> *mut bindings::pci_bus {
        // SAFETY: The reference keeps it, and it keeps its bus.
        unsafe { (*self.as_raw()).bus }
    }

    /// Its address.
    pub(crate) fn address(&self) -> Address {
        self.address
    }

    /// What there is to know of it for who wants to give it away.
    pub(crate) fn describe(&self) -> Function {
        let device = self.as_raw();
        // SAFETY: The references keep device and bus; a number that a rescan changes is one or the other.
        let (is_on_root_bus, last_bus) = unsafe {
            let bus = (*device).bus;
            ((*bus).parent.is_null(), (*bus).busn_res.end as u8)
        };
        // SAFETY: As above.
        let (is_virtual, has_msi) = unsafe {
            (
                (*device).is_virtfn() != 0,
                (*device).msi_cap != 0 || (*device).msix_cap != 0,
            )
        };
        Function {
            address: self.address,
            last_bus,
            obstacle: match () {
                () if is_on_root_bus => Some(Obstacle::OnRootBus),
                () if is_virtual => Some(Obstacle::Virtual),
                () if !has_msi && !self.is_bridge() => Some(Obstacle::NoMsi),
                () => None,
            },
            wanted: false,
        }
    }

    /// Whether it is a bridge to other buses.
    pub(crate) fn is_bridge(&self) -> bool {
        // SAFETY: The reference keeps it; the field is constant.
        unsafe { (*self.as_raw()).hdr_type == PCI_HEADER_TYPE_BRIDGE }
    }

    /// Whether somebody has decided which driver it gets.
    pub(crate) fn has_override(&self) -> bool {
        // SAFETY: The reference keeps it; the pointer is only compared with null.
        unsafe {
            !(&raw const (*self.as_device()).driver_override.name)
                .read_volatile()
                .is_null()
        }
    }

    /// Has it bound to the driver called `name` from now on, or, if that is empty, to any that
    /// matches.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn set_override(&self, name: &CStr) -> Result {
        // SAFETY: The reference keeps it, and the name, which is copied, is a C string.
        to_result(unsafe {
            bindings::__device_set_driver_override(
                self.as_device(),
                name.as_char_ptr(),
                name.to_bytes().len(),
            )
        })
    }

    /// Whether the first OS still has it.
    pub(crate) fn is_there(&self) -> bool {
        // SAFETY: The reference keeps it.
        unsafe { bindings::kobject::state_in_sysfs_raw(&raw const (*self.as_device()).kobj) != 0 }
    }

    /// Unbinds whatever driver it has.
    pub(crate) fn unbind(&self) {
        // SAFETY: The reference keeps it; the locks that it needs are taken there.
        unsafe { bindings::device_release_driver(self.as_device()) };
    }

    /// Binds the driver that it should have, if there is one.
    pub(crate) fn bind(&self) {
        // While a driver looks at a function, the kernel lets no CPU come or go (pci_call_probe(),
        // drivers/pci/pci-driver.c): who wants that fails at once.
        let _guard = cpu_offline::keep_hotplug();
        // SAFETY: The reference keeps it; the locks that it needs are taken there.
        let _ = unsafe { bindings::device_attach(self.as_device()) };
    }

    /// Whether the first OS remaps its interrupts, so that messages which that has not set up are
    /// blocked.
    pub(crate) fn has_isolated_msi(&self) -> bool {
        // SAFETY: The reference keeps it.
        unsafe { msi_device_has_isolated_msi(self.as_device()) }
    }

    /// Has its addresses decoded, by it and by the bridges to it.
    ///
    /// # Errors
    ///
    /// Those of `pci_enable_device()`.
    pub(crate) fn enable(&self) -> Result {
        // SAFETY: The reference keeps it.
        to_result(unsafe { bindings::pci_enable_device(self.as_raw()) })
    }

    /// Takes back one [`PciFunction::enable`].
    pub(crate) fn disable(&self) {
        // SAFETY: The reference keeps it.
        unsafe { bindings::pci_disable_device(self.as_raw()) };
    }

    /// Keeps it from reading and writing memory, and from interrupting by a pin, and waits until what
    /// it has begun is done.
    ///
    /// # Errors
    ///
    /// `EIO` if it does not do as it is told.
    pub(crate) fn quiesce(&self) -> Result {
        self.disable_virtual_functions()?;
        // SAFETY: The reference keeps it.
        unsafe { bindings::pci_intx(self.as_raw(), 0) };
        // SAFETY: The reference keeps it.
        unsafe { bindings::pci_clear_master(self.as_raw()) };
        match self.read_config(PCI_COMMAND) {
            // It is not there any more, so that it does nothing either.
            NO_ANSWER => return Ok(()),
            command if command & PCI_COMMAND_MASTER != 0 => return Err(EIO),
            _ => {}
        }
        // SAFETY: As above. What it waits for in vain is over when the function is reset.
        unsafe { bindings::pci_wait_for_pending_transaction(self.as_raw()) };
        Ok(())
    }

    /// Takes its virtual functions away, which use memory by themselves.
    fn disable_virtual_functions(&self) -> Result {
        // SAFETY: The reference keeps it.
        let capability =
            unsafe { bindings::pci_find_ext_capability(self.as_raw(), PCI_EXT_CAP_ID_SRIOV) };
        if capability == 0 {
            return Ok(());
        }
        let register = c_int::from(capability) + PCI_SRIOV_CTRL;
        let control = self.read_config(register);
        let enabled = PCI_SRIOV_CTRL_VFE | PCI_SRIOV_CTRL_MSE;
        if control == NO_ANSWER || control & enabled == 0 {
            return Ok(());
        }
        self.write_config(register, control & !enabled);
        fsleep(VF_DELAY);
        match self.read_config(register) {
            NO_ANSWER => Ok(()),
            control if control & enabled != 0 => Err(EIO),
            _ => Ok(()),
        }
    }

    /// Gives it full power, which whoever had it last may have taken.
    pub(crate) fn wake(&self) {
        // SAFETY: The reference keeps it; the field is constant.
        let capability = c_int::from(unsafe { (*self.as_raw()).pm_cap });
        if capability == 0 {
            return;
        }
        let control = self.read_config(capability + PCI_PM_CTRL);
        if control == NO_ANSWER || control & PCI_PM_CTRL_STATE_MASK == 0 {
            return;
        }
        self.write_config(capability + PCI_PM_CTRL, control & !PCI_PM_CTRL_STATE_MASK);
        fsleep(D3HOT_DELAY);
    }

    /// Whether it can be reset without others.
    pub(crate) fn has_reset(&self) -> bool {
        // SAFETY: The reference keeps it. As `pci_reset_supported()` in drivers/pci/pci.h.
        unsafe { (*self.as_raw()).reset_methods[0] != 0 }
    }

    /// Resets it.
    ///
    /// # Errors
    ///
    /// Those of `pci_reset_function()`.
    pub(crate) fn reset(&self) -> Result {
        // SAFETY: The reference keeps it; the locks that it needs are taken there.
        to_result(unsafe { bindings::pci_reset_function(self.as_raw()) })
    }

    /// Resets all that is on its bus and below.
    ///
    /// # Errors
    ///
    /// Those of `pci_reset_bus()`, which only tries the locks of all of them.
    pub(crate) fn reset_bus(&self) -> Result {
        for _ in 1..LOCK_TRIES {
            // SAFETY: As above.
            match to_result(unsafe { bindings::pci_reset_bus(self.as_raw()) }) {
                Err(EAGAIN) => fsleep(LOCK_DELAY),
                result => return result,
            }
        }
        // SAFETY: As above.
        to_result(unsafe { bindings::pci_reset_bus(self.as_raw()) })
    }

    /// Its configuration as it is now.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and those of `pci_save_state()`.
    pub(crate) fn save(&self) -> Result<SavedState> {
        // SAFETY: The reference keeps it.
        to_result(unsafe { bindings::pci_save_state(self.as_raw()) })?;
        // SAFETY: As above.
        let state = unsafe { bindings::pci_store_saved_state(self.as_raw()) };
        // INVARIANT: Just allocated, for whoever called.
        Ok(SavedState(NonNull::new(state).ok_or(ENOMEM)?))
    }

    /// Gives it the configuration that it had when `state` was saved.
    ///
    /// # Errors
    ///
    /// Those of `pci_load_saved_state()`.
    pub(crate) fn restore(&self, state: &SavedState) -> Result {
        // SAFETY: The reference keeps it, and the state is one that was stored.
        to_result(unsafe { bindings::pci_load_saved_state(self.as_raw(), state.0.as_ptr()) })?;
        // SAFETY: As above.
        unsafe { bindings::pci_restore_state(self.as_raw()) };
        Ok(())
    }

    /// The end of the highest range of memory that its BARs have, in bytes.
    pub(crate) fn bars_end(&self) -> u64 {
        (0..BARS)
            // SAFETY: The reference keeps it; nobody moves the BARs of a function that has a driver.
            .map(|index| unsafe { (*self.as_raw()).resource[index] })
            .filter(|bar| bar.flags & bindings::IORESOURCE_MEM as usize != 0)
            .filter_map(|bar| range(&bar))
            .map(|bar| bar.end())
            .max()
            .unwrap_or(0)
    }

    /// The bridge to its bus, which leads to `unit`, as a host bridge in `segment`, its ECAM at `ecam`.
    pub(crate) fn bridge_above(&self, unit: &Unit, segment: u16, ecam: u64) -> HostBridge {
        let window = |index: usize| {
            // SAFETY: The reference keeps the bus, which has pointers to the bridge's windows or
            // null.
            unsafe { (*self.bus()).resource[index].as_ref() }.and_then(range)
        };
        HostBridge {
            segment,
            first_bus: unit.first_bus,
            last_bus: unit.last_bus,
            ecam,
            io: window(0),
            memory: window(1),
            prefetchable: window(2),
        }
    }

    fn read_config(&self, offset: c_int) -> u16 {
        let mut value = NO_ANSWER;
        // SAFETY: The reference keeps it. If it fails, the value is that of no answer.
        unsafe { bindings::pci_read_config_word(self.as_raw(), offset, &mut value) };
        value
    }

    fn write_config(&self, offset: c_int, value: u16) {
        // SAFETY: The reference keeps it.
        unsafe { bindings::pci_write_config_word(self.as_raw(), offset, value) };
    }
}

/// Waits until the first OS has done looking for functions, if it is about it: those that it has told
/// of are then as it wants them.
pub(crate) fn wait_rescan() {
    // SAFETY: The caller holds no lock of PCI's.
    unsafe { bindings::pci_lock_rescan_remove() };
    // SAFETY: Taken just now.
    unsafe { bindings::pci_unlock_rescan_remove() };
}

/// The address of `device`, if its domain is a segment group.
pub(crate) fn address(device: &pci::Device) -> Option<Address> {
    // SAFETY: The reference keeps the device, whose name was set when it was made and is a C string.
    let name = unsafe { CStr::from_char_ptr((*as_raw(device)).dev.kobj.name) };
    Address::parse(name.to_str().ok()?)
}

fn as_raw(device: &pci::Device) -> *mut bindings::pci_dev {
    ptr::from_ref(device).cast_mut().cast()
}

/// The range of `resource`, if it has been given one.
fn range(resource: &bindings::resource) -> Option<Range> {
    let unset = (bindings::IORESOURCE_UNSET | bindings::IORESOURCE_DISABLED) as usize;
    if resource.flags == 0 || resource.flags & unset != 0 {
        return None;
    }
    Range::from_to(resource.start, resource.end.checked_add(1)?)
}

/// The configuration of a function.
///
/// # Invariants
///
/// It is an allocation of `pci_store_saved_state()`.
pub(crate) struct SavedState(NonNull<bindings::pci_saved_state>);

// SAFETY: It owns its memory, as a box does.
unsafe impl Send for SavedState {}
// SAFETY: A shared one is only read.
unsafe impl Sync for SavedState {}

impl Drop for SavedState {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::kfree(self.0.as_ptr().cast()) };
    }
}
