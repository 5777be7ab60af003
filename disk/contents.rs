// SPDX-License-Identifier: GPL-2.0

//! The contents of a disk: its file, and the requests that are under way there. Each request is a work
//! item, so that the poller never waits for the storage.

use crate::{
    disk::{
        busy,
        holders::{Hold, Holders},
        identity::{self, padded},
        statistics::Statistics,
    },
    linux::{
        disk_file::{Buffer, DiskFile, Refusal},
        kthread::Alarm,
        work_queue::OwnQueue,
    },
    memory_device::access::SystemMemory,
    nvme::{
        dataset,
        disk::Disk,
        status::Outcome,
        storage::{Operation, Request},
    },
};
use kernel::{
    bindings,
    impl_has_work,
    new_mutex,
    new_work,
    prelude::*,
    str::CString,
    sync::{
        atomic::{Acquire, Atomic, Full, Relaxed, Release},
        Arc,
        Mutex, //
    },
    time::{delay::fsleep, ClockSource, Delta, Monotonic},
    workqueue::{Work, WorkItem}, //
};

/// The maximum number of requests of a disk that are under way.
const SLOTS: u16 = 32;

/// How many finished requests of a disk are reported in one look, so that one disk does not keep the
/// others waiting.
const AT_ONCE: u32 = 8;

/// How long the first OS waits for requests when it goes down, in milliseconds.
const SHUTDOWN_LIMIT: u32 = 5_000;
const SHUTDOWN_STEP: u32 = 10;

/// The contents of a disk of an OS. Dropping this waits until no request is under way.
#[pin_data]
pub(crate) struct Contents {
    path: CString,
    read_only: bool,
    // Dropped first: this waits for the requests.
    queue: OwnQueue,
    shared: Arc<Shared>,
    slots: KVec<Arc<Slot>>,
    #[pin]
    statistics: Mutex<Statistics>,
    _hold: Hold,
}

/// What the requests of a disk share.
struct Shared {
    file: DiskFile,
    /// Whether a request was finished since somebody looked for one.
    is_one_finished: Atomic<bool>,
    /// Ends the poller's sleep.
    alarm: Arc<Alarm>,
}

/// Room for a request. It belongs to the poller while it is free or finished, and to its work item
/// while it is busy.
#[pin_data]
struct Slot {
    shared: Arc<Shared>,
    state: Atomic<u32>,
    #[pin]
    job: Mutex<Job>,
    #[pin]
    work: Work<Slot>,
}

// The states of a slot.
const FREE: u32 = 0;
const BUSY: u32 = 1;
const FINISHED: u32 = 2;

struct Job {
    request: Option<Request>,
    buffer: Buffer,
    begun: i64,
    outcome: Outcome,
}

impl_has_work! {
    impl HasWork<Self> for Slot { self.work }
}

impl WorkItem for Slot {
    type Pointer = Arc<Slot>;

    fn run(slot: Arc<Slot>) {
        slot.job.lock().perform(&slot.shared.file);
        slot.finish();
    }
}

impl Slot {
    fn finish(&self) {
        self.state.store(FINISHED, Release);
        self.shared.is_one_finished.store(true, Release);
        self.shared.alarm.ring();
    }
}

impl Job {
    fn perform(&mut self, file: &DiskFile) {
        self.outcome = match self.try_perform(file) {
            Ok(outcome) => outcome,
            Err(error) => outcome_of(error),
        };
    }

    fn try_perform(&mut self, file: &DiskFile) -> Result<Outcome> {
        let request = self.request.as_ref().ok_or(EINVAL)?;
        let buffer = &mut self.buffer;
        let len = request.data.len();
        let position = |lba: u64| lba << file.block_shift();
        match request.operation {
            Operation::Read { lba, fua, .. } => {
                if fua {
                    file.sync()?;
                }
                file.read(buffer, len, position(lba))?;
            }
            Operation::Write { lba, fua, .. } => file.write(buffer, len, position(lba), fua)?,
            Operation::Flush => file.sync()?,
            Operation::WriteZeroes {
                lba,
                blocks,
                deallocate,
                fua,
            } => {
                file.zero(buffer, position(lba), position(blocks.into()), deallocate)?;
                if fua {
                    file.sync()?;
                }
            }
            Operation::Deallocate { disk_blocks, .. } => {
                let Ok(ranges) = dataset::ranges(buffer.bytes(len), disk_blocks) else {
                    return Ok(Outcome::LbaOutOfRange);
                };
                for range in ranges {
                    file.discard(position(range.lba), position(range.blocks.into()))?;
                }
            }
        }
        Ok(Outcome::Success)
    }
}

/// Returns what a controller says of `error`.
fn outcome_of(error: Error) -> Outcome {
    match error.to_errno().unsigned_abs() {
        bindings::ENOSPC | bindings::EDQUOT | bindings::EFBIG => Outcome::NoSpace,
        bindings::EROFS | bindings::EPERM => Outcome::ReadOnly,
        bindings::EOPNOTSUPP => Outcome::NotSupported,
        bindings::ENOMEM | bindings::EAGAIN => Outcome::Busy,
        _ => Outcome::Failed,
    }
}

impl Contents {
    /// Opens the file or block device at `path` as a disk of `os`, with the credentials of the
    /// caller. `alarm` rings when a request is finished.
    ///
    /// # Errors
    ///
    /// `EBUSY` if somebody else uses it, `EINVAL` if it can't be a disk, those of open(2); the log says
    /// what to do. `ENOMEM`.
    pub(crate) fn open(
        path: &CStr,
        read_only: bool,
        holders: &Arc<Holders>,
        alarm: Arc<Alarm>,
        os: &CString,
    ) -> Result<Arc<Self>> {
        let log = |refusal: Refusal| {
            pr_err!(
                "{}: {} can't be a disk (error {}): {}\n",
                &**os,
                path,
                refusal.error.to_errno(),
                refusal.hint
            );
            if refusal.error == EBUSY {
                busy::tell(path, os);
            }
            refusal.error
        };
        let file = DiskFile::open(path, read_only).map_err(log)?;
        if !matches!(file.block_shift(), 9 | 12) {
            pr_err!(
                "{}: {} has blocks of {} bytes: only 512 and 4096 can be a disk's\n",
                &**os,
                path,
                1u64 << file.block_shift()
            );
            return Err(EINVAL);
        }
        let hold = holders.hold(file.id(), read_only, path, os)?;
        file.check_writers(read_only).map_err(log)?;
        let shared = Arc::new(
            Shared {
                file,
                is_one_finished: Atomic::new(false),
                alarm,
            },
            GFP_KERNEL,
        )?;
        let mut slots = KVec::with_capacity(SLOTS.into(), GFP_KERNEL)?;
        for _ in 0..SLOTS {
            slots.push(Slot::new(&shared)?, GFP_KERNEL)?;
        }
        let path = CString::try_from(path)?;
        Arc::pin_init(
            pin_init!(Contents {
                path,
                read_only,
                queue: OwnQueue::new(c"mint-disk", SLOTS)?,
                shared,
                slots,
                statistics <- new_mutex!(Statistics::default()),
                _hold: hold,
            }? Error),
            GFP_KERNEL,
        )
    }

    /// Returns the path.
    pub(crate) fn path(&self) -> &CStr {
        &self.path
    }

    /// Returns what the disk's controller, a PCI function of `vendor`, says of a disk of `blocks` blocks.
    pub(super) fn describe(&self, vendor: u16, blocks: u64) -> Disk {
        let file = self.file();
        let path = self.path.to_bytes();
        Disk {
            blocks,
            block_shift: file.block_shift(),
            read_only: self.read_only,
            can_discard: !self.read_only && file.can_punch(),
            discard_zeroes: false,
            vendor,
            subsystem_vendor: vendor,
            serial: padded(&identity::serial(path)),
            model: padded(identity::MODEL),
            firmware: padded(identity::FIRMWARE),
            uuid: identity::uuid(path),
        }
    }

    /// Returns the file.
    pub(super) fn file(&self) -> &DiskFile {
        &self.shared.file
    }

    /// Returns whether there is room for a further request.
    pub(super) fn has_room(&self) -> bool {
        self.free_slot().is_some()
    }

    fn free_slot(&self) -> Option<&Arc<Slot>> {
        let is_free = |slot: &&Arc<Slot>| slot.state.load(Acquire) == FREE;
        self.slots.iter().find(is_free)
    }

    /// Begins `request`. What it writes is copied from `memory` now. Only the poller calls this, and only
    /// if there is room.
    pub(super) fn begin(&self, request: Request, memory: &impl SystemMemory) {
        let Some(slot) = self.free_slot() else {
            return;
        };
        let mut job = slot.job.lock();
        job.begun = Monotonic::ktime_get();
        let outcome = job.prepare(&request, memory);
        job.request = Some(request);
        slot.state.store(BUSY, Relaxed);
        match outcome {
            Ok(()) => {
                drop(job);
                // Can't fail: the work item of a free slot is in no queue.
                let _ = self.queue.queue().enqueue(slot.clone());
            }
            Err(outcome) => {
                job.outcome = outcome;
                drop(job);
                slot.finish();
            }
        }
    }

    /// Calls `finished` for requests that were finished since the last call, up to [`AT_ONCE`] of them,
    /// with their outcomes and what they have read. Only the poller calls this.
    pub(super) fn take_finished(&self, mut finished: impl FnMut(Request, Outcome, &[u8])) {
        if !self.shared.is_one_finished.load(Relaxed) {
            return;
        }
        // A request that is finished after this sets it again.
        self.shared.is_one_finished.xchg(false, Full);
        let mut left = AT_ONCE;
        for slot in &self.slots {
            if slot.state.load(Acquire) != FINISHED {
                continue;
            }
            if left == 0 {
                self.shared.is_one_finished.store(true, Relaxed);
                break;
            }
            left -= 1;
            let mut job = slot.job.lock();
            let time = Monotonic::ktime_get().saturating_sub(job.begun);
            let Job {
                request,
                buffer,
                outcome,
                ..
            } = &mut *job;
            if let Some(request) = request.take() {
                self.statistics.lock().add(
                    &request.operation,
                    self.shared.file.block_shift(),
                    u64::try_from(time).unwrap_or(0),
                    *outcome == Outcome::Success,
                );
                let read = match request.operation {
                    Operation::Read { .. } => buffer.bytes(request.data.len()),
                    _ => &mut [],
                };
                finished(request, *outcome, read);
            }
            drop(job);
            slot.state.store(FREE, Release);
        }
    }

    /// Forgets the requests that were finished. Returns whether none is left that is under way. The poller
    /// must not look any more.
    pub(crate) fn settle(&self) -> bool {
        self.slots
            .iter()
            .fold(true, |all, slot| match slot.state.load(Acquire) {
                FREE => all,
                BUSY => false,
                _ => {
                    slot.job.lock().request = None;
                    slot.state.store(FREE, Release);
                    all
                }
            })
    }

    /// Waits for the requests that are under way, but not for ever, and puts on the storage what was
    /// written. The poller must not look any more.
    pub(super) fn sync(&self) {
        let mut waited = 0;
        while !self.settle() && waited < SHUTDOWN_LIMIT {
            fsleep(Delta::from_millis(SHUTDOWN_STEP.into()));
            waited += SHUTDOWN_STEP;
        }
        if waited >= SHUTDOWN_LIMIT || !self.read_only && self.file().sync().is_err() {
            pr_err!(
                "{}: not all that was written is on the storage\n",
                &*self.path
            );
        }
    }

    /// Returns the statistics, and the number of requests that are under way.
    pub(crate) fn statistics(&self) -> (Statistics, usize) {
        let is_busy = |slot: &&Arc<Slot>| slot.state.load(Relaxed) != FREE;
        let in_flight = self.slots.iter().filter(is_busy).count();
        (*self.statistics.lock(), in_flight)
    }
}

impl Slot {
    fn new(shared: &Arc<Shared>) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Slot {
                shared: shared.clone(),
                state: Atomic::new(FREE),
                job <- new_mutex!(Job {
                    request: None,
                    buffer: Buffer::new()?,
                    begun: 0,
                    outcome: Outcome::Failed,
                }),
                work <- new_work!("Slot::work"),
            }? Error),
            GFP_KERNEL,
        )
    }
}

impl Job {
    /// Copies what `request` writes from `memory`.
    fn prepare(&mut self, request: &Request, memory: &impl SystemMemory) -> Result<(), Outcome> {
        match request.operation {
            Operation::Write { .. } | Operation::Deallocate { .. } => request
                .data
                .gather(memory, self.buffer.bytes(request.data.len()))
                .map_err(|_| Outcome::OutOfReach),
            _ => Ok(()),
        }
    }
}
