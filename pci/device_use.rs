// SPDX-License-Identifier: GPL-2.0

//! Finds out whether the first OS uses a PCI function: its disks, its network interfaces, and other
//! devices that drivers have made of it. See [`crate::pci::usage`].

use crate::{
    linux::{
        disk_file::BLK_OPEN_READ,
        log::Shown,
        notifier::{Listener, Notifier},
    },
    pci::{
        function::PciFunction,
        unit::Address,
        usage::{self, Usage},
    },
};
use core::ptr::{self, addr_of_mut, NonNull};
use kernel::{
    bindings,
    error::from_err_ptr,
    new_mutex,
    prelude::*,
    str::CString,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc,
        Mutex, //
    },
};

// include/linux/blkdev.h
/// Open the device even if it has no medium.
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
    fn register_netdevice_notifier(block: *mut bindings::notifier_block) -> c_int;
    fn unregister_netdevice_notifier(block: *mut bindings::notifier_block) -> c_int;
}

// include/linux/netdevice.h
const NETDEV_UNREGISTER: c_ulong = 6;
const NETDEV_PRE_UP: c_ulong = 14;

/// The address of this identifies Mint as the holder of a disk.
static HOLDER: u8 = 0;

/// Unused disks and interfaces. Nobody else can claim the disks, or bring up the interfaces, while
/// this lives.
pub(crate) struct Unused<'a> {
    os: &'a CString,
    disks: KVec<Disk>,
    interfaces: Arc<KeptDown>,
    _notifier: Pin<KBox<Notifier<Arc<KeptDown>>>>,
}

impl<'a> Unused<'a> {
    /// Makes an empty list of disks and interfaces, for `os`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(os: &'a CString) -> Result<Self> {
        let interfaces = Arc::pin_init(KeptDown::new(), GFP_KERNEL)?;
        // SAFETY: Both functions work on the chain of network interfaces, which is static, and
        // passes the data that `KeptDown` expects.
        let notifier = unsafe {
            Notifier::register(
                interfaces.clone(),
                register_netdevice_notifier,
                unregister_netdevice_notifier,
            )
        };
        Ok(Unused {
            os,
            disks: KVec::new(),
            interfaces,
            _notifier: KBox::pin_init(notifier, GFP_KERNEL)?,
        })
    }

    /// Checks that the devices of the driver of `function` are unused, and adds disks and
    /// interfaces.
    ///
    /// # Errors
    ///
    /// `EBUSY` if a device is in use, or if nobody can tell; the log says which. `ENOMEM`.
    pub(crate) fn add(&mut self, function: &PciFunction) -> Result {
        let mut search = Search {
            unused: self,
            function: function.address(),
            result: Ok(()),
        };
        // SAFETY: `function` holds a reference to the device.
        unsafe { search.descend(function.as_device()) };
        search.result
    }

    /// Checks `device`, which is below `function`, and returns whether the devices below it must be
    /// checked as well.
    ///
    /// # Safety
    ///
    /// The caller must hold a reference to `device`.
    unsafe fn look_at(&mut self, device: *mut bindings::device, function: Address) -> Result<bool> {
        // SAFETY: The caller holds a reference to the device, so its name is a C string.
        let name = unsafe { CStr::from_char_ptr((*device).kobj.name) };
        // SAFETY: The caller holds a reference to the device.
        let described = unsafe { describe(device) };
        match described.usage() {
            Usage::Disk => {
                // SAFETY: The caller holds a reference to the device.
                let number = unsafe { (*device).devt };
                // Partitions are below the disk, and are in use only if the disk is.
                self.look_at_disk(number, name)?;
            }
            // SAFETY: The caller holds a reference, and the class is that of network interfaces.
            Usage::Interface => unsafe { self.look_at_interface(device) }?,
            Usage::Unknown => {
                let kind = match described.class {
                    [] => described.bus,
                    class => class,
                };
                pr_err!(
                    "{}: nobody can tell whether {} ({}) of {} is in use: write {} to /sys/bus/pci/devices/{}/driver/unbind first\n",
                    &**self.os,
                    name,
                    kernel::str::BStr::from_bytes(kind),
                    Shown(function),
                    Shown(function),
                    Shown(function)
                );
                return Err(EBUSY);
            }
            Usage::Nothing => return Ok(true),
        }
        Ok(false)
    }

    fn look_at_disk(&mut self, number: bindings::dev_t, name: &CStr) -> Result {
        let os = self.os;
        if number == 0 {
            // One path of a multipath disk (GENHD_FL_HIDDEN), which has no device number.
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
    /// The caller must hold a reference to `device`, which must be that of a network interface.
    unsafe fn look_at_interface(&self, device: *mut bindings::device) -> Result {
        // With the RTNL held, neither the name nor the namespace of the interface changes.
        let _rtnl = Rtnl::lock();
        // SAFETY: The caller holds a reference to the device; the name of a registered device is a
        // C string.
        let name = unsafe { CStr::from_char_ptr((*device).kobj.name) };
        // SAFETY: The caller holds a reference to the device of a network interface.
        let interface = match unsafe { is_in_first_namespace(device) } {
            // SAFETY: The RTNL is held, the name is a C string, and `init_net` is static.
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
        // SAFETY: The interface is not null, and can't be unregistered while the RTNL is held.
        if unsafe { netif_get_flags(interface) } & bindings::net_device_flags_IFF_UP != 0 {
            pr_err!(
                "{}: network interface {} is up: ip link set {} down\n",
                &**self.os,
                name,
                name
            );
            return Err(EBUSY);
        }
        self.interfaces.add(interface)
    }
}

impl Drop for Unused<'_> {
    fn drop(&mut self) {
        self.disks.clear();
        // In a work item, files are closed later than that. Wait, so that this opening of a disk is
        // not taken for somebody else's by the next check.
        // SAFETY: The caller may sleep, and is no work item that closes files.
        unsafe { bindings::flush_delayed_fput() };
    }
}

/// Describes `device` to [`usage`].
///
/// # Safety
///
/// The caller must hold a reference to `device` while it uses the result.
unsafe fn describe<'a>(device: *mut bindings::device) -> usage::Device<'a> {
    let name = |name: *const c_char| match name.is_null() {
        true => &[][..],
        // SAFETY: The names of classes, buses and drivers are C strings. Those of the class and the
        // bus outlive the device. That of the driver stays unless the driver's module is unloaded
        // at this moment, a race that the kernel accepts for its messages (`dev_printk()`).
        false => unsafe { CStr::from_char_ptr(name) }.to_bytes(),
    };
    // SAFETY: The caller holds a reference to the device, and a device to the one above. The
    // pointers to class and bus are null or valid, and do not change.
    unsafe {
        let class = (*device).class.as_ref();
        let bus = (*device).bus.as_ref();
        let above = (*device).parent.as_ref();
        usage::Device {
            class: name(class.map_or(ptr::null(), |class| class.name)),
            bus: name(bus.map_or(ptr::null(), |bus| bus.name)),
            driver: name(bindings::dev_driver_string(device)),
            driver_above: name(
                above.map_or(ptr::null(), |above| bindings::dev_driver_string(above)),
            ),
        }
    }
}

/// Network interfaces that nobody may bring up. Addresses of `struct net_device`, to be compared
/// only.
#[pin_data]
struct KeptDown {
    #[pin]
    interfaces: Mutex<KVec<usize>>,
}

impl KeptDown {
    fn new() -> impl PinInit<Self> {
        pin_init!(KeptDown {
            interfaces <- new_mutex!(KVec::new()),
        })
    }

    fn add(&self, interface: *mut bindings::net_device) -> Result {
        self.interfaces.lock().push(interface.addr(), GFP_KERNEL)?;
        Ok(())
    }
}

impl Listener for Arc<KeptDown> {
    unsafe fn hear(&self, event: c_ulong, data: *mut c_void) -> c_int {
        // SAFETY: The chain passes a `struct netdev_notifier_info` or a structure that begins with
        // one, whose first field is the interface.
        let interface = unsafe { *data.cast::<*mut bindings::net_device>() };
        let mut interfaces = self.interfaces.lock();
        let is_kept = interfaces.contains(&interface.addr());
        match event {
            // notifier_from_errno(), include/linux/notifier.h
            NETDEV_PRE_UP if is_kept => {
                (bindings::NOTIFY_STOP_MASK | bindings::NOTIFY_OK + bindings::EBUSY) as c_int
            }
            NETDEV_UNREGISTER => {
                // The address may come to be that of another interface.
                interfaces.retain(|kept| *kept != interface.addr());
                bindings::NOTIFY_DONE as c_int
            }
            _ => bindings::NOTIFY_DONE as c_int,
        }
    }
}

/// Returns whether `device` is in the initial network namespace.
///
/// # Safety
///
/// The caller must hold a reference to `device`, which must be that of a network interface.
unsafe fn is_in_first_namespace(device: *mut bindings::device) -> bool {
    // SAFETY: The caller holds a reference to the device of a network interface, whose class is
    // static.
    let class = unsafe { &*(*device).class };
    // SAFETY: `ns_type` is null or points to static operations.
    let operations = unsafe { class.ns_type.as_ref() };
    let first = operations.and_then(|operations| operations.initial_ns);
    match (class.namespace, first) {
        // SAFETY: `of` gets a device of its class, which the caller holds; `first` takes no
        // arguments.
        (Some(of), Some(first)) => unsafe { of(device) == first() },
        // The kernel has no network namespaces.
        _ => true,
    }
}

/// The RTNL, the lock of all network interfaces, held while this lives.
struct Rtnl(());

impl Rtnl {
    fn lock() -> Self {
        // SAFETY: The caller may sleep and does not hold the RTNL; `drop()` releases it.
        unsafe { rtnl_lock() };
        Rtnl(())
    }
}

impl Drop for Rtnl {
    fn drop(&mut self) {
        // SAFETY: `lock()` took the RTNL when it made this value.
        unsafe { rtnl_unlock() };
    }
}

/// A search through the devices below a function.
struct Search<'a, 'b> {
    unused: &'a mut Unused<'b>,
    function: Address,
    result: Result,
}

impl Search<'_, '_> {
    /// Checks all devices below `device`.
    ///
    /// # Safety
    ///
    /// The caller must hold a reference to `device`.
    unsafe fn descend(&mut self, device: *mut bindings::device) {
        // SAFETY: The caller holds a reference to the device; `visit` gets the pointer to `self`
        // that it expects.
        unsafe {
            bindings::device_for_each_child(device, ptr::from_mut(self).cast(), Some(Self::visit))
        };
    }

    /// Returns 0 to continue the walk, another number to end it.
    unsafe extern "C" fn visit(device: *mut bindings::device, search: *mut c_void) -> c_int {
        // SAFETY: `descend` passed a pointer to its `self`, and does not use that until the walk
        // returns.
        let search = unsafe { &mut *search.cast::<Self>() };
        // PCI functions below a bridge are checked on their own.
        // SAFETY: `device_for_each_child()` holds a reference to the device.
        if unsafe { bindings::dev_is_pci(device) } {
            return 0;
        }
        // SAFETY: `device_for_each_child()` holds a reference to the device.
        match unsafe { search.unused.look_at(device, search.function) } {
            // SAFETY: `device_for_each_child()` holds a reference to the device.
            Ok(true) => unsafe { search.descend(device) },
            Ok(false) => {}
            Err(error) => search.result = Err(error),
        }
        c_int::from(search.result.is_err())
    }
}

/// A disk that Mint has opened exclusively: nobody else can mount it or the like.
///
/// # Invariants
///
/// The pointer is to an open file of a block device, and this owns a reference to the file.
struct Disk(NonNull<bindings::file>);

impl Disk {
    fn open(number: bindings::dev_t) -> Result<Self> {
        // SAFETY: Any device number is allowed, the holder is the address of a static, and without
        // holder operations nothing is called back.
        let file = unsafe {
            bindings::bdev_file_open_by_dev(
                number,
                BLK_OPEN_READ | BLK_OPEN_NDELAY,
                (&raw const HOLDER).cast_mut().cast(),
                ptr::null(),
            )
        };
        // INVARIANT: The call above opened the file.
        Ok(Disk(NonNull::new(from_err_ptr(file)?).ok_or(ENODEV)?))
    }

    /// Returns how often the disk and its partitions are open, including this opening.
    fn openers(&self) -> c_int {
        // SAFETY: By the type invariants the file is that of an open block device, which has a
        // disk.
        let part = unsafe { (*(*bindings::file_bdev(self.0.as_ptr())).bd_disk).part0 };
        // SAFETY: `part0` lives as long as the disk, and `bd_openers.counter` is an aligned atomic
        // int.
        let counter = unsafe { Atomic::from_ptr(&raw mut (*part).bd_openers.counter) };
        counter.load(Relaxed)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the file is open and this owns the reference.
        unsafe { bindings::bdev_fput(self.0.as_ptr()) };
    }
}
