// SPDX-License-Identifier: GPL-2.0

//! The range list of Dataset Management, Base 6.7.1.1.

/// The length of an entry of a range list.
pub const ENTRY_LEN: usize = 16;
/// The highest number of ranges: NR is 0's based, and has eight bits (Base 6.7).
pub const MAX_RANGES: u16 = 256;

/// The range list leaves the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LbaOutOfRange;

/// A range of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first block.
    pub lba: u64,
    /// The number of blocks.
    pub blocks: u32,
}

/// Returns the ranges of a list that was copied from the successor's memory; none is empty.
///
/// # Errors
///
/// [`LbaOutOfRange`] if any of them leaves a disk of `disk_blocks` blocks.
pub fn ranges(
    list: &[u8],
    disk_blocks: u64,
) -> Result<impl Iterator<Item = Range> + Clone + '_, LbaOutOfRange> {
    let ranges = list
        .chunks_exact(ENTRY_LEN)
        .filter_map(range)
        .filter(|range| range.blocks != 0);
    let is_on_disk = |range: Range| {
        let end = range.lba.checked_add(range.blocks.into());
        end.is_some_and(|end| end <= disk_blocks)
    };
    if ranges.clone().all(is_on_disk) {
        Ok(ranges)
    } else {
        Err(LbaOutOfRange)
    }
}

/// Reads an entry: context attributes, which are hints, then length and first block.
fn range(entry: &[u8]) -> Option<Range> {
    let (_attributes, rest) = entry.split_first_chunk::<4>()?;
    let (blocks, rest) = rest.split_first_chunk()?;
    Some(Range {
        lba: u64::from_le_bytes(*rest.first_chunk()?),
        blocks: u32::from_le_bytes(*blocks),
    })
}
