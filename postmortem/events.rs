// SPDX-License-Identifier: GPL-2.0

//! What a kernel's log says of the kernel's end.

use super::{
    printk_log::{Entry, Error, Log, Record},
    PhysicalMemory,
};

/// How a kernel has ended, as it says itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// It has stopped after `halt`, or after `poweroff` where it can't power off.
    Halted,
    /// It has panicked, for this reason, and does nothing any more.
    Panicked(&'a [u8]),
    /// It has given the machine to another kernel, by kexec.
    Replaced,
}

/// What `kernel_halt()` (kernel/reboot.c) says before the CPU stops. The second is there since
/// kernels halt where they are told to power off and can't.
const HALTED: [&[u8]; 2] = [
    b"reboot: System halted",
    b"reboot: Power off not available: System halted instead",
];
// What panic() (kernel/panic.c) says before it loops for ever. After a crash kernel has been
// started, or when it goes on to reboot, it does not come to that.
const PANICKED: &[u8] = b"---[ end Kernel panic - not syncing: ";
const PANICKED_END: &[u8] = b" ]---";
/// What `kernel_kexec()` (kernel/kexec_core.c) says last.
const REPLACED: &[u8] = b"kexec_core: Starting new kernel";

impl<'a> Event<'a> {
    /// The event that a record tells of whose text is at the start of `text`.
    fn of(record: &Record, text: &'a [u8]) -> Option<Self> {
        // Others are what user space has written to /dev/kmsg.
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

/// No more than so many of the newest records are looked at. It is twice what a kernel's buffer has
/// room for that is of the default size (`CONFIG_LOG_BUF_SHIFT`, 18 at most in Debian's); one that
/// makes no sense may seem to have 2^26.
pub const RECORDS_MAX: u64 = 1 << 14;

/// So many of the newest records are looked at again while one of them is not final.
const PENDING_MAX: u64 = 64;

/// What has happened since somebody last looked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Events {
    /// The first record that has not been seen, or was not final when it was.
    next: Option<u64>,
    /// The record that told of the last event.
    last: Option<u64>,
}

impl Events {
    /// Nothing has been looked at yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the records that are new, and returns the last event that they tell of; [`None`] if
    /// there is none, or it was returned before. Of more than [`RECORDS_MAX`] the oldest are passed
    /// over. `text` should have [`TEXT_LEN_MAX`] bytes.
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
        // A record of a CPU that has stopped while it wrote stays as it is.
        let mask = log.id_mask();
        let is_recent = |&id: &u64| end.wrapping_sub(id) & mask <= PENDING_MAX;
        self.next = Some(pending.filter(is_recent).unwrap_or(end));

        let Some(id) = found.filter(|_| found != self.last) else {
            return Ok(None);
        };
        // Others have been read to `text` since.
        let Entry::Record(record) = log.read(mem, id, text)? else {
            self.next = Some(id);
            return Ok(None);
        };
        self.last = found;
        Ok(Event::of(&record, text))
    }
}
