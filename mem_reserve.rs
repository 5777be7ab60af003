// SPDX-License-Identifier: GPL-2.0

//! The pool of memory that `memmap=` reserved, and its allocations to OSes.
//!
//! The kernel's resource tree is the allocator: it is first-fit, supports alignment, and shows the
//! owners in /proc/iomem.

use crate::{
    image::layout::{LOW_END, LOW_RAM_START, PAGE, RANGE_ALIGN},
    linux::{efi_tables, kernel_mount::KernelMount, phys_memory},
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
    sync::{atomic::Atomic, atomic::Relaxed, Arc},
    types::Opaque, //
};

/// A reserved region, claimed for as long as this lives.
pub(crate) struct Region {
    range: Range,
    /// Allocations start and end at multiples of this, in bytes.
    align: u64,
    /// The number of allocated bytes. It may be too low for a moment, but is never too high.
    used: Atomic<u64>,
    arena: Node,
    /// Dropped after `arena`.
    _claim: Option<Node>,
    /// The name that the nodes point to. The kernel reads it as long as the region is claimed, which
    /// may be longer than the module is loaded: see `Allocation::drop`.
    _name: CString,
}

impl Region {
    /// Claims `range`, for allocations in multiples of `align`.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the first OS uses any of it, `EINVAL` if nothing is left after aligning it; the
    /// log says which.
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
        // SAFETY: The function walks the resource tree under its lock, and accepts any range.
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
        let name = CString::try_from(POOL_NAME)?;
        let (claim, arena) = if range.end() <= LOW_END {
            // Below 1 MiB, the kernel marks reserved ranges as busy (e820__reserve_resources()), so
            // nothing can be requested within them. Insert the claim, and allocate from a separate
            // tree.
            let claim = Node::inserted(range, &name).map_err(|_| busy())?;
            (Some(claim), Node::detached(range, &name)?)
        } else {
            (None, Node::requested(range, &name).ok_or_else(busy)?)
        };
        Ok(Region {
            range,
            align,
            used: Atomic::new(0),
            arena,
            _claim: claim,
            _name: name,
        })
    }

    /// Allocates `len` bytes as `name`: at `address` if there is one, otherwise anywhere in
    /// `within`.
    fn allocate(
        self: &Arc<Self>,
        len: u64,
        address: Option<u64>,
        within: &Range,
        name: &CString,
    ) -> Result<Allocation> {
        let name = CString::try_from(&**name)?;
        let mut resource = empty(&name);
        if let Some(start) = address {
            let range = Range::new(start, len).ok_or(EINVAL)?;
            if !self.range.contains(&range) {
                return Err(EBUSY);
            }
            resource.start = range.start();
            resource.end = range.end() - 1;
        }
        let node = KBox::new(Opaque::new(resource), GFP_KERNEL)?;
        // SAFETY: The arena is in a tree, and `node` is in none. `node` is a box, so it stays in place
        // until the allocation has removed it from the tree.
        let result = unsafe {
            match address {
                Some(_) => bindings::request_resource(self.arena.as_ptr(), node.get()),
                None => bindings::allocate_resource(
                    self.arena.as_ptr(),
                    node.get(),
                    len,
                    self.range.start().max(within.start()),
                    self.range.end().min(within.end()) - 1,
                    self.align,
                    None,
                    core::ptr::null_mut(),
                ),
            }
        };
        if result != 0 {
            return Err(EBUSY);
        }
        self.used.fetch_add(len, Relaxed);
        // INVARIANT: The call above has added `node` to the arena.
        let held = Held {
            node,
            len,
            region: self.clone(),
            _name: name,
        };
        // SAFETY: Nobody changes the start of a node that is in a tree.
        let start = unsafe { (*held.node.get()).start };
        Ok(Allocation {
            range: Range::new(start, len).ok_or(EINVAL)?,
            held: Some(held),
        })
    }
}

/// Memory that belongs to one OS. Dropping this scrubs the memory and gives it back.
///
/// # Invariants
///
/// Only the owner and the CPUs of its OS access the memory at `range`, which is that of `held`.
pub(crate) struct Allocation {
    range: Range,
    held: Option<Held>,
}

impl Allocation {
    /// Returns the range of the memory.
    pub(crate) fn range(&self) -> Range {
        self.range
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        // SAFETY: By the type invariants nobody else accesses the memory. The owner has parked the
        // CPUs of its OS before dropping this.
        if unsafe { phys_memory::scrub(self.range) }.is_err() {
            pr_err!(
                "{:#x}-{:#x} can't be mapped to be scrubbed: it is kept until the next boot\n",
                self.range.start(),
                self.range.end() - 1
            );
            // Nobody else may read what an OS has left there.
            core::mem::forget(self.held.take());
        }
    }
}

/// A part of a region that is not free.
///
/// # Invariants
///
/// `node` is in the tree of `region`, with `len` bytes.
struct Held {
    node: KBox<Opaque<bindings::resource>>,
    len: u64,
    region: Arc<Region>,
    /// The name that `node` points to.
    _name: CString,
}

// SAFETY: Only the resource tree accesses the node, under its lock.
unsafe impl Send for Held {}
// SAFETY: Through a shared reference nothing is accessed.
unsafe impl Sync for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        // Before the memory becomes free for others, so that `used` is never too high.
        self.region.used.fetch_sub(self.len, Relaxed);
        // SAFETY: By the type invariants `node` is in the tree.
        unsafe { bindings::release_resource(self.node.get()) };
    }
}

/// All memory that was reserved for successors.
pub(crate) struct Pool {
    /// Regions above 1 MiB, for the ranges of OSes.
    ranges: KVec<Arc<Region>>,
    /// Regions below 640 KiB, for trampolines and low RAM.
    low: KVec<Arc<Region>>,
}

impl Pool {
    /// Claims all ranges of `reserved`.
    ///
    /// # Errors
    ///
    /// Those of [`Region::claim`]; `ENOENT` if `reserved` lacks a range or low memory; `EINVAL` if
    /// a range overlaps another, is not RAM in the memory map of the machine's firmware, or has an
    /// EFI table in it that the first OS reads.
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

    /// Allocates memory for `request` as `name`: at the requested address, or otherwise anywhere
    /// below `limit`.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if no free block is large enough, `EBUSY` if the requested address is not free.
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

    /// Allocates `len` bytes of low memory that no kernel will use as RAM, as `name`.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if no free block is large enough.
    pub(crate) fn allocate_low(&self, len: u64, name: &CString) -> Result<Allocation> {
        let within = Range::from_to(PAGE, LOW_END).ok_or(EINVAL)?;
        first(&self.low, len, None, &within, name).ok_or(ENOMEM)?
    }

    /// Allocates `len` bytes of low memory that a kernel can use as RAM, as `name`.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if no free block is large enough.
    pub(crate) fn allocate_low_ram(&self, len: u64, name: &CString) -> Result<Allocation> {
        let within = Range::from_to(LOW_RAM_START, LOW_END).ok_or(EINVAL)?;
        first(&self.low, len, None, &within, name).ok_or(ENOMEM)?
    }

    /// Returns the number of bytes reserved above 1 MiB.
    pub(crate) fn total(&self) -> u64 {
        self.ranges.iter().map(|region| region.range.len()).sum()
    }

    /// Returns the number of free bytes above 1 MiB.
    pub(crate) fn free(&self) -> u64 {
        free(&self.ranges)
    }

    /// Returns the number of free bytes of low memory.
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

/// Tries `regions` in turn. Returns the result of the first that has room, or [`None`] if none has.
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

/// Returns the RAM in the original memory map of the machine's firmware, without the changes by
/// `memmap=`.
fn firmware_ram() -> Result<KVec<Range>> {
    let sysfs = KernelMount::sysfs()?;
    let mut ram = KVec::new();
    let mut buffer = [0; 32];
    for number in 0.. {
        let path = |file: &str| CString::try_from_fmt(fmt!("firmware/memmap/{number}/{file}"));
        let kind = match sysfs.read_text(&path("type")?, &mut buffer) {
            Err(error) if error == ENOENT => break,
            kind => kind?,
        };
        if kind != "System RAM" {
            continue;
        }
        let mut address = |file| {
            let text = sysfs.read_text(&path(file)?, &mut buffer)?;
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
        pr_err!("can't tell what is memory: boot a first OS with CONFIG_FIRMWARE_MEMMAP\n");
        return Err(ENOENT);
    }
    Ok(ram)
}

const POOL_NAME: &CStr = c"Mint pool";

/// Makes a `struct resource` called `name` that is in no tree. The name must outlive it.
///
/// It does not have IORESOURCE_MEM. For memory, x86's allocator avoids all ranges that the e820 map
/// lists (`arch_remove_reservations()`), and the pool consists of such ranges only.
fn empty(name: &CStr) -> bindings::resource {
    bindings::resource {
        name: name.as_char_ptr(),
        flags: bindings::IORESOURCE_BUSY as usize,
        ..Default::default()
    }
}

/// A node of a resource tree that represents a whole region.
///
/// # Invariants
///
/// The pointer of each variant is valid for as long as this lives.
enum Node {
    /// Made by `__request_region()` in `iomem_resource`.
    Requested(*mut bindings::resource, Range),
    /// Owned by this, and inserted into `iomem_resource`.
    Inserted(KBox<Opaque<bindings::resource>>),
    /// Owned by this; the root of a separate tree.
    Detached(KBox<Opaque<bindings::resource>>),
}

// SAFETY: Only the resource tree's functions access a node, under their lock.
unsafe impl Send for Node {}
// SAFETY: Only the resource tree's functions access a node, under their lock.
unsafe impl Sync for Node {}

impl Node {
    /// The name must outlive the node, here and in the functions below.
    fn requested(range: Range, name: &CStr) -> Option<Self> {
        // SAFETY: `iomem_resource` is static, and the region keeps the name.
        let node = unsafe {
            bindings::__request_region(
                addr_of_mut!(bindings::iomem_resource),
                range.start(),
                range.len(),
                name.as_char_ptr(),
                0,
            )
        };
        // INVARIANT: The node is valid until `drop()` releases it.
        (!node.is_null()).then_some(Node::Requested(node, range))
    }

    fn boxed(range: Range, name: &CStr) -> Result<KBox<Opaque<bindings::resource>>> {
        let node = bindings::resource {
            start: range.start(),
            end: range.end() - 1,
            ..empty(name)
        };
        Ok(KBox::new(Opaque::new(node), GFP_KERNEL)?)
    }

    fn inserted(range: Range, name: &CStr) -> Result<Self> {
        let node = Self::boxed(range, name)?;
        // SAFETY: The node is in no tree. It is a box, which stays in place until `drop()` has
        // removed it from the tree.
        kernel::error::to_result(unsafe {
            bindings::insert_resource(addr_of_mut!(bindings::iomem_resource), node.get())
        })?;
        Ok(Node::Inserted(node))
    }

    fn detached(range: Range, name: &CStr) -> Result<Self> {
        Ok(Node::Detached(Self::boxed(range, name)?))
    }

    fn as_ptr(&self) -> *mut bindings::resource {
        match self {
            Node::Requested(node, _) => *node,
            Node::Inserted(node) | Node::Detached(node) => node.get(),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        match self {
            // SAFETY: `requested()` requested exactly this range.
            Node::Requested(_, range) => unsafe {
                bindings::__release_region(
                    addr_of_mut!(bindings::iomem_resource),
                    range.start(),
                    range.len(),
                )
            },
            Node::Inserted(node) => {
                // SAFETY: `inserted()` put the node into the tree. Its children move up, and the
                // function can't fail for a node that is in the tree.
                unsafe { bindings::remove_resource(node.get()) };
            }
            Node::Detached(_) => {}
        }
    }
}
