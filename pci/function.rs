// SPDX-License-Identifier: GPL-2.0

//! A PCI function of the machine, as a device of the first OS.

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
/// Offset in the SR-IOV capability of the control register, which enables virtual functions and
/// their memory.
const PCI_SRIOV_CTRL: c_int = 0x08;
const PCI_SRIOV_CTRL_VFE: u16 = 0x01;
const PCI_SRIOV_CTRL_MSE: u16 = 0x08;
/// Offset in the power management capability of the control and status register.
const PCI_PM_CTRL: c_int = 4;
const PCI_PM_CTRL_STATE_MASK: u16 = 0x3;

/// The value that is read from a function that does not answer.
const NO_ANSWER: u16 = !0;

/// The delay until virtual functions are gone (`sriov_disable()`, drivers/pci/iov.c).
const VF_DELAY: Delta = Delta::from_secs(1);

/// The number of BARs of a function (`PCI_STD_NUM_BARS`).
const BARS: usize = 6;

/// How often to try locks that others hold for a short time, and the delay in between: 5 s in all.
const LOCK_TRIES: usize = 100;
const LOCK_DELAY: Delta = Delta::from_millis(50);

/// A PCI function. The first OS may have lost the device; see [`PciFunction::is_there`].
#[derive(Clone)]
pub(crate) struct PciFunction {
    device: ARef<pci::Device>,
    address: Address,
}

impl PciFunction {
    /// Returns all functions of the machine, each bridge before the functions below it. Omits
    /// functions in domains that are not PCI segment groups.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn all() -> Result<KVec<Self>> {
        const ANY: c_uint = bindings::PCI_ANY_ID as c_uint;
        let mut all = KVec::new();
        let mut device = ptr::null_mut();
        loop {
            // SAFETY: `device` is null or was returned by the previous call, whose reference this
            // call drops.
            device = unsafe { bindings::pci_get_device(ANY, ANY, device) };
            let Some(found) = NonNull::new(device) else {
                return Ok(all);
            };
            // SAFETY: The reference from `pci_get_device()` is held until the next call, and
            // `pci::Device` is a transparent wrapper of `struct pci_dev`.
            let function = PciFunction::new(unsafe { found.cast::<pci::Device>().as_ref() });
            let result = match function {
                Some(function) => all.push(function, GFP_KERNEL),
                None => Ok(()),
            };
            if let Err(error) = result {
                // SAFETY: This drops the reference that the last `pci_get_device()` returned.
                unsafe { bindings::pci_dev_put(device) };
                return Err(error.into());
            }
        }
    }

    /// Returns the function whose `struct pci_dev` contains `device`, if its domain is a PCI
    /// segment group.
    ///
    /// # Safety
    ///
    /// `device` must be the `dev` of a `struct pci_dev` that stays alive during the call.
    pub(crate) unsafe fn of_device(device: *mut bindings::device) -> Option<Self> {
        // SAFETY: By the safety requirements `device` is the `dev` of a `struct pci_dev`.
        let device = unsafe { kernel::container_of!(device, bindings::pci_dev, dev) };
        // SAFETY: The caller keeps the device alive, and `pci::Device` is a transparent wrapper of
        // `struct pci_dev`.
        PciFunction::new(unsafe { &*device.cast::<pci::Device>() })
    }

    /// Returns the function of `device`, if its domain is a PCI segment group.
    pub(crate) fn new(device: &pci::Device) -> Option<Self> {
        Some(PciFunction {
            address: address(device)?,
            device: device.into(),
        })
    }

    fn as_raw(&self) -> *mut bindings::pci_dev {
        as_raw(&self.device)
    }

    /// Returns the `struct device` within the `struct pci_dev`.
    pub(crate) fn as_device(&self) -> *mut bindings::device {
        // SAFETY: `self.device` holds a reference, so the `struct pci_dev` is valid; this only
        // takes an address in it.
        unsafe { &raw mut (*self.as_raw()).dev }
    }

    fn bus(&self) -> *mut bindings::pci_bus {
        // SAFETY: `self.device` holds a reference, and a `struct pci_dev` holds one to its bus.
        unsafe { (*self.as_raw()).bus }
    }

    /// Returns the address of the function.
    pub(crate) fn address(&self) -> Address {
        self.address
    }

    /// Describes the function to [`crate::pci::unit`], which decides whether it can be given away.
    pub(crate) fn describe(&self) -> Function {
        let device = self.as_raw();
        // SAFETY: `self.device` holds a reference to the device, and that one to its bus. A rescan
        // may change the bus number meanwhile; either value will do.
        let (is_on_root_bus, last_bus) = unsafe {
            let bus = (*device).bus;
            ((*bus).parent.is_null(), (*bus).busn_res.end as u8)
        };
        // SAFETY: `self.device` holds a reference; the fields are set when the device is added.
        let (is_virtual, has_msi, class) = unsafe {
            (
                (*device).is_virtfn() != 0,
                (*device).msi_cap != 0 || (*device).msix_cap != 0,
                (*device).class >> 8,
            )
        };
        Function {
            address: self.address,
            last_bus,
            obstacle: match () {
                () if is_on_root_bus => Some(Obstacle::OnRootBus),
                () if is_virtual => Some(Obstacle::Virtual),
                () if class == bindings::PCI_CLASS_MEMORY_CXL => Some(Obstacle::Memory),
                () if !has_msi && !self.is_bridge() => Some(Obstacle::NoMsi),
                () => None,
            },
            wanted: false,
        }
    }

    /// Returns whether this function is a bridge to other buses.
    pub(crate) fn is_bridge(&self) -> bool {
        // SAFETY: `self.device` holds a reference; the field is constant.
        unsafe { (*self.as_raw()).hdr_type == PCI_HEADER_TYPE_BRIDGE }
    }

    /// Returns whether the function has a driver override.
    pub(crate) fn has_override(&self) -> bool {
        // SAFETY: `self.device` holds a reference. The name may change meanwhile, but the pointer
        // is only compared with null, not followed.
        unsafe {
            !(&raw const (*self.as_device()).driver_override.name)
                .read_volatile()
                .is_null()
        }
    }

    /// Sets the driver override to the driver called `name`, or removes it if `name` is empty.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn set_override(&self, name: &CStr) -> Result {
        // SAFETY: `self.device` holds a reference; `name` is a C string, which the function copies.
        to_result(unsafe {
            bindings::__device_set_driver_override(
                self.as_device(),
                name.as_char_ptr(),
                name.to_bytes().len(),
            )
        })
    }

    /// Returns whether the first OS still has the device.
    pub(crate) fn is_there(&self) -> bool {
        // SAFETY: `self.device` holds a reference, so its kobject is valid.
        unsafe { bindings::kobject::state_in_sysfs_raw(&raw const (*self.as_device()).kobj) != 0 }
    }

    /// Unbinds the function's driver, if it has one.
    pub(crate) fn unbind(&self) {
        // SAFETY: `self.device` holds a reference, and the function takes the device lock itself.
        unsafe { bindings::device_release_driver(self.as_device()) };
    }

    /// Binds a matching driver, if there is one.
    pub(crate) fn bind(&self) {
        // While a driver probes a function, the kernel disables CPU hotplug (pci_call_probe(),
        // drivers/pci/pci-driver.c), so that a hotplug operation would fail at once. This makes it
        // wait instead.
        let _guard = cpu_offline::keep_hotplug();
        // SAFETY: `self.device` holds a reference, and the function takes the device lock itself.
        let _ = unsafe { bindings::device_attach(self.as_device()) };
    }

    /// Requests the memory and ports of its BARs from the first OS, for `name`.
    ///
    /// # Errors
    ///
    /// `EBUSY` if a part was already requested.
    pub(crate) fn request_bars(&self, name: &'static CStr) -> Result {
        // SAFETY: `self.device` holds a reference. The kernel keeps the pointer to `name`, which is
        // static; what was requested is released before the module goes.
        to_result(unsafe { bindings::pci_request_regions(self.as_raw(), name.as_char_ptr()) })
    }

    /// Undoes [`PciFunction::request_bars`].
    pub(crate) fn release_bars(&self) {
        // SAFETY: `self.device` holds a reference.
        unsafe { bindings::pci_release_regions(self.as_raw()) };
    }

    /// Returns whether the first OS remaps the interrupts of this function, so that MSIs which it
    /// has not set up are blocked.
    pub(crate) fn has_isolated_msi(&self) -> bool {
        // SAFETY: `self.device` holds a reference.
        unsafe { msi_device_has_isolated_msi(self.as_device()) }
    }

    /// Enables decoding of its addresses, in the function itself and in the bridges above.
    ///
    /// # Errors
    ///
    /// Those of `pci_enable_device()`.
    pub(crate) fn enable(&self) -> Result {
        // SAFETY: `self.device` holds a reference.
        to_result(unsafe { bindings::pci_enable_device(self.as_raw()) })
    }

    /// Undoes one call of [`PciFunction::enable`].
    pub(crate) fn disable(&self) {
        // SAFETY: `self.device` holds a reference.
        unsafe { bindings::pci_disable_device(self.as_raw()) };
    }

    /// Has `handlers` hear of the hardware errors of the functions that this function's driver is
    /// bound to. The `kernel` crate's drivers have no handlers of their own.
    ///
    /// # Safety
    ///
    /// The driver must be this module's, and its probe function must be running for this function.
    pub(crate) unsafe fn handle_errors(&self, handlers: &'static bindings::pci_error_handlers) {
        // SAFETY: `self.device` holds a reference, and the device has its driver while that is being
        // probed. The caller guarantees that the driver is this module's, so it does not go
        // meanwhile. The kernel reads the pointer under the lock of another device, and finds the old
        // value, which is null, or the new one.
        unsafe { (&raw mut (*(*self.as_raw()).driver).err_handler).write_volatile(handlers) };
    }

    /// Returns whether a driver of the first OS is bound.
    pub(crate) fn has_driver(&self) -> bool {
        // SAFETY: `self.device` holds a reference. The driver may change meanwhile, but the pointer
        // is only compared with null, not followed.
        unsafe {
            !(&raw const (*self.as_device()).driver)
                .read_volatile()
                .is_null()
        }
    }

    /// Disables DMA and INTx interrupts of this function, and waits until pending transactions have
    /// completed.
    ///
    /// # Errors
    ///
    /// `EIO` if the function ignores the command, or does not answer although the first OS still
    /// has the device.
    pub(crate) fn quiesce(&self) -> Result {
        self.disable_virtual_functions()?;
        // SAFETY: `self.device` holds a reference.
        unsafe { bindings::pci_intx(self.as_raw(), 0) };
        // SAFETY: `self.device` holds a reference.
        unsafe { bindings::pci_clear_master(self.as_raw()) };
        match self.read_config(PCI_COMMAND) {
            // A function that was unplugged does no DMA. Another may, although it does not answer.
            NO_ANSWER if !self.is_there() => return Ok(()),
            NO_ANSWER => return Err(EIO),
            command if command & PCI_COMMAND_MASTER != 0 => return Err(EIO),
            _ => {}
        }
        // SAFETY: `self.device` holds a reference. The result is ignored: a transaction that is
        // still pending ends when the function is reset.
        unsafe { bindings::pci_wait_for_pending_transaction(self.as_raw()) };
        Ok(())
    }

    /// Enables INTx interrupts again, as drivers leave them.
    pub(crate) fn allow_intx(&self) {
        // SAFETY: `self.device` holds a reference.
        unsafe { bindings::pci_intx(self.as_raw(), 1) };
    }

    /// Has the bridge to the bus of this function pass no DMA of what is below.
    ///
    /// # Errors
    ///
    /// `EIO` if the bridge ignores the command; `ENODEV` on a root bus.
    pub(crate) fn block_dma(&self) -> Result {
        let bridge = self.bridge().ok_or(ENODEV)?;
        // SAFETY: `bridge` holds a reference to the device.
        unsafe { bindings::pci_clear_master(as_raw(&bridge)) };
        let mut command = NO_ANSWER;
        // SAFETY: `bridge` holds a reference to the device. If the read fails, `command` stays
        // `NO_ANSWER`.
        unsafe { bindings::pci_read_config_word(as_raw(&bridge), PCI_COMMAND, &mut command) };
        match command & PCI_COMMAND_MASTER {
            0 => Ok(()),
            _ => Err(EIO),
        }
    }

    /// Undoes [`PciFunction::block_dma`].
    pub(crate) fn unblock_dma(&self) {
        if let Some(bridge) = self.bridge() {
            // SAFETY: `bridge` holds a reference to the device.
            unsafe { bindings::pci_set_master(as_raw(&bridge)) };
        }
    }

    /// Returns the bridge to the bus of this function.
    fn bridge(&self) -> Option<ARef<pci::Device>> {
        // SAFETY: `self.device` holds a reference, and through it to the bus. `self_` is null on a
        // root bus, else the bridge, to which the bus holds a reference (pci_alloc_child_bus(),
        // drivers/pci/probe.c).
        let bridge = NonNull::new(unsafe { (*self.bus()).self_ })?;
        // SAFETY: The bridge is valid, as above, and `pci::Device` is a transparent wrapper of
        // `struct pci_dev`.
        Some(unsafe { bridge.cast::<pci::Device>().as_ref() }.into())
    }

    /// Disables the virtual functions of this function, which do DMA of their own.
    fn disable_virtual_functions(&self) -> Result {
        // SAFETY: `self.device` holds a reference.
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

    /// Brings the function to full power (D0), which the last user may have left.
    pub(crate) fn wake(&self) {
        // SAFETY: `self.device` holds a reference; the field is constant.
        let capability = c_int::from(unsafe { (*self.as_raw()).pm_cap });
        if capability == 0 {
            return;
        }
        let control = self.read_config(capability + PCI_PM_CTRL);
        if control == NO_ANSWER || control & PCI_PM_CTRL_STATE_MASK == 0 {
            return;
        }
        self.write_config(capability + PCI_PM_CTRL, control & !PCI_PM_CTRL_STATE_MASK);
        // SAFETY: `self.device` holds a reference. The field is set when the device is added; quirks
        // set it for functions that need another delay.
        let delay = unsafe { (*self.as_raw()).d3hot_delay };
        fsleep(Delta::from_millis(i64::from(delay)));
    }

    /// Returns whether this function can be reset alone.
    pub(crate) fn has_reset(&self) -> bool {
        // SAFETY: `self.device` holds a reference. This is `pci_reset_supported()` of
        // drivers/pci/pci.h.
        unsafe { (*self.as_raw()).reset_methods[0] != 0 }
    }

    /// Resets this function alone.
    ///
    /// # Errors
    ///
    /// Those of `pci_reset_function()`.
    pub(crate) fn reset(&self) -> Result {
        // SAFETY: `self.device` holds a reference, and the function takes the locks that it needs
        // itself.
        to_result(unsafe { bindings::pci_reset_function(self.as_raw()) })
    }

    /// Resets all functions on the bus of this function and below.
    ///
    /// # Errors
    ///
    /// Those of `pci_reset_bus()`: `EAGAIN` if somebody held the lock of a device through all
    /// tries.
    pub(crate) fn reset_bus(&self) -> Result {
        for _ in 1..LOCK_TRIES {
            // SAFETY: `self.device` holds a reference, and the function takes the locks that it
            // needs itself.
            match to_result(unsafe { bindings::pci_reset_bus(self.as_raw()) }) {
                Err(EAGAIN) => fsleep(LOCK_DELAY),
                result => return result,
            }
        }
        // SAFETY: `self.device` holds a reference, and the function takes the locks that it needs
        // itself.
        to_result(unsafe { bindings::pci_reset_bus(self.as_raw()) })
    }

    /// Saves the current configuration of the function.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and those of `pci_save_state()`.
    pub(crate) fn save(&self) -> Result<SavedState> {
        // SAFETY: `self.device` holds a reference.
        to_result(unsafe { bindings::pci_save_state(self.as_raw()) })?;
        // SAFETY: `self.device` holds a reference.
        let state = unsafe { bindings::pci_store_saved_state(self.as_raw()) };
        // INVARIANT: `pci_store_saved_state()` has allocated the state for its caller.
        Ok(SavedState(NonNull::new(state).ok_or(ENOMEM)?))
    }

    /// Restores the configuration of the function that `state` holds.
    ///
    /// # Errors
    ///
    /// Those of `pci_load_saved_state()`.
    pub(crate) fn restore(&self, state: &SavedState) -> Result {
        // SAFETY: `self.device` holds a reference, and `state` was allocated by
        // `pci_store_saved_state()`.
        to_result(unsafe { bindings::pci_load_saved_state(self.as_raw(), state.0.as_ptr()) })?;
        // SAFETY: `self.device` holds a reference.
        unsafe { bindings::pci_restore_state(self.as_raw()) };
        Ok(())
    }

    /// Returns the end of the highest memory range of its BARs, in bytes.
    pub(crate) fn bars_end(&self) -> u64 {
        (0..BARS)
            // SAFETY: `self.device` holds a reference; the BARs of a function that has a driver
            // don't move.
            .map(|index| unsafe { (*self.as_raw()).resource[index] })
            .filter(|bar| bar.flags & bindings::IORESOURCE_MEM as usize != 0)
            .filter_map(|bar| range(&bar))
            .map(|bar| bar.end())
            .max()
            .unwrap_or(0)
    }

    /// Describes the bridge to the bus of this function, which leads to `unit`, as a host bridge in
    /// `segment` with its ECAM at `ecam`.
    pub(crate) fn bridge_above(&self, unit: &Unit, segment: u16, ecam: u64) -> HostBridge {
        let window = |index: usize| {
            // SAFETY: `self.device` holds a reference, and through it to the bus. `resource[]` has
            // null or pointers to the windows of the bridge, which live as long.
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
        // SAFETY: `self.device` holds a reference. If the read fails, `value` stays `NO_ANSWER`.
        unsafe { bindings::pci_read_config_word(self.as_raw(), offset, &mut value) };
        value
    }

    fn write_config(&self, offset: c_int, value: u16) {
        // SAFETY: `self.device` holds a reference.
        unsafe { bindings::pci_write_config_word(self.as_raw(), offset, value) };
    }
}

/// Waits for a PCI rescan or removal that is under way in the first OS. After that, the functions
/// that it has announced are in their final state.
pub(crate) fn wait_rescan() {
    // SAFETY: The caller does not hold the rescan lock and may sleep.
    unsafe { bindings::pci_lock_rescan_remove() };
    // SAFETY: The line above took the lock.
    unsafe { bindings::pci_unlock_rescan_remove() };
}

/// Returns the address of `device`, if its domain is a PCI segment group.
pub(crate) fn address(device: &pci::Device) -> Option<Address> {
    // SAFETY: The reference to `device` keeps it alive; its name was set before it was added, and
    // is a C string.
    let name = unsafe { CStr::from_char_ptr((*as_raw(device)).dev.kobj.name) };
    Address::parse(name.to_str().ok()?)
}

fn as_raw(device: &pci::Device) -> *mut bindings::pci_dev {
    ptr::from_ref(device).cast_mut().cast()
}

/// Returns the range of `resource`, if one was assigned.
fn range(resource: &bindings::resource) -> Option<Range> {
    let unset = (bindings::IORESOURCE_UNSET | bindings::IORESOURCE_DISABLED) as usize;
    if resource.flags == 0 || resource.flags & unset != 0 {
        return None;
    }
    Range::from_to(resource.start, resource.end.checked_add(1)?)
}

/// The saved configuration of a function.
///
/// # Invariants
///
/// The pointer was returned by `pci_store_saved_state()`, and this owns the allocation.
pub(crate) struct SavedState(NonNull<bindings::pci_saved_state>);

// SAFETY: It owns its allocation, as a box does, and nothing in it is tied to a thread.
unsafe impl Send for SavedState {}
// SAFETY: Through a shared reference the state is only read.
unsafe impl Sync for SavedState {}

impl Drop for SavedState {
    fn drop(&mut self) {
        // SAFETY: By the type invariants this owns the allocation, which `pci_store_saved_state()`
        // made with `kzalloc()`.
        unsafe { bindings::kfree(self.0.as_ptr().cast()) };
    }
}
