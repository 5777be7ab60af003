// SPDX-License-Identifier: GPL-2.0

//! The memory that `memmap=` reserved, and the parts of it that OSes hold.
//!
//! The kernel's resource tree is the allocator: it is first-fit, knows alignment, and shows who
//! has what in /proc/iomem.

use crate::{
    image::layout::{LOW_END, LOW_RAM_START, PAGE, RANGE_ALIGN},
    linux::{efi_tables, file::read_text, phys_memory},
    memory::{
        kernel_params::memparse,
        memmap::{Range, Request},
    },
};
use core::ptr::addr_of_mut;
use kernel::{
    bindings,
    prelude::*,
    str::CString,
    sync::{atomic::Atomic, atomic::Relaxed, Arc}, //
};

/// A region that was reserved for successors, claimed for as long as it lives.
pub(crate) struct Region {
    range: Range,
    /// Multiples of which allocations start and end at, in bytes.
    align: u64,
    /// Bytes that are allocated; for a moment less, never more.
    used: Atomic<u64>,
    arena: Node,
    /// Dropped after `arena`.
    _claim: Option<Node>,
}

impl Region {
    /// Claims `range`, which is to be handed out in multiples of `align`.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the first OS uses any of it, `EINVAL` if nothing is left of it when it is
    /// aligned; the log says which.
    fn claim(range: Range, align: u64) -> Result<Self> {
        let Some(range) = range.align_inwards(align) else {
            pr_err!(
                "{:#x}-{:#x} is too small: reserve at least {} KiB\n",
                range.start(),
                range.end() - 1,
                align >> 10
            );
            return Err(EINVAL);
        };
        // SAFETY: Walks the resource tree under its lock; any numbers will do.
        let ram = unsafe {
            bindings::region_intersects(
                range.start(),
                range.len() as usize,
                bindings::IORESOURCE_SYSTEM_RAM as usize,
                bindings::IORES_DESC_NONE as usize,
            )
        };
        if ram != bindings::REGION_DISJOINT as c_int {
            pr_err!(
                "{:#x}-{:#x} is in use as System RAM: reserve it with memmap={:#x}%{:#x}-1+2 on the kernel command line\n",
                range.start(),
                range.end() - 1,
                range.len(),
                range.start()
            );
            return Err(EBUSY);
        }
        let busy = || {
            pr_err!(
                "{:#x}-{:#x} is taken, see /proc/iomem: choose another memmap=\n",
                range.start(),
                range.end() - 1
            );
            EBUSY
        };
        let (claim, arena) = if range.end() <= LOW_END {
            // Below 1 MiB the kernel marks what is reserved as busy
            // (e820__reserve_resources()), so that nothing can be requested within: insert the
            // claim, and allocate from a tree of its own.
            let claim = Node::inserted(range).map_err(|_| busy())?;
            (Some(claim), Node::detached(range)?)
        } else {
            (None, Node::requested(range).ok_or_else(busy)?)
        };
        Ok(Region {
            range,
            align,
            used: Atomic::new(0),
            arena,
            _claim: claim,
        })
    }

    /// Allocates `len` bytes, at `address` if there is one, else in `within`, as `name`.
    fn allocate(
        self: &Arc<Self>,
        len: u64,
        address: Option<u64>,
        within: &Range,
        name: &CString,
    ) -> Result<Allocation> {
        let name = CString::try_from(&**name)?;
        let mut node = KBox::new(empty(&name), GFP_KERNEL)?;
        let result = match address {
            Some(start) => {
                let range = Range::new(start, len).ok_or(EINVAL)?;
                if !self.range.contains(&range) {
                    return Err(EBUSY);
                }
                node.start = range.start();
                node.end = range.end() - 1;
                // SAFETY: The arena is in a tree and `node` in none; it is a box of its own, which
                // the allocation keeps until it has taken it out.
                unsafe { bindings::request_resource(self.arena.as_ptr(), &mut *node) }
            }
            // SAFETY: As above.
            None => unsafe {
                bindings::allocate_resource(
                    self.arena.as_ptr(),
                    &mut *node,
                    len,
                    self.range.start().max(within.start()),
                    self.range.end().min(within.end()) - 1,
                    self.align,
                    None,
                    core::ptr::null_mut(),
                )
            },
        };
        if result != 0 {
            return Err(EBUSY);
        }
        let range = Range::new(node.start, len).ok_or(EINVAL)?;
        self.used.fetch_add(len, Relaxed);
        // INVARIANT: `node` was put into the arena just now.
        Ok(Allocation {
            range,
            node,
            region: self.clone(),
            _name: name,
        })
    }
}

/// Memory that belongs to one OS. It is scrubbed and given back when it is dropped.
///
/// # Invariants
///
/// `node` is in the tree of `region` and covers `range`, which nobody else accesses but the CPUs
/// of the OS that holds it.
pub(crate) struct Allocation {
    range: Range,
    node: KBox<bindings::resource>,
    region: Arc<Region>,
    /// What `node` points to for its name.
    _name: CString,
}

// SAFETY: The node is only accessed by the resource tree, under its lock.
unsafe impl Send for Allocation {}
// SAFETY: A shared one only tells its range.
unsafe impl Sync for Allocation {}

impl Allocation {
    /// The memory.
    pub(crate) fn range(&self) -> Range {
        self.range
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the memory is ours; whoever drops it has parked the CPUs
        // that ran in it.
        if unsafe { phys_memory::scrub(self.range) }.is_err() {
            pr_err!(
                "no room to map {:#x}-{:#x}: it goes back to the pool unscrubbed\n",
                self.range.start(),
                self.range.end() - 1
            );
        }
        // Before somebody else can have it, so that never more is in use than there is.
        self.region.used.fetch_sub(self.range.len(), Relaxed);
        // SAFETY: By the type invariants it is in the tree.
        unsafe { bindings::release_resource(&mut *self.node) };
    }
}

/// All memory that was reserved for successors.
pub(crate) struct Pool {
    /// Above 1 MiB, for their ranges.
    ranges: KVec<Arc<Region>>,
    /// Below 640 KiB, for their trampolines.
    low: KVec<Arc<Region>>,
}

impl Pool {
    /// Claims `reserved`.
    ///
    /// # Errors
    ///
    /// As for [`Region::claim`]; `ENOENT` if there is no range or no low memory among them; `EINVAL`
    /// if one is no memory by what the machine's firmware said, has memory in it that the first OS
    /// keeps all the same, or overlaps another.
    pub(crate) fn claim(reserved: impl Iterator<Item = Range>) -> Result<Self> {
        let ram = firmware_ram()?;
        // What successors can't have, and why.
        let mut taken = KVec::new();
        let page_0 = Range::from_to(0, PAGE).ok_or(EINVAL)?;
        taken.push(
            (
                page_0,
                "has the interrupt vectors and BIOS data of page 0 in it",
            ),
            GFP_KERNEL,
        )?;
        for table in efi_tables::kept()? {
            taken.push(
                (table, "has an EFI table in it that the first OS reads"),
                GFP_KERNEL,
            )?;
        }
        let mut pool = Pool {
            ranges: KVec::new(),
            low: KVec::new(),
        };
        for range in reserved {
            let (list, align) = if range.end() <= LOW_END {
                (&mut pool.low, PAGE)
            } else {
                (&mut pool.ranges, RANGE_ALIGN)
            };
            let mut reasons = taken.iter().filter(|(part, _)| part.overlaps(&range));
            let reason = match reasons.next() {
                Some((_, why)) => Some(*why),
                None if !range.is_covered_by(&ram) => {
                    Some("is not all memory, see /sys/firmware/memmap")
                }
                None => None,
            };
            if let Some(why) = reason {
                let parts = taken.iter().map(|(part, _)| *part);
                refuse(&range, why, range.largest_part(&ram, parts, align));
                return Err(EINVAL);
            }
            taken.push((range, "overlaps another memmap="), GFP_KERNEL)?;
            list.push(
                Arc::new(Region::claim(range, align)?, GFP_KERNEL)?,
                GFP_KERNEL,
            )?;
        }
        if pool.ranges.is_empty() {
            pr_err!("no memory for successors: boot with memmap=SIZE%ADDRESS-1+2 (memmap=4G%4G-1+2, say)\n");
            return Err(ENOENT);
        }
        if pool.low.is_empty() {
            pr_err!("no low memory for trampolines: boot with memmap=128K%128K-1+2 as well\n");
            return Err(ENOENT);
        }
        Ok(pool)
    }

    /// Allocates what `request` asks for, as `name`; if no address is asked for, below `limit`.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if nothing that large is free, `EBUSY` if the address asked for is not.
    pub(crate) fn allocate(
        &self,
        request: &Request,
        limit: Option<u64>,
        name: &CString,
    ) -> Result<Allocation> {
        let error = if request.address.is_some() {
            EBUSY
        } else {
            ENOMEM
        };
        let within = Range::from_to(0, limit.unwrap_or(u64::MAX)).ok_or(EINVAL)?;
        first(&self.ranges, request.size, request.address, &within, name).ok_or(error)?
    }

    /// Allocates `len` bytes of low memory that no kernel takes for RAM, as `name`.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if nothing that large is free.
    pub(crate) fn allocate_low(&self, len: u64, name: &CString) -> Result<Allocation> {
        let within = Range::from_to(PAGE, LOW_END).ok_or(EINVAL)?;
        first(&self.low, len, None, &within, name).ok_or(ENOMEM)?
    }

    /// Allocates `len` bytes of low RAM, as `name`.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if nothing that large is free.
    pub(crate) fn allocate_low_ram(&self, len: u64, name: &CString) -> Result<Allocation> {
        let within = Range::from_to(LOW_RAM_START, LOW_END).ok_or(EINVAL)?;
        first(&self.low, len, None, &within, name).ok_or(ENOMEM)?
    }

    /// The bytes that were reserved in all, above 1 MiB.
    pub(crate) fn total(&self) -> u64 {
        self.ranges.iter().map(|region| region.range.len()).sum()
    }

    /// The bytes that are free in all, above 1 MiB.
    pub(crate) fn free(&self) -> u64 {
        free(&self.ranges)
    }

    /// The bytes of low memory that are free in all.
    pub(crate) fn free_low(&self) -> u64 {
        free(&self.low)
    }
}

/// Says why `range` can't be claimed, and which `part` of it could be.
fn refuse(range: &Range, why: &str, part: Option<Range>) {
    let (start, last) = (range.start(), range.end() - 1);
    match part {
        Some(part) => pr_err!(
            "{start:#x}-{last:#x} {why}: memmap={:#x}%{:#x}-1+2 would do\n",
            part.len(),
            part.start()
        ),
        None => pr_err!("{start:#x}-{last:#x} {why}: choose another memmap=\n"),
    }
}

fn free(regions: &[Arc<Region>]) -> u64 {
    regions
        .iter()
        .map(|region| region.range.len() - region.used.load(Relaxed))
        .sum()
}

/// The first allocation that one of `regions` grants; [`None`] if none has the room.
fn first(
    regions: &[Arc<Region>],
    len: u64,
    address: Option<u64>,
    within: &Range,
    name: &CString,
) -> Option<Result<Allocation>> {
    regions
        .iter()
        .map(|region| region.allocate(len, address, within, name))
        .find(|result| !matches!(result, Err(error) if *error == EBUSY))
}

/// The memory that the machine's firmware told of, whatever `memmap=` made of it.
fn firmware_ram() -> Result<KVec<Range>> {
    let mut ram = KVec::new();
    let mut buffer = [0; 32];
    for number in 0.. {
        let path = |file: &str| CString::try_from_fmt(fmt!("/sys/firmware/memmap/{number}/{file}"));
        let kind = match read_text(&path("type")?, &mut buffer) {
            Err(error) if error == ENOENT => break,
            kind => kind?,
        };
        if kind != "System RAM" {
            continue;
        }
        let mut address = |file| {
            let text = read_text(&path(file)?, &mut buffer)?;
            match memparse(text) {
                Some((address, "")) => Ok(address),
                _ => Err(EINVAL),
            }
        };
        let (start, last) = (address("start")?, address("end")?);
        if let Some(range) = last
            .checked_add(1)
            .and_then(|end| Range::from_to(start, end))
        {
            ram.push(range, GFP_KERNEL)?;
        }
    }
    if ram.is_empty() {
        pr_err!("can't tell what is memory: mount sysfs on /sys, for /sys/firmware/memmap\n");
        return Err(ENOENT);
    }
    Ok(ram)
}

const POOL_NAME: &CStr = c"Mint pool";

/// A `struct resource` that is not in a tree, named `name`; the name must outlive it.
///
/// It is not marked as memory: for such, x86's allocator keeps clear of all that the e820 map
/// lists (`arch_remove_reservations()`), which is all that the pool is made of.
fn empty(name: &CStr) -> bindings::resource {
    bindings::resource {
        name: name.as_char_ptr(),
        flags: bindings::IORESOURCE_BUSY as usize,
        ..Default::default()
    }
}

/// A node of a resource tree that stands for a whole region.
///
/// # Invariants
///
/// The pointer of each variant is valid for as long as it lives.
enum Node {
    /// Made by `__request_region()` in `iomem_resource`.
    Requested(*mut bindings::resource, Range),
    /// Ours, and put into `iomem_resource`.
    Inserted(KBox<bindings::resource>),
    /// Ours, the root of a tree of its own.
    Detached(KBox<bindings::resource>),
}

// SAFETY: A node is only accessed by the resource tree's functions, under its lock.
unsafe impl Send for Node {}
// SAFETY: As above.
unsafe impl Sync for Node {}

impl Node {
    fn requested(range: Range) -> Option<Self> {
        // SAFETY: The name is static.
        let node = unsafe {
            bindings::__request_region(
                addr_of_mut!(bindings::iomem_resource),
                range.start(),
                range.len(),
                POOL_NAME.as_char_ptr(),
                0,
            )
        };
        // INVARIANT: It lives until it is released.
        (!node.is_null()).then_some(Node::Requested(node, range))
    }

    fn boxed(range: Range) -> Result<KBox<bindings::resource>> {
        let mut node = KBox::new(empty(POOL_NAME), GFP_KERNEL)?;
        node.start = range.start();
        node.end = range.end() - 1;
        Ok(node)
    }

    fn inserted(range: Range) -> Result<Self> {
        let mut node = Self::boxed(range)?;
        // SAFETY: The node is in no tree, and is a box of its own that is taken out before it is
        // freed.
        kernel::error::to_result(unsafe {
            bindings::insert_resource(addr_of_mut!(bindings::iomem_resource), &mut *node)
        })?;
        Ok(Node::Inserted(node))
    }

    fn detached(range: Range) -> Result<Self> {
        Ok(Node::Detached(Self::boxed(range)?))
    }

    fn as_ptr(&self) -> *mut bindings::resource {
        match self {
            Node::Requested(node, _) => *node,
            Node::Inserted(node) | Node::Detached(node) => (&raw const **node).cast_mut(),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        match self {
            // SAFETY: It was requested with these numbers.
            Node::Requested(_, range) => unsafe {
                bindings::__release_region(
                    addr_of_mut!(bindings::iomem_resource),
                    range.start(),
                    range.len(),
                )
            },
            Node::Inserted(node) => {
                // SAFETY: It was inserted. What was below it moves up; it can't fail for a node
                // that is in the tree.
                unsafe { bindings::remove_resource(&mut **node) };
            }
            Node::Detached(_) => {}
        }
    }
}
