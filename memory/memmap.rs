// SPDX-License-Identifier: GPL-2.0

//! Ranges of physical memory, and those that `memmap=` reserved on a command line.

use crate::memory::kernel_params::{memparse, params};
use core::iter;

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
        end_of_cover(self.start, others) >= self.end()
    }

    /// The largest part whose both ends are multiples of `align` (a power of two).
    pub fn align_inwards(&self, align: u64) -> Option<Range> {
        let start = self.start.checked_next_multiple_of(align)?;
        Range::from_to(start, self.end() & !(align - 1))
    }

    /// The largest part that lies in `ram`, shares no byte with any of `taken`, and whose both ends
    /// are multiples of `align` (a power of two).
    pub fn largest_part(
        &self,
        ram: &[Range],
        taken: impl Iterator<Item = Range> + Clone,
        align: u64,
    ) -> Option<Range> {
        // A part begins with the range, or where RAM begins, or where something taken ends.
        iter::once(self.start)
            .chain(ram.iter().map(Range::start))
            .chain(taken.clone().map(|range| range.end()))
            .filter(|&start| self.has(start))
            .filter_map(|start| {
                let end = end_of_cover(start, ram).min(self.end());
                let end = taken
                    .clone()
                    .filter(|range| range.end() > start)
                    .fold(end, |end, range| end.min(range.start));
                Range::from_to(start, end)?.align_inwards(align)
            })
            .max_by_key(Range::len)
    }
}

/// The first address from `start` on that lies in none of `ranges`.
fn end_of_cover(start: u64, ranges: &[Range]) -> u64 {
    let mut end = start;
    while let Some(next) = ranges.iter().find(|range| range.has(end)) {
        end = next.end();
    }
    end
}

/// The ranges that `memmap=SIZE$ADDRESS` and `memmap=SIZE%ADDRESS-1+2` reserve on `line`, in the order
/// written.
///
/// The second form turns what is RAM (1) into reserved memory (2), and leaves alone what is not. The
/// other forms (`@` RAM, `#` ACPI, `!` persistent, `%` with other types, `exactmap`) are passed over.
/// What the kernel itself would not understand is not reserved either. Reference:
/// `parse_memmap_one()` in `arch/x86/kernel/e820.c`.
pub fn reserved(line: &str) -> impl Iterator<Item = Range> + '_ {
    params(line)
        .filter(|param| param.is("memmap"))
        .filter_map(|param| param.value)
        .flat_map(|value| value.split(','))
        .filter_map(|entry| {
            let (size, rest) = memparse(entry)?;
            let start = if let Some(rest) = rest.strip_prefix('$') {
                memparse(rest)?.0
            } else {
                let (start, types) = memparse(rest.strip_prefix('%')?)?;
                (types == "-1+2").then_some(start)?
            };
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
