// SPDX-License-Identifier: GPL-2.0

//! Ranges of physical memory, and the ranges that `memmap=` reserves on a command line.

use crate::memory::kernel_params::{memparse, params};
use core::iter;

/// A range of physical memory, in bytes.
///
/// # Invariants
///
/// `len` is not 0, and `start + len` does not overflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    start: u64,
    len: u64,
}

impl Range {
    /// Makes the range of `len` bytes from `start`; returns [`None`] if it is empty or wraps
    /// around.
    pub fn new(start: u64, len: u64) -> Option<Self> {
        // INVARIANT: Both conditions are checked here.
        (len > 0 && start.checked_add(len).is_some()).then_some(Range { start, len })
    }

    /// Makes the range from `start` up to, not including, `end`; returns [`None`] if it is empty.
    pub fn from_to(start: u64, end: u64) -> Option<Self> {
        Self::new(start, end.checked_sub(start)?)
    }

    /// Returns the address of the first byte.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Returns the length in bytes.
    // A range is never empty.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns the address after the last byte.
    pub fn end(&self) -> u64 {
        self.start + self.len
    }

    /// Returns whether the byte at `address` lies in this range.
    pub fn has(&self, address: u64) -> bool {
        self.start <= address && address < self.end()
    }

    /// Returns whether all of `other` lies within this range.
    pub fn contains(&self, other: &Range) -> bool {
        self.start <= other.start && other.end() <= self.end()
    }

    /// Returns whether any byte lies in both ranges.
    pub fn overlaps(&self, other: &Range) -> bool {
        self.start < other.end() && other.start < self.end()
    }

    /// Returns whether each byte of this range lies in one of `others`.
    pub fn is_covered_by(&self, others: &[Range]) -> bool {
        end_of_cover(self.start, others) >= self.end()
    }

    /// Returns the largest part of this range that starts and ends at a multiple of `align`, a
    /// power of two.
    pub fn align_inwards(&self, align: u64) -> Option<Range> {
        let start = self.start.checked_next_multiple_of(align)?;
        Range::from_to(start, self.end() & !(align - 1))
    }

    /// Returns the largest part of this range that lies in `ram`, shares no byte with any of `taken`,
    /// and starts and ends at a multiple of `align`, a power of two.
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

/// Returns the first address from `start` on that lies in none of `ranges`.
fn end_of_cover(start: u64, ranges: &[Range]) -> u64 {
    let mut end = start;
    while let Some(next) = ranges.iter().find(|range| range.has(end)) {
        end = next.end();
    }
    end
}

/// Returns the ranges that `memmap=SIZE$ADDRESS` and `memmap=SIZE%ADDRESS-1+2` reserve on `line`, in
/// the order written.
///
/// The second form turns RAM (type 1) into reserved memory (type 2), and leaves all else alone. Skips
/// the other forms (`@` RAM, `#` ACPI, `!` persistent, `%` with other types, `exactmap`), and entries
/// that the kernel itself can't parse. Reference: `parse_memmap_one()` in `arch/x86/kernel/e820.c`.
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

/// The contents of an OS's `memory` file: a size, and perhaps an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The size in bytes, not 0.
    pub size: u64,
    /// The address of the first byte, if the person chose one.
    pub address: Option<u64>,
}

/// Parses `SIZE` or `SIZE@ADDRESS`, as in `memmap=`; returns [`None`] for anything else.
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
