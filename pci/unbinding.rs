// SPDX-License-Identifier: GPL-2.0

//! Takes an OS's functions from the first OS's drivers in a work item. A driver may let go of a
//! function only after its users have done so, which may take for ever. So nobody holds the OS's lock
//! meanwhile, and whoever waits can be interrupted.

use crate::{
    linux::{module_ref::ModuleRef, work_queue},
    os_instance::timing::{Phase, Span, Timing},
    pci::{devices::Devices, unit::Request},
};
use core::mem;
use kernel::{
    bindings,
    impl_has_work,
    new_condvar,
    new_mutex,
    new_work,
    prelude::*,
    str::CString,
    sync::{Arc, CondVar, Mutex},
    workqueue::{Work, WorkItem}, //
};

/// The functions of an OS that are being taken, or were taken. Dropping this gives them back, as soon
/// as all were taken.
pub(crate) struct Unbinding(Arc<Job>);

/// The work of taking an OS's functions, which may still be running if nobody waits for it any more.
/// Dropping this waits for its end.
///
/// # Invariants
///
/// The job was queued exactly once.
pub(crate) struct Underway(Arc<Job>);

#[pin_data]
struct Job {
    requests: KVec<Request>,
    os: CString,
    #[pin]
    progress: Mutex<Progress>,
    #[pin]
    taken: CondVar,
    #[pin]
    work: Work<Job>,
}

/// How far a job has come.
enum Progress {
    /// It is running. The reference keeps the module loaded meanwhile.
    Running { _module: ModuleRef },
    /// The same, but nobody waits for it: what it takes is to be given back.
    Abandoned { _module: ModuleRef },
    /// It has ended with this result.
    Taken(Span, Result<Devices>),
    /// It has ended, and its result is gone.
    Over,
}

impl_has_work! {
    impl HasWork<Self> for Job { self.work }
}

impl WorkItem for Job {
    type Pointer = Arc<Job>;

    fn run(job: Arc<Job>) {
        let (span, result) = Span::of(|| Devices::take(&job.requests, &job.os));
        let mut progress = job.progress.lock();
        if let Progress::Running { .. } = *progress {
            let module = mem::replace(&mut *progress, Progress::Taken(span, result));
            job.taken.notify_all();
            drop(progress);
            drop(module);
            return;
        }
        drop(progress);
        // Binding the drivers again takes long.
        drop(result);
        let module = mem::replace(&mut *job.progress.lock(), Progress::Over);
        drop(module);
    }
}

impl Unbinding {
    /// Begins to take the functions that `os` asks for by `requests`. `module` is a reference to
    /// this module.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn begin(
        requests: KVec<Request>,
        os: &CString,
        module: ModuleRef,
    ) -> Result<(Self, Underway)> {
        let job = Arc::pin_init(
            pin_init!(Job {
                requests,
                os: CString::try_from(&**os)?,
                progress <- new_mutex!(Progress::Running { _module: module }),
                taken <- new_condvar!(),
                work <- new_work!("Unbinding::work"),
            }? Error),
            GFP_KERNEL,
        )?;
        // Can't fail: the new job is in no queue yet.
        let _ = work_queue::unbound().enqueue(job.clone());
        // INVARIANT: The line above queued the job.
        Ok((Unbinding(job.clone()), Underway(job)))
    }

    /// Returns what the OS asked for.
    pub(crate) fn requests(&self) -> &[Request] {
        &self.0.requests
    }

    /// Waits until all functions are taken, or one can't be.
    ///
    /// # Errors
    ///
    /// `EINTR` if the caller gets a signal before.
    pub(crate) fn wait(&self) -> Result {
        let mut progress = self.0.progress.lock();
        while let Progress::Running { .. } = *progress {
            let is_interrupted = self.0.taken.wait_interruptible(&mut progress);
            if is_interrupted && matches!(*progress, Progress::Running { .. }) {
                pr_err!(
                    "{}: interrupted: devices are given back once their drivers have let go of them\n",
                    &*self.0.os
                );
                return Err(EINTR);
            }
        }
        Ok(())
    }

    /// Returns the functions. The caller must have waited for them.
    ///
    /// # Errors
    ///
    /// Those of [`Devices::take`].
    pub(crate) fn finish(self, timing: &mut Timing) -> Result<Devices> {
        let progress = mem::replace(&mut *self.0.progress.lock(), Progress::Over);
        match progress {
            Progress::Taken(span, result) => {
                timing.set(Phase::Unbind, span);
                result
            }
            _ => Err(EIO),
        }
    }
}

impl Drop for Unbinding {
    fn drop(&mut self) {
        let mut progress = self.0.progress.lock();
        let before = mem::replace(&mut *progress, Progress::Over);
        *progress = match before {
            Progress::Running { _module } => Progress::Abandoned { _module },
            before => {
                drop(progress);
                // Outside the lock: giving back what was taken binds drivers.
                drop(before);
                return;
            }
        };
    }
}

impl Underway {
    /// Returns whether the work is done.
    pub(crate) fn is_over(&self) -> bool {
        let progress = self.0.progress.lock();
        !matches!(
            *progress,
            Progress::Running { .. } | Progress::Abandoned { .. }
        )
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        let work = &raw const self.0.work;
        // SAFETY: By the type invariants the work was queued, and this holds a reference to it. It
        // takes no lock of an OS.
        unsafe { bindings::flush_work(Work::raw_get(work)) };
    }
}
