// SPDX-License-Identifier: GPL-2.0

//! The delayed work that watches a running OS, and reacts when it ends.

use super::{Inner, Os};
use crate::{
    linux::{log::Shown, work_queue},
    state::{Event, State},
};
use kernel::{
    bindings,
    impl_has_delayed_work,
    prelude::*,
    sync::Arc,
    time::msecs_to_jiffies,
    workqueue::{DelayedWork, WorkItem}, //
};

/// The interval between two looks at a running OS, in milliseconds.
const WATCH_INTERVAL: u32 = 100;

impl_has_delayed_work! {
    impl HasDelayedWork<Self> for Os { self.watcher }
}

impl WorkItem for Os {
    type Pointer = Arc<Os>;

    fn run(os: Arc<Os>) {
        os.watch();
    }
}

impl Os {
    /// Queues the work again, if the state of the OS calls for it.
    pub(super) fn keep_watching(self: &Arc<Self>, inner: &Inner) {
        let is_watched = matches!(inner.state, State::Running | State::Restarting);
        if is_watched && !inner.removed {
            // It may already be queued, which is fine.
            let _ = work_queue::unbound()
                .enqueue_delayed(self.clone(), msecs_to_jiffies(WATCH_INTERVAL));
        }
    }

    /// Cancels the work, and waits for it if it is running. The OS must be marked as removed, so
    /// that nothing queues the work again.
    pub(super) fn stop_watching(self: &Arc<Self>) {
        let watcher = &raw const self.watcher;
        // SAFETY: The work is an initialised field of the OS, which the caller holds a reference
        // to. The caller does not hold `inner`, which the work takes.
        let queued =
            unsafe { bindings::cancel_delayed_work_sync(DelayedWork::raw_as_work(watcher).cast()) };
        if queued {
            // SAFETY: Cancelling removed the work from the queue, so its reference to the OS is now
            // ours.
            drop(unsafe { Arc::from_raw(Arc::as_ptr(self)) });
        }
    }

    /// Looks at the OS, and does what its state calls for.
    fn watch(self: &Arc<Self>) {
        let mut inner = self.inner.lock();
        let next = match inner.state {
            State::Running => self.look(&mut inner),
            State::Restarting => self.restart_if_due(&mut inner),
            state => Ok(state),
        };
        // An error has already been logged.
        if let Ok(next) = next {
            self.enter(&mut inner, next);
        }
        self.keep_watching(&inner);
    }

    /// Looks at the running OS, and returns its next state.
    fn look(&self, inner: &mut Inner) -> Result<State> {
        let running = inner.running.as_mut().ok_or(EINVAL)?;
        let Some(event) = running.watch.look() else {
            return Ok(inner.state);
        };
        running.end();
        pr_info!("{}: {}\n", &*self.name, Shown(event));
        self.park(inner)?;
        let (Some(running), Some(loaded)) = (&mut inner.running, &mut inner.loaded) else {
            return Err(EINVAL);
        };
        if event == Event::Panicked {
            running.watch.inspector.panic_reason(|reason| {
                pr_info!("{}: its reason: {}\n", &*self.name, Shown(reason));
            });
        }
        let next = event.leads_to(loaded.restarts_on_panic || inner.recovery);
        if next != State::Restarting {
            return Ok(next);
        }
        running.schedule_restart(&mut loaded.backoff, event);
        self.enter(inner, next);
        self.restart_if_due(inner)
    }

    fn restart_if_due(&self, inner: &mut Inner) -> Result<State> {
        match &inner.running {
            Some(running) if running.restart_is_due() => self.start_again(inner),
            _ => Ok(State::Restarting),
        }
    }
}
