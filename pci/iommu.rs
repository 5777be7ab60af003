// SPDX-License-Identifier: GPL-2.0

//! Restricts the DMA of functions that are behind an IOMMU of the first OS: the functions reach the
//! memory of their OS only.
//!
//! The OS does not know of the IOMMU, and programs its functions with physical addresses. So the
//! IOMMU maps the OS's memory one to one.

use crate::linux::errno::EOPNOTSUPP;
use crate::{linux::log::Shown, memory::memmap::Range, pci::function::PciFunction};
use core::ptr::NonNull;
use kernel::{
    bindings,
    error::{from_err_ptr, to_result},
    prelude::*,
    str::CString, //
};

// drivers/iommu/iommu.c
#[allow(
    improper_ctypes,
    reason = "what locks have for debugging is empty in most kernels"
)]
extern "C" {

    fn iommu_group_for_each_dev(
        group: *mut bindings::iommu_group,
        data: *mut c_void,
        visit: Option<unsafe extern "C" fn(*mut bindings::device, *mut c_void) -> c_int>,
    ) -> c_int;
    fn iommu_get_resv_regions(device: *mut bindings::device, list: *mut bindings::list_head);
    fn iommu_put_resv_regions(device: *mut bindings::device, list: *mut bindings::list_head);
}

/// Checks, before anything is changed, that IOMMUs allow to give `functions` to `os`.
///
/// # Errors
///
/// `EBUSY` if an IOMMU can't tell one of `functions` from another function, `EOPNOTSUPP` if the
/// firmware shares memory with one; the log says which. `ENOMEM`.
pub(crate) fn check<'a>(
    functions: impl Iterator<Item = &'a PciFunction> + Clone,
    os: &CString,
) -> Result {
    for function in functions.clone() {
        let Some(group) = Group::of(function) else {
            continue;
        };
        if !function_is_translated(function) {
            continue;
        }
        group.check(functions.clone(), os)?;
        let is_direct = |region: &Reserved| region.is_direct;
        if reserved_regions(function)?.iter().any(is_direct) {
            pr_err!(
                "{}: {} can't be given away: the firmware has it use memory of its own all the time (reserved_regions of its IOMMU group)\n",
                &**os,
                Shown(function.address())
            );
            return Err(EOPNOTSUPP.into());
        }
    }
    Ok(())
}

/// Maps an OS's memory for an IOMMU group, the functions that an IOMMU can't tell apart.
///
/// # Invariants
///
/// This owns the domain, and a reference to the group. The domain is attached to the group.
pub(crate) struct DmaMap {
    group: NonNull<bindings::iommu_group>,
    domain: NonNull<bindings::iommu_domain>,
}

// SAFETY: The kernel accesses group and domain under locks of its own, from any thread.
unsafe impl Send for DmaMap {}
// SAFETY: The kernel accesses group and domain under locks of its own, from any thread.
unsafe impl Sync for DmaMap {}

impl DmaMap {
    /// Restricts the DMA of `functions` to `memory`, where an IOMMU translates it.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the IOMMU can't tell one of `functions` from another function, `EINVAL` if a part
    /// of `memory` is reserved for other purposes; the log says so, for `os`. Those of mapping the
    /// memory.
    pub(crate) fn for_all<'a>(
        functions: impl Iterator<Item = &'a PciFunction> + Clone,
        memory: &[Range],
        os: &CString,
    ) -> Result<KVec<DmaMap>> {
        let mut maps: KVec<DmaMap> = KVec::new();
        for function in functions.clone() {
            let Some(group) = Group::of(function) else {
                continue;
            };
            let is_mapped = maps.iter().any(|map| map.group == group.0);
            if is_mapped || !function_is_translated(function) {
                continue;
            }
            // A function that was found anew may have joined the group.
            group.check(functions.clone(), os)?;
            check_memory(function, memory, os)?;
            let map = DmaMap::new(group, function, memory).inspect_err(|error| {
                pr_err!(
                    "{}: the IOMMU can't map memory for {} (error {})\n",
                    &**os,
                    Shown(function.address()),
                    error.to_errno()
                );
            })?;
            maps.push(map, GFP_KERNEL)?;
        }
        Ok(maps)
    }

    fn new(group: Group, function: &PciFunction, memory: &[Range]) -> Result<Self> {
        let domain = Domain::new(function)?;
        for range in memory {
            domain.map(range)?;
        }
        // SAFETY: `domain` and `group` are valid, and the domain was allocated for a device of the
        // group.
        to_result(unsafe { bindings::iommu_attach_group(domain.0.as_ptr(), group.0.as_ptr()) })?;
        // INVARIANT: The domain was attached just now, and this takes over the domain and the
        // reference to the group.
        Ok(DmaMap {
            group: core::mem::ManuallyDrop::new(group).0,
            domain: core::mem::ManuallyDrop::new(domain).0,
        })
    }
}

impl Drop for DmaMap {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the domain is attached to the group, and both are valid.
        unsafe { bindings::iommu_detach_group(self.domain.as_ptr(), self.group.as_ptr()) };
        drop(Domain(self.domain));
        drop(Group(self.group));
    }
}

/// Detaches the OS's domain from the group of `function`, which the first OS is about to lose, if
/// nothing else is in the group. A group that becomes empty must have its default domain
/// (`__iommu_group_free_device()`, drivers/iommu/iommu.c).
pub(crate) fn leave(function: &PciFunction) {
    let Some(group) = Group::of(function) else {
        return;
    };
    // SAFETY: `function` holds a reference to the device.
    let domain = unsafe { bindings::iommu_get_domain_for_dev(function.as_device()) };
    // SAFETY: The pointer is null, or to the domain that the device's group is attached to, which
    // stays while the device is bound to Mint's driver.
    let is_ours = unsafe { domain.as_ref() }
        .is_some_and(|domain| domain.type_ == bindings::IOMMU_DOMAIN_UNMANAGED);
    if is_ours && group.len() == 1 {
        // SAFETY: Both are valid; the owner of the domain may detach it once more, which does no
        // harm.
        unsafe { bindings::iommu_detach_group(domain, group.0.as_ptr()) };
    }
}

/// Returns whether an IOMMU translates the addresses that `function` uses.
fn function_is_translated(function: &PciFunction) -> bool {
    // SAFETY: `function` holds a reference to the device; the pointer is null or to the domain that
    // its group is attached to.
    let domain = unsafe { bindings::iommu_get_domain_for_dev(function.as_device()).as_ref() };
    domain.is_some_and(|domain| domain.type_ & bindings::__IOMMU_DOMAIN_PT == 0)
}

/// Checks that no part of `memory` is at addresses that `function` or its IOMMU uses otherwise, such
/// as for interrupts.
fn check_memory(function: &PciFunction, memory: &[Range], os: &CString) -> Result {
    for Reserved { range, .. } in reserved_regions(function)? {
        if memory.iter().any(|memory| memory.overlaps(&range)) {
            pr_err!(
                "{}: {} needs {:#x}-{:#x} for another purpose (reserved_regions of its IOMMU group): choose other memory\n",
                &**os,
                Shown(function.address()),
                range.start(),
                range.end() - 1
            );
            return Err(EINVAL);
        }
    }
    Ok(())
}

/// A range of addresses with a purpose of its own, for a function behind an IOMMU.
struct Reserved {
    range: Range,
    /// Whether the firmware demands that the function can always reach this memory.
    is_direct: bool,
}

/// Returns the reserved regions of `function`, which must be translated by an IOMMU.
fn reserved_regions(function: &PciFunction) -> Result<KVec<Reserved>> {
    let device = function.as_device();
    let mut head = bindings::list_head::default();
    let head = &raw mut head;
    // SAFETY: `head` is a local variable, and becomes an empty list.
    unsafe { bindings::INIT_LIST_HEAD(head) };
    // SAFETY: `function` holds a reference to the device, which has an IOMMU. `head` is an empty
    // list.
    unsafe { iommu_get_resv_regions(device, head) };
    let mut regions = KVec::new();
    let mut result = Ok(());
    // SAFETY: The list is valid; this reads its first link.
    let mut link = unsafe { (*head).next };
    while link != head {
        // SAFETY: The function has filled the list with regions, which are linked by `list`.
        let region = unsafe { &*kernel::container_of!(link, bindings::iommu_resv_region, list) };
        if let Some(range) = Range::new(region.start, region.length as u64) {
            let is_direct = region.type_ == bindings::iommu_resv_type_IOMMU_RESV_DIRECT;
            result = result.and(regions.push(Reserved { range, is_direct }, GFP_KERNEL));
        }
        link = region.list.next;
    }
    // SAFETY: The list is what `iommu_get_resv_regions()` has made of it for this device, and its
    // regions are not used any more.
    unsafe { iommu_put_resv_regions(device, head) };
    result?;
    Ok(regions)
}

/// A reference to an IOMMU group.
struct Group(NonNull<bindings::iommu_group>);

impl Group {
    fn of(function: &PciFunction) -> Option<Self> {
        // SAFETY: `function` holds a reference to the device.
        NonNull::new(unsafe { bindings::iommu_group_get(function.as_device()) }).map(Group)
    }

    /// Returns the number of devices in the group.
    fn len(&self) -> usize {
        let mut len = 0usize;
        // SAFETY: `self` holds a reference to the group, and `count` gets the pointer to a `usize`
        // that it expects.
        unsafe {
            iommu_group_for_each_dev(self.0.as_ptr(), (&raw mut len).cast(), Some(Self::count))
        };
        len
    }

    unsafe extern "C" fn count(_device: *mut bindings::device, len: *mut c_void) -> c_int {
        // SAFETY: `Group::len` passed a pointer to its counter, and does not use that until the
        // walk returns.
        unsafe { *len.cast::<usize>() += 1 };
        0
    }

    /// Checks that only `functions` and bridges are in the group.
    fn check<'a>(&self, functions: impl Iterator<Item = &'a PciFunction>, os: &CString) -> Result {
        let mut others = Others {
            devices: KVec::new(),
            stranger: Ok(None),
        };
        for function in functions {
            others.devices.push(function.as_device(), GFP_KERNEL)?;
        }
        // SAFETY: `self` holds a reference to the group, and `visit` gets the pointer to `Others`
        // that it expects.
        unsafe {
            iommu_group_for_each_dev(
                self.0.as_ptr(),
                (&raw mut others).cast(),
                Some(Others::visit),
            )
        };
        match others.stranger? {
            None => Ok(()),
            Some(name) => {
                pr_err!(
                    "{}: the IOMMU can't tell {} from what is to be given away: give it as well, or boot the first OS with iommu=pt\n",
                    &**os,
                    &*name
                );
                Err(EBUSY)
            }
        }
    }
}

/// The devices that may be in a group, and the name of another one that is in it, or the error of
/// copying that name.
struct Others {
    devices: KVec<*mut bindings::device>,
    stranger: Result<Option<CString>>,
}

impl Others {
    unsafe extern "C" fn visit(device: *mut bindings::device, others: *mut c_void) -> c_int {
        // SAFETY: `check` passed a pointer to its `Others`, and does not use that until the walk
        // returns.
        let others = unsafe { &mut *others.cast::<Self>() };
        // SAFETY: The device can't leave the group during the walk, and is valid while it is in the
        // group.
        if others.devices.contains(&device) || unsafe { is_bridge(device) } {
            return 0;
        }
        // SAFETY: The device is valid, as above; the name of a registered device is a C string.
        let name = unsafe { CStr::from_char_ptr((*device).kobj.name) };
        others.stranger = CString::try_from(name).map(Some).map_err(Error::from);
        1
    }
}

/// Returns whether `device` is a PCI-to-PCI bridge, which does no DMA of its own.
///
/// # Safety
///
/// `device` must be valid during the call.
unsafe fn is_bridge(device: *mut bindings::device) -> bool {
    // SAFETY: The caller guarantees that the device is valid.
    if !unsafe { bindings::dev_is_pci(device) } {
        return false;
    }
    // SAFETY: `dev_is_pci()` says that the device is the `dev` of a `struct pci_dev`.
    let function = unsafe { kernel::container_of!(device, bindings::pci_dev, dev) };
    // SAFETY: The `struct pci_dev` is valid as long as its `dev` is.
    (unsafe { (*function).class }) >> 8 == bindings::PCI_CLASS_BRIDGE_PCI
}

impl Drop for Group {
    fn drop(&mut self) {
        // SAFETY: This owns a reference to the group.
        unsafe { bindings::iommu_group_put(self.0.as_ptr()) };
    }
}

/// An IOMMU domain: the memory that an IOMMU lets functions reach.
///
/// # Invariants
///
/// This owns the domain.
struct Domain(NonNull<bindings::iommu_domain>);

impl Domain {
    fn new(function: &PciFunction) -> Result<Self> {
        // SAFETY: `function` holds a reference to the device.
        let domain = unsafe { bindings::iommu_paging_domain_alloc_flags(function.as_device(), 0) };
        // INVARIANT: The line above allocated the domain.
        Ok(Domain(NonNull::new(from_err_ptr(domain)?).ok_or(ENODEV)?))
    }

    fn map(&self, range: &Range) -> Result {
        // SAFETY: By the type invariants the domain is valid; it is not attached to a group yet.
        to_result(unsafe {
            bindings::iommu_map(
                self.0.as_ptr(),
                range.start() as usize,
                range.start(),
                range.len() as usize,
                (bindings::IOMMU_READ | bindings::IOMMU_WRITE) as c_int,
                bindings::GFP_KERNEL,
            )
        })
    }
}

impl Drop for Domain {
    fn drop(&mut self) {
        // SAFETY: By the type invariants this owns the domain. It is attached to no group any more.
        // The mapped memory has no reference counts to drop, so it need not be unmapped before.
        unsafe { bindings::iommu_domain_free(self.0.as_ptr()) };
    }
}
