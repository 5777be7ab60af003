// SPDX-License-Identifier: GPL-2.0

//! DMA of functions that are behind an IOMMU of the first OS: it reaches an OS's memory and no
//! other.
//!
//! An OS is not told of the IOMMU, and has its functions read and write physical addresses. So the
//! IOMMU maps these to themselves.

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
}

/// Functions whose DMA goes to an OS's memory, by an IOMMU group: what an IOMMU can't tell apart.
///
/// # Invariants
///
/// The domain is ours, and attached to the group, to which there is a reference.
pub(crate) struct DmaMap {
    group: NonNull<bindings::iommu_group>,
    domain: NonNull<bindings::iommu_domain>,
}

// SAFETY: Both are used under locks of their own.
unsafe impl Send for DmaMap {}
// SAFETY: As above.
unsafe impl Sync for DmaMap {}

impl DmaMap {
    /// Lets `functions` reach `memory` and no other, where there is an IOMMU.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the IOMMU can't tell one of them from another function; the log says so, for `os`.
    /// Those of mapping the memory.
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
            group.check(functions.clone(), os)?;
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
        // SAFETY: Both are kept, and the domain is for devices as the group's.
        to_result(unsafe { bindings::iommu_attach_group(domain.0.as_ptr(), group.0.as_ptr()) })?;
        // INVARIANT: Attached just now; the group's reference and the domain are kept from now on.
        Ok(DmaMap {
            group: core::mem::ManuallyDrop::new(group).0,
            domain: core::mem::ManuallyDrop::new(domain).0,
        })
    }
}

impl Drop for DmaMap {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::iommu_detach_group(self.domain.as_ptr(), self.group.as_ptr()) };
        drop(Domain(self.domain));
        drop(Group(self.group));
    }
}

/// Takes an OS's memory out of the reach of `function`, which the first OS is about to lose, if
/// nothing else is in its group: one that becomes empty must have its own domain
/// (`__iommu_group_free_device()`, drivers/iommu/iommu.c).
pub(crate) fn leave(function: &PciFunction) {
    let Some(group) = Group::of(function) else {
        return;
    };
    // SAFETY: The function is kept, and with it its domain.
    let domain = unsafe { bindings::iommu_get_domain_for_dev(function.as_device()) };
    // SAFETY: As above.
    let is_ours = unsafe { domain.as_ref() }
        .is_some_and(|domain| domain.type_ == bindings::IOMMU_DOMAIN_UNMANAGED);
    if is_ours && group.len() == 1 {
        // SAFETY: Both are kept; what was detached may be detached again by who has the domain.
        unsafe { bindings::iommu_detach_group(domain, group.0.as_ptr()) };
    }
}

/// Whether the addresses that `function` uses are translated.
fn function_is_translated(function: &PciFunction) -> bool {
    // SAFETY: The function is kept, and with it its domain.
    let domain = unsafe { bindings::iommu_get_domain_for_dev(function.as_device()).as_ref() };
    domain.is_some_and(|domain| domain.type_ & bindings::__IOMMU_DOMAIN_PT == 0)
}

/// A reference to an IOMMU group.
struct Group(NonNull<bindings::iommu_group>);

impl Group {
    fn of(function: &PciFunction) -> Option<Self> {
        // SAFETY: The function is kept.
        NonNull::new(unsafe { bindings::iommu_group_get(function.as_device()) }).map(Group)
    }

    /// How many devices are in it.
    fn len(&self) -> usize {
        let mut len = 0usize;
        // SAFETY: The group is kept, and the callback gets what it expects.
        unsafe {
            iommu_group_for_each_dev(self.0.as_ptr(), (&raw mut len).cast(), Some(Self::count))
        };
        len
    }

    unsafe extern "C" fn count(_device: *mut bindings::device, len: *mut c_void) -> c_int {
        // SAFETY: It is what `len` passed, which waits meanwhile.
        unsafe { *len.cast::<usize>() += 1 };
        0
    }

    /// Checks that none but `functions`, and bridges, are in the group.
    fn check<'a>(&self, functions: impl Iterator<Item = &'a PciFunction>, os: &CString) -> Result {
        let mut others = Others {
            devices: KVec::new(),
            stranger: None,
        };
        for function in functions {
            others.devices.push(function.as_device(), GFP_KERNEL)?;
        }
        // SAFETY: The group is kept, and the callback gets what it expects.
        unsafe {
            iommu_group_for_each_dev(
                self.0.as_ptr(),
                (&raw mut others).cast(),
                Some(Others::visit),
            )
        };
        match others.stranger {
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

/// The devices that may be in a group, and one that is but may not.
struct Others {
    devices: KVec<*mut bindings::device>,
    stranger: Option<CString>,
}

impl Others {
    unsafe extern "C" fn visit(device: *mut bindings::device, others: *mut c_void) -> c_int {
        // SAFETY: It is what `check` passed, which waits meanwhile.
        let others = unsafe { &mut *others.cast::<Self>() };
        // SAFETY: The group keeps the device.
        if others.devices.contains(&device) || unsafe { is_bridge(device) } {
            return 0;
        }
        // SAFETY: As above; a device has a name.
        let name = unsafe { CStr::from_char_ptr((*device).kobj.name) };
        others.stranger = CString::try_from(name)
            .or_else(|_| CString::try_from(c"another device"))
            .ok();
        1
    }
}

/// Whether `device` is a PCI-to-PCI bridge, which uses no memory by itself.
///
/// # Safety
///
/// The device must be kept.
unsafe fn is_bridge(device: *mut bindings::device) -> bool {
    // SAFETY: The caller's promise.
    if !unsafe { bindings::dev_is_pci(device) } {
        return false;
    }
    // SAFETY: It is part of a PCI function, as was just asked.
    let function = unsafe { kernel::container_of!(device, bindings::pci_dev, dev) };
    // SAFETY: As above.
    (unsafe { (*function).class }) >> 8 == bindings::PCI_CLASS_BRIDGE_PCI
}

impl Drop for Group {
    fn drop(&mut self) {
        // SAFETY: It is our reference.
        unsafe { bindings::iommu_group_put(self.0.as_ptr()) };
    }
}

/// What an IOMMU lets functions reach.
///
/// # Invariants
///
/// It is ours to free.
struct Domain(NonNull<bindings::iommu_domain>);

impl Domain {
    fn new(function: &PciFunction) -> Result<Self> {
        // SAFETY: The function is kept.
        let domain = unsafe { bindings::iommu_paging_domain_alloc_flags(function.as_device(), 0) };
        // INVARIANT: Allocated just now.
        Ok(Domain(NonNull::new(from_err_ptr(domain)?).ok_or(ENODEV)?))
    }

    fn map(&self, range: &Range) -> Result {
        // SAFETY: By the type invariants; nobody uses the domain yet.
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
        // SAFETY: By the type invariants. What it maps is nobody's pages, so nothing is unmapped.
        unsafe { bindings::iommu_domain_free(self.0.as_ptr()) };
    }
}
