// SPDX-License-Identifier: GPL-2.0

//! Finds records in a kernel's log that show the end of the kernel.

use super::{
    printk_log::{Entry, Error, Log, Record},
    PhysicalMemory,
};

/// How a kernel has ended, according to its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// It has halted, after `halt`, or after `poweroff` if it can't power off.
    Halted,
    /// It has panicked, for this reason, and now loops forever.
    Panicked(&'a [u8]),
    /// It has started another kernel by kexec.
    Replaced,
}

/// The messages of `kernel_halt()` (kernel/reboot.c) before the CPU stops. Newer kernels print the
/// second one if they should power off and can't.
const HALTED: [&[u8]; 2] = [
    b"reboot: System halted",
    b"reboot: Power off not available: System halted instead",
];
// The last message of panic() (kernel/panic.c) before it loops forever. panic() does not print it
// if it starts a crash kernel or reboots.
const PANICKED: &[u8] = b"---[ end Kernel panic - not syncing: ";
const PANICKED_END: &[u8] = b" ]---";
/// The last message of `kernel_kexec()` (kernel/kexec_core.c).
const REPLACED: &[u8] = b"kexec_core: Starting new kernel";

impl<'a> Event<'a> {
    /// Returns the event that `record` shows. Its text is at the start of `text`.
    fn of(record: &Record, text: &'a [u8]) -> Option<Self> {
        // Records with another facility come from user space, through /dev/kmsg.
        if record.facility != 0 {
            return None;
        }
        let text = &text[..record.len];
        if HALTED.contains(&text) {
            return Some(Event::Halted);
        }
        if text == REPLACED {
            return Some(Event::Replaced);
        }
        let reason = text.strip_prefix(PANICKED)?;
        Some(Event::Panicked(
            reason.strip_suffix(PANICKED_END).unwrap_or(reason),
        ))
    }
}

/// The maximum number of records to read, newest first. A kernel's buffer of the default size has
/// room for half of this (`CONFIG_LOG_BUF_SHIFT`, at most 18 in Debian's kernels); a corrupt one
/// may seem to have 2^26.
pub const RECORDS_MAX: u64 = 1 << 14;

/// How many of the newest records are read again while one of them is not final.
const PENDING_MAX: u64 = 64;

/// Detects the events since the last scan.
#[derive(Clone, Copy, Debug, Default)]
pub struct Events {
    /// The first record that has not been read, or that was not final when it was read.
    next: Option<u64>,
    /// The record that showed the last event.
    last: Option<u64>,
}

impl Events {
    /// Makes a detector that has not read any record.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the new records, and returns the last event that they show. Returns [`None`] if there
    /// is none, or if a previous call has returned it. Skips the oldest records if there are more
    /// than [`RECORDS_MAX`]. `text` should have [`TEXT_LEN_MAX`] bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Outside`] or [`Error::Ids`].
    pub fn scan<'a>(
        &mut self,
        log: &Log,
        mem: &mut dyn PhysicalMemory,
        text: &'a mut [u8],
    ) -> Result<Option<Event<'a>>, Error> {
        let ids = log.ids(mem, self.next)?.newest(RECORDS_MAX);
        let end = ids.end();
        let mut pending = None;
        let mut found = None;
        for id in ids {
            let is_final = match log.read(mem, id, text)? {
                Entry::Record(record) => {
                    if Event::of(&record, text).is_some() {
                        found = Some(id);
                    }
                    record.is_final
                }
                Entry::Pending => false,
                Entry::Gone => true,
            };
            if !is_final {
                pending = pending.or(Some(id));
            }
        }
        // If a CPU stopped while it was writing a record, that record never becomes final.
        let mask = log.id_mask();
        let is_recent = |&id: &u64| end.wrapping_sub(id) & mask <= PENDING_MAX;
        self.next = Some(pending.filter(is_recent).unwrap_or(end));

        let Some(id) = found.filter(|_| found != self.last) else {
            return Ok(None);
        };
        // `text` holds the text of a later record now: read this one again.
        let Entry::Record(record) = log.read(mem, id, text)? else {
            self.next = Some(id);
            return Ok(None);
        };
        self.last = found;
        Ok(Event::of(&record, text))
    }
}
