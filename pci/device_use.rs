// SPDX-License-Identifier: GPL-2.0

//! Whether the first OS uses what a PCI function's driver makes of it: disks and network interfaces.
//!
//! Of other devices, such as an open character device, nobody can tell: there a driver is unbound as
//! it is by hand.

use crate::pci::function::PciFunction;
use core::ptr::{self, addr_of_mut, NonNull};
use kernel::{
    bindings,
    error::from_err_ptr,
    prelude::*,
    str::CString,
    sync::atomic::{Atomic, Relaxed}, //
};

// include/linux/blkdev.h
const BLK_OPEN_READ: bindings::blk_mode_t = 1 << 0;
/// Also without a medium.
const BLK_OPEN_NDELAY: bindings::blk_mode_t = 1 << 3;

// include/linux/netdevice.h, include/linux/rtnetlink.h
#[allow(
    improper_ctypes,
    reason = "what locks have for debugging is empty in most kernels"
)]
extern "C" {
    fn rtnl_lock();
    fn rtnl_unlock();
    fn __dev_get_by_name(net: *mut bindings::net, name: *const c_char)
        -> *mut bindings::net_device;
    fn netif_get_flags(device: *const bindings::net_device) -> c_uint;
}

/// Stands for Mint as the holder of a disk.
static HOLDER: u8 = 0;

/// Disks that nobody else can begin to use while this lives.
pub(crate) struct Unused<'a> {
    os: &'a CString,
    disks: KVec<Disk>,
}

impl<'a> Unused<'a> {
    /// No disks yet, for `os`.
    pub(crate) fn new(os: &'a CString) -> Self {
        Unused {
            os,
            disks: KVec::new(),
        }
    }

    /// Adds the disks that the driver of `function` has made.
    ///
    /// # Errors
    ///
    /// `EBUSY` if one of them, or an interface, is in use; the log says which. `ENOMEM`.
    pub(crate) fn add(&mut self, function: &PciFunction) -> Result {
        let mut search = Search {
            unused: self,
            result: Ok(()),
        };
        // SAFETY: The function is kept by whoever has it.
        unsafe { search.descend(function.as_device()) };
        search.result
    }

    /// Returns whether what is below `device` is to be looked at as well.
    ///
    /// # Safety
    ///
    /// `device` must be a device that is kept.
    unsafe fn look_at(&mut self, device: *mut bindings::device) -> Result<bool> {
        // SAFETY: The caller's promise; what these point to is static.
        let class = match unsafe { (*device).class.as_ref() } {
            // SAFETY: A class has a name, which is a C string.
            Some(class) => unsafe { CStr::from_char_ptr(class.name) },
            None => return Ok(true),
        };
        // SAFETY: The caller's promise; a device has a name.
        let name = unsafe { CStr::from_char_ptr((*device).kobj.name) };
        match class.to_bytes() {
            // SAFETY: The caller's promise. Partitions, which are below, are in use if the disk is.
            b"block" => self.look_at_disk(unsafe { (*device).devt }, name)?,
            // SAFETY: As above.
            b"net" => unsafe { self.look_at_interface(device) }?,
            _ => return Ok(true),
        }
        Ok(false)
    }

    fn look_at_disk(&mut self, number: bindings::dev_t, name: &CStr) -> Result {
        let os = self.os;
        if number == 0 {
            // A path of a disk with several (GENHD_FL_HIDDEN), which is none of its device's.
            pr_err!(
                "{}: nobody can tell whether {} is in use, a path of a disk that may have others: unbind its driver first\n",
                &**os,
                name
            );
            return Err(EBUSY);
        }
        let disk = Disk::open(number).inspect_err(|error| {
            pr_err!(
                "{}: disk {} is in use (error {}): unmount it, and take it out of volumes and swap\n",
                &**os,
                name,
                error.to_errno()
            );
        });
        let disk = disk.map_err(|_| EBUSY)?;
        if disk.openers() > 1 {
            pr_err!("{}: disk {} is open: close it first\n", &**os, name);
            return Err(EBUSY);
        }
        self.disks.push(disk, GFP_KERNEL)?;
        Ok(())
    }

    /// # Safety
    ///
    /// `device` must be a device that is kept, of a network interface.
    unsafe fn look_at_interface(&self, device: *mut bindings::device) -> Result {
        // Under this neither its name nor its namespace changes.
        let _rtnl = Rtnl::lock();
        // SAFETY: The caller's promise; a device has a name.
        let name = unsafe { CStr::from_char_ptr((*device).kobj.name) };
        // SAFETY: The caller's promise.
        let interface = match unsafe { is_in_first_namespace(device) } {
            // SAFETY: The lock is held, the name is a C string, and the namespace is static.
            true => unsafe {
                __dev_get_by_name(addr_of_mut!(bindings::init_net), name.as_char_ptr())
            },
            false => ptr::null_mut(),
        };
        if interface.is_null() {
            pr_err!(
                "{}: network interface {} is in another network namespace: bring it back first\n",
                &**self.os,
                name
            );
            return Err(EBUSY);
        }
        // SAFETY: The lock keeps it.
        if unsafe { netif_get_flags(interface) } & bindings::net_device_flags_IFF_UP != 0 {
            pr_err!(
                "{}: network interface {} is up: ip link set {} down\n",
                &**self.os,
                name,
                name
            );
            return Err(EBUSY);
        }
        Ok(())
    }
}

/// Whether `device` is in the network namespace that is there from boot on.
///
/// # Safety
///
/// It must be a device that is kept, of a network interface.
unsafe fn is_in_first_namespace(device: *mut bindings::device) -> bool {
    // SAFETY: The caller's promise; a class is static.
    let class = unsafe { &*(*device).class };
    // SAFETY: The operations are static, if there are some.
    let operations = unsafe { class.ns_type.as_ref() };
    let first = operations.and_then(|operations| operations.initial_ns);
    match (class.namespace, first) {
        // SAFETY: The first is given the device that it is for, the second takes nothing.
        (Some(of), Some(first)) => unsafe { of(device) == first() },
        // A kernel without namespaces.
        _ => true,
    }
}

/// The lock of all network interfaces, held while this lives.
struct Rtnl(());

impl Rtnl {
    fn lock() -> Self {
        // SAFETY: Released when this is dropped.
        unsafe { rtnl_lock() };
        Rtnl(())
    }
}

impl Drop for Rtnl {
    fn drop(&mut self) {
        // SAFETY: It was taken when this was made.
        unsafe { rtnl_unlock() };
    }
}

/// A walk through the devices below a function.
struct Search<'a, 'b> {
    unused: &'a mut Unused<'b>,
    result: Result,
}

impl Search<'_, '_> {
    /// Looks at all below `device`.
    ///
    /// # Safety
    ///
    /// `device` must be a device that is kept.
    unsafe fn descend(&mut self, device: *mut bindings::device) {
        // SAFETY: The caller's promise; `visit` gets this.
        unsafe {
            bindings::device_for_each_child(device, ptr::from_mut(self).cast(), Some(Self::visit))
        };
    }

    /// Returns what is not 0 to end the walk.
    unsafe extern "C" fn visit(device: *mut bindings::device, search: *mut c_void) -> c_int {
        // SAFETY: It is what `descend` passed, which waits meanwhile.
        let search = unsafe { &mut *search.cast::<Self>() };
        // Functions below a bridge are looked at by themselves.
        // SAFETY: The walk keeps the device.
        if unsafe { bindings::dev_is_pci(device) } {
            return 0;
        }
        // SAFETY: As above.
        match unsafe { search.unused.look_at(device) } {
            // SAFETY: As above.
            Ok(true) => unsafe { search.descend(device) },
            Ok(false) => {}
            Err(error) => search.result = Err(error),
        }
        c_int::from(search.result.is_err())
    }
}

/// A disk that is open, and nobody else's to mount or the like.
///
/// # Invariants
///
/// It is an open file of a block device, ours to close.
struct Disk(NonNull<bindings::file>);

impl Disk {
    fn open(number: bindings::dev_t) -> Result<Self> {
        // SAFETY: Any number will do, and the holder is static; it is not called back.
        let file = unsafe {
            bindings::bdev_file_open_by_dev(
                number,
                BLK_OPEN_READ | BLK_OPEN_NDELAY,
                (&raw const HOLDER).cast_mut().cast(),
                ptr::null(),
            )
        };
        // INVARIANT: It was opened just now.
        Ok(Disk(NonNull::new(from_err_ptr(file)?).ok_or(ENODEV)?))
    }

    /// How often the disk or a part of it is open, this time included.
    fn openers(&self) -> c_int {
        // SAFETY: By the type invariants.
        let part = unsafe { (*(*bindings::file_bdev(self.0.as_ptr())).bd_disk).part0 };
        // SAFETY: An open disk has its whole part; the counter is an aligned atomic int.
        let counter = unsafe { Atomic::from_ptr(&raw mut (*part).bd_openers.counter) };
        counter.load(Relaxed)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::bdev_fput(self.0.as_ptr()) };
    }
}
