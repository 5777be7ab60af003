// SPDX-License-Identifier: GPL-2.0

//! Where the data of a command lies: Physical Region Pages, Base 4.3.

use crate::memory_device::access::{OutOfReach, SystemMemory};
use crate::nvme::registers::PAGE_LEN;
use crate::nvme::status::{self, Status};

/// MDTS, Base 5.15.2.2: the highest amount of data of a command is 2^5 pages, 128 KiB.
pub const MDTS: u8 = 5;
/// The same in bytes.
pub const MAX_LEN: u32 = (PAGE_LEN as u32) << MDTS;
/// The highest number of pages that the data of a command touches.
const MAX_PAGES: usize = (1 << MDTS) + 1;
/// The length of a PRP entry.
const ENTRY_LEN: usize = 8;

/// The successor's memory that a command reads or writes. The addresses are the successor's:
/// whether it owns them is only known at each access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data {
    /// The address of the first byte, then those of the pages behind.
    pages: [u64; MAX_PAGES],
    /// The number of bytes, [`MAX_LEN`] at most.
    len: u32,
}

impl Data {
    /// No data.
    pub const EMPTY: Data = Data {
        pages: [0; MAX_PAGES],
        len: 0,
    };

    /// Reads where the `len` bytes of a command lie from its two PRP entries, and from a PRP list
    /// if there is one. Base 4.3.
    ///
    /// # Errors
    ///
    /// The status that the command fails with.
    pub fn from_prps(memory: &impl SystemMemory, prps: [u64; 2], len: u32) -> Result<Self, Status> {
        if len > MAX_LEN {
            return Err(status::INVALID_FIELD);
        }
        let mut data = Data { len, ..Data::EMPTY };
        if len == 0 {
            return Ok(data);
        }
        // The offset is in dwords.
        if prps[0] % 4 != 0 {
            return Err(status::PRP_OFFSET_INVALID);
        }
        data.pages[0] = prps[0];
        let rest = u64::from(len).saturating_sub(PAGE_LEN - prps[0] % PAGE_LEN);
        let pages = (rest.div_ceil(PAGE_LEN) as usize).min(MAX_PAGES - 1);
        let out = &mut data.pages[1..=pages];
        match &mut *out {
            [] => {}
            [page] => *page = prps[1],
            list => read_list(memory, prps[1], list)?,
        }
        // All but the first start a page.
        if out.iter().any(|page| page % PAGE_LEN != 0) {
            return Err(status::PRP_OFFSET_INVALID);
        }
        Ok(data)
    }

    /// Returns the number of bytes.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Returns whether there is no data.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the memory as ranges of address and length, in order. Neighbouring pages are one
    /// range. The lengths add up to [`Data::len`].
    pub fn segments(&self) -> Segments<'_> {
        Segments {
            pages: &self.pages,
            left: self.len,
        }
    }

    /// Copies the memory to `out`, up to the shorter of the two.
    ///
    /// # Errors
    ///
    /// [`OutOfReach`] if the successor does not own all of the memory. A part may be copied.
    pub fn gather(&self, memory: &impl SystemMemory, out: &mut [u8]) -> Result<(), OutOfReach> {
        let mut out = out;
        for (address, len) in self.segments() {
            let len = (len as usize).min(out.len());
            let (part, rest) = out.split_at_mut(len);
            memory.read(address, part)?;
            out = rest;
        }
        Ok(())
    }

    /// Copies `bytes` to the memory, up to the shorter of the two.
    ///
    /// # Errors
    ///
    /// [`OutOfReach`] if the successor does not own all of the memory. A part may be copied.
    pub fn scatter(&self, memory: &impl SystemMemory, bytes: &[u8]) -> Result<(), OutOfReach> {
        self.scatter_at(memory, 0, bytes)
    }

    /// As [`Data::scatter`], from byte `offset` of the memory on.
    ///
    /// # Errors
    ///
    /// As for [`Data::scatter`].
    pub fn scatter_at(
        &self,
        memory: &impl SystemMemory,
        offset: u32,
        bytes: &[u8],
    ) -> Result<(), OutOfReach> {
        let mut skip = offset;
        let mut bytes = bytes;
        for (address, len) in self.segments() {
            let skipped = skip.min(len);
            skip -= skipped;
            let len = ((len - skipped) as usize).min(bytes.len());
            let (part, rest) = bytes.split_at(len);
            if !part.is_empty() {
                memory.write(address.wrapping_add(skipped.into()), part)?;
            }
            bytes = rest;
        }
        Ok(())
    }
}

/// Reads a PRP list that starts at `at`. Where more entries are needed than the rest of its page
/// has, the last entry of the page is the address of the next page of the list.
fn read_list(memory: &impl SystemMemory, at: u64, out: &mut [u64]) -> Result<(), Status> {
    if at % ENTRY_LEN as u64 != 0 {
        return Err(status::PRP_OFFSET_INVALID);
    }
    let (mut at, mut out) = (at, out);
    let mut bytes = [0; (MAX_PAGES - 1) * ENTRY_LEN];
    loop {
        let room = (PAGE_LEN - at % PAGE_LEN) as usize / ENTRY_LEN;
        let is_last = out.len() <= room;
        let count = if is_last { out.len() } else { room };
        let Some(list) = bytes.get_mut(..count * ENTRY_LEN) else {
            return Err(status::INTERNAL_ERROR);
        };
        memory
            .read(at, list)
            .map_err(|OutOfReach| status::DATA_TRANSFER_ERROR)?;
        let mut entries = list.chunks_exact(ENTRY_LEN).map(le64);
        let here = if is_last { count } else { count - 1 };
        let (part, rest) = out.split_at_mut(here);
        for (page, entry) in part.iter_mut().zip(&mut entries) {
            *page = entry;
        }
        match entries.next() {
            // A list's next page starts a page, so it has room for all the rest.
            Some(next) if next % PAGE_LEN == 0 => (at, out) = (next, rest),
            Some(_) => return Err(status::PRP_OFFSET_INVALID),
            None => return Ok(()),
        }
    }
}

fn le64(bytes: &[u8]) -> u64 {
    bytes
        .first_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Ranges of memory, each with address and length.
#[derive(Clone, Debug)]
pub struct Segments<'a> {
    pages: &'a [u64],
    left: u32,
}

impl Iterator for Segments<'_> {
    type Item = (u64, u32);

    fn next(&mut self) -> Option<(u64, u32)> {
        let (&start, mut rest) = self.pages.split_first()?;
        if self.left == 0 {
            return None;
        }
        let mut len = self.left.min((PAGE_LEN - start % PAGE_LEN) as u32);
        while let Some((&page, behind)) = rest.split_first() {
            if len == self.left || start.checked_add(len.into()) != Some(page) {
                break;
            }
            len += (self.left - len).min(PAGE_LEN as u32);
            rest = behind;
        }
        self.pages = rest;
        self.left -= len;
        Some((start, len))
    }
}
