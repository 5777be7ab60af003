// SPDX-License-Identifier: GPL-2.0

//! Ranges of physical memory, and those that `memmap=` reserved on a command line.

use crate::memory::kernel_params::{memparse, params};

/// A range of physical memory, in bytes.
///
/// # Invariants
///
/// `len` is not 0 and the range ends within the 64-bit address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    start: u64,
    len: u64,
}

impl Range {
    /// The range of `len` bytes from `start`; [`None`] if it is empty or wraps around.
    pub fn new(start: u64, len: u64) -> Option<Self> {
        // INVARIANT: Checked here.
        (len > 0 && start.checked_add(len).is_some()).then_some(Range { start, len })
    }

    /// The range from `start` up to, not including, `end`.
    pub fn from_to(start: u64, end: u64) -> Option<Self> {
        Self::new(start, end.checked_sub(start)?)
    }

    /// The first byte's address.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The length in bytes.
    // A range is never empty.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// The address behind the last byte.
    pub fn end(&self) -> u64 {
        self.start + self.len
    }

    /// Whether the byte at `address` lies in it.
    pub fn has(&self, address: u64) -> bool {
        self.start <= address && address < self.end()
    }

    /// Whether all of `other` lies within this range.
    pub fn contains(&self, other: &Range) -> bool {
        self.start <= other.start && other.end() <= self.end()
    }

    /// Whether any byte lies in both ranges.
    pub fn overlaps(&self, other: &Range) -> bool {
        self.start < other.end() && other.start < self.end()
    }

    /// Whether each byte lies in one of `others`.
    pub fn is_covered_by(&self, others: &[Range]) -> bool {
        let mut covered = self.start;
        while covered < self.end() {
            let Some(next) = others.iter().find(|other| other.has(covered)) else {
                return false;
            };
            covered = next.end();
        }
        true
    }

    /// The largest part whose both ends are multiples of `align` (a power of two).
    pub fn align_inwards(&self, align: u64) -> Option<Range> {
        let start = self.start.checked_next_multiple_of(align)?;
        Range::from_to(start, self.end() & !(align - 1))
    }
}

/// The ranges that `memmap=SIZE$ADDRESS` reserves on `line`, in the order written.
///
/// The other forms (`@` RAM, `#` ACPI, `!` persistent, `%` retyped, `exactmap`) are passed over.
/// What the kernel itself would not understand is not reserved either. Reference:
/// `parse_memmap_one()` in `arch/x86/kernel/e820.c`.
pub fn reserved(line: &str) -> impl Iterator<Item = Range> + '_ {
    params(line)
        .filter(|param| param.is("memmap"))
        .filter_map(|param| param.value)
        .flat_map(|value| value.split(','))
        .filter_map(|entry| {
            let (size, rest) = memparse(entry)?;
            let (start, _) = memparse(rest.strip_prefix('$')?)?;
            Range::new(start, size)
        })
}

/// What a person asks for in an OS's `memory` file: a size, and perhaps where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The size in bytes, not 0.
    pub size: u64,
    /// The address of the first byte, if it matters.
    pub address: Option<u64>,
}

/// Parses `SIZE` or `SIZE@ADDRESS`, as in `memmap=`; [`None`] for anything else.
pub fn parse_request(text: &str) -> Option<Request> {
    let (size, rest) = memparse(text)?;
    let address = match rest.strip_prefix('@') {
        Some(address) => match memparse(address)? {
            (address, "") => Some(address),
            _ => return None,
        },
        None if rest.is_empty() => None,
        None => return None,
    };
    Range::new(address.unwrap_or(0), size)?;
    Some(Request { size, address })
}
