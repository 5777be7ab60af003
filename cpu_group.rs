// SPDX-License-Identifier: GPL-2.0

//! Takes the CPUs of an OS from the first OS, one after the other, while the caller does other
//! work. The kernel's hotplug lock lets only one CPU go offline at a time. That takes longer than
//! anything else in a start except copying.

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
/// Those of [`OwnedCpu::take`]; no CPU is taken then.
pub(crate) fn take(cpus: &CpuSet, os: &CString) -> Result<KVec<OwnedCpu>> {
    let mut taken = KVec::new();
    for cpu in cpus.iter() {
        taken.push(OwnedCpu::take(cpu, os)?, GFP_KERNEL)?;
    }
    Ok(taken)
}

/// The work of taking CPUs, possibly still running.
///
/// # Invariants
///
/// The job was queued exactly once.
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
    /// Starts to take `cpus` for `os` in a work item.
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
        // Can't fail: the new job is in no queue yet.
        let _ = work_queue::unbound().enqueue(job.clone());
        // INVARIANT: The line above queued the job.
        Ok(Taking(job))
    }

    /// Returns the requested CPUs.
    pub(crate) fn cpus(&self) -> &CpuSet {
        &self.0.cpus
    }

    /// Waits until all CPUs are taken, and returns them.
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
        // SAFETY: By the type invariants the work was queued, and this holds a reference to it. The
        // caller holds neither the hotplug lock nor the lock of the owners, which the work takes.
        unsafe { bindings::flush_work(Work::raw_get(work)) };
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        // Wait, since the work runs code of this module. The CPUs that it took are given back when
        // the job is dropped.
        self.wait();
    }
}
