// SPDX-License-Identifier: GPL-2.0

//! The CPUs of an OS, taken from the first OS one after the other, while the caller does something
//! else. The kernel's hotplug lock lets only one CPU go offline at a time, which takes longer than
//! all else of a start but copying.

use crate::{
    cpu_offline::{CpuSet, OwnedCpu},
    linux::work_queue,
    os_instance::timing::{Phase, Span, Timing},
};
use kernel::{
    bindings,
    impl_has_work,
    new_mutex,
    new_work,
    prelude::*,
    str::CString,
    sync::{Arc, Mutex},
    workqueue::{Work, WorkItem}, //
};

/// Takes `cpus` for `os`.
///
/// # Errors
///
/// Those of [`OwnedCpu::take`]; then none of them is taken.
pub(crate) fn take(cpus: &CpuSet, os: &CString) -> Result<KVec<OwnedCpu>> {
    let mut taken = KVec::new();
    for cpu in cpus.iter() {
        taken.push(OwnedCpu::take(cpu, os)?, GFP_KERNEL)?;
    }
    Ok(taken)
}

/// CPUs that are being taken.
///
/// # Invariants
///
/// The job was queued once.
pub(crate) struct Taking(Arc<Job>);

#[pin_data]
struct Job {
    cpus: CpuSet,
    os: CString,
    #[pin]
    taken: Mutex<Option<(Span, Result<KVec<OwnedCpu>>)>>,
    #[pin]
    work: Work<Job>,
}

impl_has_work! {
    impl HasWork<Self> for Job { self.work }
}

impl WorkItem for Job {
    type Pointer = Arc<Job>;

    fn run(job: Arc<Job>) {
        let taken = Span::of(|| take(&job.cpus, &job.os));
        *job.taken.lock() = Some(taken);
    }
}

impl Taking {
    /// Begins to take `cpus` for `os`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn begin(cpus: CpuSet, os: &CString) -> Result<Self> {
        let job = Arc::pin_init(
            pin_init!(Job {
                cpus,
                os: CString::try_from(&**os)?,
                taken <- new_mutex!(None),
                work <- new_work!("Taking::work"),
            }? Error),
            GFP_KERNEL,
        )?;
        // It is new, so that it is in no queue yet.
        let _ = work_queue::unbound().enqueue(job.clone());
        // INVARIANT: Just done.
        Ok(Taking(job))
    }

    /// The CPUs that are asked for.
    pub(crate) fn cpus(&self) -> &CpuSet {
        &self.0.cpus
    }

    /// Waits until all are taken.
    ///
    /// # Errors
    ///
    /// Those of [`take`].
    pub(crate) fn finish(self, timing: &mut Timing) -> Result<KVec<OwnedCpu>> {
        self.wait();
        let (span, result) = self.0.taken.lock().take().ok_or(EIO)?;
        timing.set(Phase::Offline, span);
        result
    }

    fn wait(&self) {
        let work = &raw const self.0.work;
        // SAFETY: By the type invariants it was queued, and the reference here keeps it. The caller
        // holds neither the hotplug lock nor that of the owners, which are what it takes.
        unsafe { bindings::flush_work(Work::raw_get(work)) };
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        // It runs code of this module, and what it took is given back here.
        self.wait();
    }
}
