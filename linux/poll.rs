// SPDX-License-Identifier: GPL-2.0

//! Tells when a file has something to read, as poll(2) does.

use crate::linux::{file::OpenFile, kthread::Alarm};
use kernel::{
    bindings,
    prelude::*,
    sync::{
        atomic::{Atomic, Full, Release},
        Arc, //
    },
    types::Opaque, //
};

/// Rings an alarm when a file has something to read.
///
/// # Invariants
///
/// `queue` is null, or the wait queue of the file, which `entry` is in.
#[pin_data(PinnedDrop)]
struct Entry {
    #[pin]
    entry: Opaque<bindings::wait_queue_entry>,
    queue: *mut bindings::wait_queue_head,
    has_news: Atomic<bool>,
    alarm: Arc<Alarm>,
}

/// A file, of which this tells when it has something to read.
pub(super) struct Polled {
    // Dropped first: its wait queue is the file's.
    entry: Pin<KBox<Entry>>,
    file: OpenFile,
}

// SAFETY: The wait queue has a lock of its own, and an open file may be used by any thread.
unsafe impl Send for Polled {}
// SAFETY: As above.
unsafe impl Sync for Polled {}

/// Makes `poll()` of a file put an entry into the file's wait queue.
#[repr(C)]
struct Table {
    table: bindings::poll_table_struct,
    entry: *mut Entry,
}

impl Polled {
    /// Rings `alarm` whenever `file` has something to read. The file must have one wait queue for as
    /// long as it is open.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINVAL` if the file can't be polled.
    pub(super) fn new(file: OpenFile, alarm: Arc<Alarm>) -> Result<Self> {
        // INVARIANT: The queue is null.
        let mut entry = KBox::pin_init(
            pin_init!(Entry {
                entry: Opaque::zeroed(),
                queue: core::ptr::null_mut(),
                has_news: Atomic::new(true),
                alarm,
            }),
            GFP_KERNEL,
        )?;
        // SAFETY: The file is open, and so has operations.
        let poll = unsafe { (*(*file.as_ptr()).f_op).poll }.ok_or(EINVAL)?;
        let mut table = Table {
            table: bindings::poll_table_struct {
                _qproc: Some(enqueue),
                // include/uapi/linux/eventpoll.h: all events.
                _key: !0,
            },
            // SAFETY: Nothing is moved out of it.
            entry: unsafe { entry.as_mut().get_unchecked_mut() },
        };
        // SAFETY: The file is open. `enqueue()` is called with the table, if at all, which is part of a
        // `Table`.
        unsafe { poll(file.as_ptr(), (&raw mut table).cast()) };
        if entry.queue.is_null() {
            return Err(EINVAL);
        }
        Ok(Polled { entry, file })
    }

    /// Returns the file.
    pub(super) fn file(&self) -> &OpenFile {
        &self.file
    }

    /// Returns whether the file may have had something to read since the last call.
    pub(super) fn take_news(&self) -> bool {
        self.entry.has_news.xchg(false, Full)
    }

    /// Has [`Polled::take_news`] return true the next time.
    pub(super) fn keep_news(&self) {
        self.entry.has_news.store(true, Release);
    }
}

/// Puts the entry of a [`Table`] into the wait queue of a file.
///
/// # Safety
///
/// `queue` must be a wait queue that lives as long as the file, and `table` part of a [`Table`] with a
/// valid entry.
unsafe extern "C" fn enqueue(
    _file: *mut bindings::file,
    queue: *mut bindings::wait_queue_head,
    table: *mut bindings::poll_table_struct,
) {
    // SAFETY: The caller guarantees that it is the first field of a `Table` with a valid entry, to which
    // nobody else has access now.
    let entry = unsafe { &mut *(*table.cast::<Table>()).entry };
    if !entry.queue.is_null() {
        return;
    }
    // SAFETY: The entry is initialised here, and taken out when it is dropped; it is pinned.
    unsafe {
        (*entry.entry.get()).func = Some(wake);
        bindings::add_wait_queue(queue, entry.entry.get());
    }
    // INVARIANT: The entry is in the queue.
    entry.queue = queue;
}

/// Rings the alarm of an entry. It stays in the queue.
///
/// # Safety
///
/// `entry` must be that of an [`Entry`].
unsafe extern "C" fn wake(
    entry: *mut bindings::wait_queue_entry,
    _mode: c_uint,
    _flags: c_int,
    _key: *mut c_void,
) -> c_int {
    // SAFETY: The caller guarantees that this is the entry of an `Entry`, which is taken out of the queue
    // under the queue's lock before it is dropped. The caller holds this lock.
    let entry = unsafe { &*kernel::container_of!(Opaque::cast_from(entry), Entry, entry) };
    if !entry.has_news.xchg(true, Full) {
        entry.alarm.ring();
    }
    // An entry that is not exclusive does not count.
    0
}

#[pinned_drop]
impl PinnedDrop for Entry {
    fn drop(self: Pin<&mut Self>) {
        if !self.queue.is_null() {
            // SAFETY: By the type invariants the entry is in the queue, which lives as long as the file;
            // the file is dropped after this.
            unsafe { bindings::remove_wait_queue(self.queue, self.entry.get()) };
        }
    }
}
