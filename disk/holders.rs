// SPDX-License-Identifier: GPL-2.0

//! Which files OSes have as disks. One OS may write to a file, or any number may read it.

use crate::linux::disk_file::DiskId;
use kernel::{
    new_mutex,
    prelude::*,
    str::CString,
    sync::{Arc, Mutex}, //
};

/// The files of all OSes.
#[pin_data]
pub(crate) struct Holders {
    #[pin]
    list: Mutex<KVec<Entry>>,
}

/// A file that an OS has as a disk.
struct Entry {
    id: DiskId,
    read_only: bool,
    os: CString,
}

/// An OS's right to a file, which ends when this is dropped.
pub(crate) struct Hold {
    holders: Arc<Holders>,
    id: DiskId,
    read_only: bool,
}

impl Holders {
    /// Makes an empty list.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Holders {
            list <- new_mutex!(KVec::new()),
        })
    }

    /// Enters the file with `id`, which is at `path`, in the list, for `os`.
    ///
    /// # Errors
    ///
    /// `EBUSY` if an OS has the file, unless both only read it; the log says which OS. `ENOMEM`.
    pub(super) fn hold(
        self: &Arc<Self>,
        id: DiskId,
        read_only: bool,
        path: &CStr,
        os: &CString,
    ) -> Result<Hold> {
        let entry = Entry {
            id,
            read_only,
            os: CString::try_from(&**os)?,
        };
        let mut list = self.list.lock();
        let excludes = |held: &&Entry| held.id == id && !(held.read_only && read_only);
        if let Some(held) = list.iter().find(excludes) {
            pr_err!(
                "{}: '{}' has {}: only one can write to a disk; several can read it, all as {}:ro\n",
                &**os,
                &*held.os,
                path,
                path
            );
            return Err(EBUSY);
        }
        list.push(entry, GFP_KERNEL)?;
        Ok(Hold {
            holders: self.clone(),
            id,
            read_only,
        })
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut list = self.holders.list.lock();
        let is_it = |entry: &Entry| entry.id == self.id && entry.read_only == self.read_only;
        if let Some(index) = list.iter().position(is_it) {
            let _ = list.remove(index);
        }
    }
}
