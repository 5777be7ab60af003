// SPDX-License-Identifier: GPL-2.0

//! Inspects the kernel of an OS from outside, in the OS's memory: its log, and a core file.
//!
//! The other files in `postmortem/` parse the memory, and `os_memory.rs` maps it. This file keeps
//! track of which kernel is in the memory, and when to search for it again.

use crate::linux::errno::{EBADMSG, ENODATA};
use crate::{
    image::layout::{Layout, PAGE},
    linux::{log::Shown, phys_memory},
    postmortem::{
        os_memory::OsMemory,
        {
            elf_core::ElfCore,
            events::{self, Events, RECORDS_MAX},
            note_search::NoteSearch,
            page_walk::AddressSpace,
            printk_log::{self, Entry, Escaped, Log, TEXT_LEN_MAX},
            vmcoreinfo::{self, Architecture, VmcoreInfo, NOTE_HEADER_LEN, NOTE_LEN_MAX},
            PhysicalMemory,
        },
    },
    state::Event,
};
use core::fmt::{self, Display};
use kernel::{prelude::*, str::CString};

/// The maximum length of a log that is shown, in bytes of text: a corrupt log must not use up the
/// first OS's memory.
const LOG_MAX: usize = 32 << 20;
/// The first message of `panic()` (`kernel/panic.c`).
const PANIC: &[u8] = b"Kernel panic - not syncing: ";

/// A kernel that was found in the memory.
struct Found {
    /// The physical address of its VMCOREINFO note.
    address: u64,
    note: KVec<u8>,
    architecture: Architecture,
    /// The virtual address of the direct map of all memory.
    page_offset: Option<u64>,
    log: Log,
}

/// Inspects the kernel of one OS.
pub(crate) struct Inspector {
    memory: OsMemory,
    found: Option<Found>,
    search: NoteSearch,
    events: Events,
    /// A buffer for the text of a record.
    text: KVec<u8>,
    /// The text of the whole log, for a reader that reads it piece by piece.
    snapshot: KVVec<u8>,
}

impl Inspector {
    /// Makes an inspector of the OS in `layout`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    ///
    /// # Safety
    ///
    /// The memory of the layout must belong to the OS for as long as this lives.
    pub(crate) unsafe fn new(layout: &Layout) -> Result<Self> {
        Ok(Inspector {
            // SAFETY: This function has the same safety requirements.
            memory: unsafe { OsMemory::new(layout) },
            found: None,
            search: NoteSearch::new(),
            events: Events::new(),
            text: KVec::from_elem(0, TEXT_LEN_MAX, GFP_KERNEL)?,
            snapshot: KVVec::new(),
        })
    }

    /// Forgets the kernel. Call this before another one is started.
    pub(crate) fn forget(&mut self) {
        self.lose();
        self.search = NoteSearch::new();
        self.snapshot = KVVec::new();
    }

    /// Returns the event by which the kernel has ended according to its log, if that is new.
    pub(crate) fn look(&mut self) -> Option<Event> {
        self.lose_if_gone();
        if self.found.is_none() {
            // If this finds nothing, the next step may.
            let [.., range] = self.memory.ranges();
            let open = |mem: &mut dyn PhysicalMemory, note| open(mem, note, &mut self.text);
            let limit = self.search.limit();
            let found = self.search.look(&mut self.memory, &range, limit, open);
            self.found = found.ok();
        }
        let log = self.found.as_ref()?.log;
        match self.events.scan(&log, &mut self.memory, &mut self.text) {
            Ok(None) => None,
            Ok(Some(events::Event::Halted)) => Some(Event::Halted),
            Ok(Some(events::Event::Panicked(_))) => Some(Event::Panicked),
            // Another kernel uses the memory now.
            Ok(Some(events::Event::Replaced)) | Err(_) => {
                self.lose();
                None
            }
        }
    }

    /// Discards the kernel, to be searched for again, if its note has changed.
    fn lose_if_gone(&mut self) {
        let Some(found) = &self.found else {
            return;
        };
        let mut address = found.address;
        let mut buffer = [0; 256];
        let is_there = found.note.chunks(buffer.len()).all(|note| {
            let now = &mut buffer[..note.len()];
            let is_same = self.memory.read(address, now).is_some() && now == note;
            address += note.len() as u64;
            is_same
        });
        if !is_there {
            self.lose();
        }
    }

    /// Discards the kernel, to be searched for again.
    fn lose(&mut self) {
        self.found = None;
        self.search.rewind();
        self.events = Events::new();
    }

    /// Calls `visit` with the reason why the kernel panicked, if its log has that.
    pub(crate) fn panic_reason(&mut self, visit: impl FnOnce(&dyn Display)) {
        let _ = self.search_all();
        let Some(Found { log, .. }) = self.found else {
            return;
        };
        let Ok(ids) = log.ids(&mut self.memory, None) else {
            return;
        };
        for id in ids.newest(RECORDS_MAX) {
            let entry = log.read(&mut self.memory, id, &mut self.text);
            let Ok(Entry::Record(record)) = entry else {
                continue;
            };
            let reason = self.text[..record.len].strip_prefix(PANIC);
            if let (0, Some(reason)) = (record.facility, reason) {
                return visit(&Escaped(reason));
            }
        }
    }

    /// Copies the text of the kernel's log, from `offset` on, to `out`. Returns the number of
    /// bytes.
    ///
    /// # Errors
    ///
    /// `ENODATA` if there is no kernel in the memory, or not yet; `EBADMSG` if the kernel's log is
    /// corrupt; `EFBIG` if it is longer than [`LOG_MAX`]; `ENOMEM`.
    pub(crate) fn read_log(&mut self, os: &CString, offset: u64, out: &mut [u8]) -> Result<usize> {
        if offset == 0 {
            self.snapshot = KVVec::new();
            self.lose_if_gone();
            self.search_all().inspect_err(|_| {
                pr_err!("{}: no kernel log is found in its memory\n", &**os);
            })?;
            let found = self.found.as_ref().ok_or(ENODATA)?;
            let mut snapshot = Snapshot::new();
            found
                .log
                .write_text(&mut self.memory, &mut self.text, &mut snapshot)
                .map_err(|error| match error {
                    printk_log::Error::Stopped => snapshot.refusal,
                    _ => {
                        pr_err!("{}: its kernel log: {}\n", &**os, Shown(error));
                        EBADMSG.into()
                    }
                })?;
            self.snapshot = snapshot.text;
        }
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.snapshot.get(offset..))
            .unwrap_or_default();
        let len = rest.len().min(out.len());
        out[..len].copy_from_slice(&rest[..len]);
        if len == 0 {
            self.snapshot = KVVec::new();
        }
        Ok(len)
    }

    /// Copies the core file, from `offset` on, to `out`. Returns the number of bytes.
    ///
    /// # Errors
    ///
    /// `EIO` if the memory can't be read.
    pub(crate) fn read_core(&mut self, offset: u64, out: &mut [u8]) -> Result<usize> {
        if offset == 0 {
            // The memory may be useful even without VMCOREINFO.
            let _ = self.search_all();
        }
        let (architecture, note, page_offset) = match &self.found {
            Some(found) => (found.architecture, &found.note[..], found.page_offset),
            None => (Architecture::X86_64, &[][..], None),
        };
        let ranges = self.memory.ranges();
        ElfCore::new(architecture, note, &ranges, page_offset)
            .and_then(|core| core.read(&mut self.memory, offset, out))
            .map_err(|_| EIO)
    }

    /// Searches all the memory for the kernel, if it has not been found yet.
    ///
    /// # Errors
    ///
    /// `ENODATA` if there is no kernel; `EBADMSG` if there are possible notes, but none is usable.
    fn search_all(&mut self) -> Result {
        if self.found.is_none() {
            let [.., range] = self.memory.ranges();
            let open = |mem: &mut dyn PhysicalMemory, note| open(mem, note, &mut self.text);
            let found = self
                .search
                .look_everywhere(&mut self.memory, &range, open)
                .map_err(|error| error.unwrap_or(ENODATA.into()))?;
            self.found = Some(found);
        }
        Ok(())
    }
}

/// Opens the kernel whose note is at `address`. `text` is a buffer for its records.
fn open(mem: &mut dyn PhysicalMemory, address: u64, text: &mut [u8]) -> Result<Found> {
    let mut note = KVec::from_elem(0, NOTE_LEN_MAX, GFP_KERNEL)?;
    mem.read(address, &mut note).ok_or(EBADMSG)?;
    let info = VmcoreInfo::parse(&note).map_err(|_| EBADMSG)?;
    let architecture = info.architecture().map_err(|_| EBADMSG)?;
    let len = info.note_len();
    let space = AddressSpace::new(mem, &info).map_err(|_| EBADMSG)?;
    let log = Log::open(mem, &info, &space).map_err(|_| EBADMSG)?;
    // If the kernel has started another one by kexec, the memory is that kernel's now.
    let last = Events::new().scan(&log, mem, text);
    if last == Ok(Some(events::Event::Replaced)) {
        return Err(ENODATA.into());
    }
    let page_offset = space.page_offset(mem);
    note.truncate(len);
    Ok(Found {
        address,
        note,
        architecture,
        page_offset,
        log,
    })
}

/// The text of a log, while it is written.
struct Snapshot {
    text: KVVec<u8>,
    /// The error, once a write has failed.
    refusal: Error,
}

impl Snapshot {
    fn new() -> Self {
        Snapshot {
            text: KVVec::new(),
            refusal: EFBIG,
        }
    }
}

impl fmt::Write for Snapshot {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.text.len() + text.len() > LOG_MAX {
            return Err(fmt::Error);
        }
        self.text
            .extend_from_slice(text.as_bytes(), GFP_KERNEL)
            .map_err(|_| {
                self.refusal = ENOMEM;
                fmt::Error
            })
    }
}

/// Erases the traces of all kernels in the memory of `layout`, including those that another first
/// OS has started. So an earlier kernel is never taken for the next one.
///
/// # Errors
///
/// `ENOMEM` if the memory can't be mapped.
///
/// # Safety
///
/// The memory must belong to the OS, and none of its CPUs may run.
pub(crate) unsafe fn erase_traces(layout: &Layout) -> Result {
    // Kernels are searched for only in this range.
    // SAFETY: The caller guarantees that the memory belongs to the OS, and that none of its CPUs
    // runs, so nobody else accesses it.
    unsafe {
        phys_memory::for_each_window(layout.range(), |_, window| {
            for page in window.chunks_mut(PAGE as usize) {
                if vmcoreinfo::is_note(page) {
                    page[..NOTE_HEADER_LEN].fill(0);
                }
            }
        })
    }
}
