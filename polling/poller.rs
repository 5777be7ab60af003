// SPDX-License-Identifier: GPL-2.0

//! The thread that looks at the functions made of memory of all OSes.

use crate::{
    linux::{
        errno::ESHUTDOWN,
        kthread::{Alarm, Body, Thread}, //
    },
    polling::{pace::Pace, served::Served},
};
use kernel::{
    alloc::flags::GFP_ATOMIC,
    new_mutex,
    new_spinlock,
    prelude::*,
    sync::{Arc, Mutex, SpinLock},
    time::{ClockSource, Delta, Monotonic}, //
};

/// The name of the thread.
const NAME: &CStr = c"mint-poller";

/// The thread, and the functions that it looks at.
#[pin_data]
pub(crate) struct Poller {
    turns: Arc<Turns>,
    /// There is none before the first OS with such functions runs.
    #[pin]
    thread: Mutex<Option<Thread<Turns>>>,
}

#[pin_data]
struct Turns {
    alarm: Arc<Alarm>,
    #[pin]
    list: Mutex<List>,
    /// The same functions, for a panic, in which the list may be locked for good.
    #[pin]
    for_panic: SpinLock<KVec<Arc<Served>>>,
}

struct List {
    served: KVec<Arc<Served>>,
    pace: Pace,
    /// Set when the first OS goes down: nobody's memory may be accessed any more.
    is_closed: bool,
}

/// Functions that the poller looks at. Dropping this ends all access to the OS's memory. Requests of its
/// disks may still be under way then; see
/// [`Contents::settle`](crate::disk::contents::Contents::settle).
pub(crate) struct Serving {
    turns: Arc<Turns>,
    served: Arc<Served>,
}

impl Poller {
    /// Makes a poller without functions.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Arc<Self>> {
        let turns = Arc::pin_init(
            pin_init!(Turns {
                alarm: Arc::pin_init(Alarm::new(), GFP_KERNEL)?,
                list <- new_mutex!(List {
                    served: KVec::new(),
                    pace: Pace::default(),
                    is_closed: false,
                }),
                for_panic <- new_spinlock!(KVec::new()),
            }? Error),
            GFP_KERNEL,
        )?;
        Arc::pin_init(
            pin_init!(Poller {
                turns,
                thread <- new_mutex!(None),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns what ends the sleep of the poller.
    pub(crate) fn alarm(&self) -> Arc<Alarm> {
        self.turns.alarm.clone()
    }

    /// Begins to look at the functions of an OS.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `ESHUTDOWN` if the first OS is going down.
    pub(crate) fn serve(&self, served: Arc<Served>) -> Result<Serving> {
        {
            let mut thread = self.thread.lock();
            if thread.is_none() {
                *thread = Some(Thread::start(self.turns.clone(), NAME)?);
            }
        }
        // Takes the functions from both lists, also if one has none.
        let serving = Serving {
            turns: self.turns.clone(),
            served: served.clone(),
        };
        {
            let mut list = self.turns.list.lock();
            if list.is_closed {
                return Err(ESHUTDOWN.into());
            }
            // The poller must not wait for memory, nor for whoever waits with its lock.
            list.served.push(served.clone(), GFP_ATOMIC)?;
            self.turns.for_panic.lock().push(served, GFP_ATOMIC)?;
        }
        self.turns.alarm.ring();
        Ok(serving)
    }

    /// Looks at no function any more, and accesses no OS's memory. Puts on the storage what was written.
    pub(crate) fn close(&self) {
        let served = {
            let mut list = self.turns.list.lock();
            list.is_closed = true;
            *self.turns.for_panic.lock() = KVec::new();
            core::mem::replace(&mut list.served, KVec::new())
        };
        served.iter().for_each(|served| served.sync());
    }

    /// Takes all functions off their OSes' buses, in a panic of the first OS. Waits for nothing.
    pub(crate) fn abandon(&self) {
        if let Some(served) = self.turns.for_panic.try_lock() {
            served.iter().for_each(|served| served.abandon());
        }
    }
}

impl Body for Turns {
    fn turn(&self) -> Option<Delta> {
        let mut list = self.list.lock();
        if list.served.is_empty() {
            return None;
        }
        let thorough = list.pace.is_thorough(now());
        let mut has_worked = false;
        for served in &list.served {
            has_worked |= served.look(thorough);
        }
        let sleep = list.pace.sleep(now(), has_worked);
        Some(Delta::from_nanos(i64::try_from(sleep).unwrap_or(0)))
    }

    fn alarm(&self) -> &Alarm {
        &self.alarm
    }
}

/// Returns the time in nanoseconds.
fn now() -> u64 {
    u64::try_from(Monotonic::ktime_get()).unwrap_or(0)
}

impl Drop for Serving {
    fn drop(&mut self) {
        let is_it = |served: &mut Arc<Served>| Arc::ptr_eq(served, &self.served);
        let mut list = self.turns.list.lock();
        list.served.retain(|served| !is_it(served));
        self.turns.for_panic.lock().retain(|served| !is_it(served));
    }
}
