// SPDX-License-Identifier: GPL-2.0

//! The disks that a person gives an OS, as written to the file `disks`.

use crate::memory_device::bus::{FIRST_DISK_SLOT, MAX_FUNCTIONS};
use core::fmt;

/// The maximum number of disks of an OS.
pub const MAX_DISKS: usize = MAX_FUNCTIONS - FIRST_DISK_SLOT;

/// What follows the path of a disk that can only be read.
const READ_ONLY: &str = ":ro";

/// A disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// The absolute path of a file or a block device.
    pub path: &'a str,
    /// Whether the OS can only read the disk.
    pub read_only: bool,
}

impl<'a> Wanted<'a> {
    /// Reads a word of the file; returns [`None`] if it is not an absolute path.
    pub fn parse(word: &'a str) -> Option<Self> {
        let (path, read_only) = match word.strip_suffix(READ_ONLY) {
            Some(path) => (path, true),
            None => (word, false),
        };
        let is_path = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
        is_path.then_some(Wanted { path, read_only })
    }
}

/// Returns the disks in `line`, a value of the file; [`None`] stands for a word that is not a disk.
pub fn each(line: &str) -> impl Iterator<Item = Option<Wanted<'_>>> + Clone {
    let words = line.split([' ', '\t']).filter(|word| !word.is_empty());
    words.map(Wanted::parse)
}

impl fmt::Display for Wanted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path)?;
        f.write_str(if self.read_only { READ_ONLY } else { "" })
    }
}
