// SPDX-License-Identifier: GPL-2.0

//! Kernel threads, for which the `kernel` crate has no abstraction.

use core::ptr::NonNull;
use kernel::{
    bindings,
    error::from_err_ptr,
    prelude::*,
    processor::cpu_relax,
    static_lock_class,
    sync::{
        atomic::{Acquire, Atomic, Full},
        Arc, //
    },
    time::Delta,
    types::Opaque, //
};

/// How much later than asked for a sleep may end, in nanoseconds, so that the kernel can let it end
/// together with others.
const SLACK: u64 = 10_000;

/// What a thread does.
pub(crate) trait Body: Send + Sync + 'static {
    /// Does one turn. Returns how long the thread may sleep before the next one, or [`None`] if only
    /// [`Alarm::ring`] is to end its sleep.
    fn turn(&self) -> Option<Delta>;

    /// Returns what ends the thread's sleep.
    fn alarm(&self) -> &Alarm;
}

/// Ends the sleep of a thread.
///
/// # Invariants
///
/// `queue` is an initialised wait queue, and pinned.
#[pin_data]
pub(crate) struct Alarm {
    #[pin]
    queue: Opaque<bindings::wait_queue_head>,
    /// Whether somebody has rung since the thread's last turn began.
    is_rung: Atomic<bool>,
}

// SAFETY: The wait queue has a lock of its own.
unsafe impl Send for Alarm {}
// SAFETY: As above.
unsafe impl Sync for Alarm {}

impl Alarm {
    /// Makes an alarm for one thread.
    pub(crate) fn new() -> impl PinInit<Self> {
        // INVARIANT: `__init_waitqueue_head()` initialises the queue, which is pinned.
        pin_init!(Alarm {
            queue <- Opaque::ffi_init(|queue| {
                // SAFETY: `queue` is valid and pinned; the name and the class live for ever.
                unsafe {
                    bindings::__init_waitqueue_head(
                        queue,
                        c"mint".as_char_ptr(),
                        static_lock_class!().as_ptr(),
                    )
                }
            }),
            is_rung: Atomic::new(false),
        })
    }

    /// Ends the thread's sleep, or keeps the thread from going to sleep before its next turn.
    pub(crate) fn ring(&self) {
        if !self.is_rung.xchg(true, Full) {
            self.wake();
        }
    }

    fn wake(&self) {
        // SAFETY: By the type invariants this is a wait queue.
        unsafe {
            bindings::__wake_up(
                self.queue.get(),
                bindings::TASK_NORMAL,
                1,
                core::ptr::null_mut(),
            )
        };
    }

    /// Sleeps until the alarm rings, until the thread is to end, or for `time`.
    fn sleep(&self, time: Option<Delta>) {
        let mut entry = bindings::wait_queue_entry::default();
        // SAFETY: The entry is valid, and is in the queue only until `finish_wait()` below.
        unsafe { bindings::init_wait_entry(&mut entry, 0) };
        let mut time = time.map(Delta::as_nanos);
        loop {
            // SAFETY: By the type invariants this is a wait queue, and the entry is initialised. This
            // sets the state of the thread, with a full barrier, before the condition is looked at.
            unsafe {
                bindings::prepare_to_wait_event(
                    self.queue.get(),
                    &mut entry,
                    bindings::TASK_IDLE as c_int,
                )
            };
            if self.is_rung.load(Acquire) || should_stop() {
                break;
            }
            let expires = time
                .as_mut()
                .map_or(core::ptr::null_mut(), core::ptr::from_mut);
            // SAFETY: `expires` is null or valid; null means for ever.
            let is_over = unsafe {
                bindings::schedule_hrtimeout_range(
                    expires,
                    SLACK,
                    bindings::hrtimer_mode_HRTIMER_MODE_REL,
                )
            } == 0;
            if is_over {
                break;
            }
        }
        // SAFETY: The entry was prepared for this queue; this takes it out.
        unsafe { bindings::finish_wait(self.queue.get(), &mut entry) };
    }
}

/// A thread, which this stops and waits for when it is dropped.
///
/// # Invariants
///
/// `task` is a thread that runs [`main`] with the body.
pub(crate) struct Thread<T: Body> {
    task: NonNull<bindings::task_struct>,
    _body: Arc<T>,
}

// SAFETY: The functions that take the task may be called by any thread.
unsafe impl<T: Body> Send for Thread<T> {}
// SAFETY: As above; a shared reference only gives access to the body.
unsafe impl<T: Body> Sync for Thread<T> {}

impl<T: Body> Thread<T> {
    /// Starts a thread named `name`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINTR` if the caller is being killed.
    pub(crate) fn start(body: Arc<T>, name: &'static CStr) -> Result<Self> {
        let data = Arc::as_ptr(&body).cast_mut().cast();
        // SAFETY: The format takes one string. `main()` gets a pointer to the body, which this keeps
        // until the thread has ended. The new thread does not run before `wake_up_process()`.
        let task = from_err_ptr(unsafe {
            bindings::kthread_create_on_node(
                Some(main::<T>),
                data,
                bindings::NUMA_NO_NODE,
                c"%s".as_char_ptr(),
                name.as_char_ptr(),
            )
        })?;
        let task = NonNull::new(task).ok_or(ENOMEM)?;
        // SAFETY: The thread exists, since it ends only in `kthread_stop()`.
        unsafe { bindings::wake_up_process(task.as_ptr()) };
        // INVARIANT: The thread was made with `main()` and the body.
        Ok(Thread { task, _body: body })
    }
}

impl<T: Body> Drop for Thread<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the thread runs `main()`, which returns only after this
        // call has begun, so that the task still exists. This waits until it has returned.
        unsafe { bindings::kthread_stop(self.task.as_ptr()) };
    }
}

/// Takes turns until the thread is to end.
extern "C" fn main<T: Body>(data: *mut c_void) -> c_int {
    // SAFETY: `Thread::start()` passed a pointer to the body, which the `Thread` keeps until this has
    // returned.
    let body = unsafe { &*data.cast::<T>() };
    let alarm = body.alarm();
    while !should_stop() {
        // What is rung for after this is seen in the next turn.
        alarm.is_rung.xchg(false, Full);
        match body.turn() {
            Some(Delta::ZERO) => cpu_relax(),
            time => alarm.sleep(time),
        }
    }
    0
}

/// Returns whether the calling thread, one of [`Thread`], is to end.
fn should_stop() -> bool {
    // SAFETY: Only `main()` calls this, in a kernel thread.
    unsafe { bindings::kthread_should_stop() }
}
