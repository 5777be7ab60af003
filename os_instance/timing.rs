// SPDX-License-Identifier: GPL-2.0

//! Measures how long the phases of a start take, and for how long a start keeps other OSes waiting.

use crate::machine::exclusive;
use core::fmt;
use kernel::time::{ClockSource, Delta, Monotonic};

/// A phase of a start. The phases of one OS may overlap, and those of different OSes do.
#[derive(Clone, Copy)]
pub(crate) enum Phase {
    /// Kernel and initrd are read and checked, or found to be in memory.
    Read,
    /// Kernel and initrd are copied to the OS's memory.
    Copy,
    /// The first OS takes the CPUs offline.
    Offline,
    /// The first OS's drivers are unbound from the devices.
    Unbind,
    /// The devices are reset.
    Devices,
    /// Firmware and page tables are written.
    Tables,
    /// The CPUs are reset by INIT.
    Reset,
    /// The first CPU gets from the startup IPI to the kernel's entry point.
    Entry,
}

impl Phase {
    /// All phases, in the order in which they are shown.
    const ALL: [Phase; 8] = [
        Phase::Read,
        Phase::Copy,
        Phase::Offline,
        Phase::Unbind,
        Phase::Devices,
        Phase::Tables,
        Phase::Reset,
        Phase::Entry,
    ];

    /// Returns the name of the phase in the `timing` file.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Phase::Read => "read",
            Phase::Copy => "copy",
            Phase::Offline => "offline",
            Phase::Unbind => "unbind",
            Phase::Devices => "devices",
            Phase::Tables => "tables",
            Phase::Reset => "reset",
            Phase::Entry => "entry",
        }
    }
}

/// The begin of a phase, in nanoseconds, and its duration.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    began: i64,
    took: Delta,
}

impl Span {
    /// Measures `step`, and returns its span and its result.
    pub(crate) fn of<R>(step: impl FnOnce() -> R) -> (Self, R) {
        let began = Monotonic::ktime_get();
        let result = step();
        let took = Delta::from_nanos(Monotonic::ktime_get() - began);
        (Span { began, took }, result)
    }
}

/// The phases of the last start, as far as it has come.
#[derive(Default)]
pub(crate) struct Timing {
    spans: [Option<Span>; Phase::ALL.len()],
    /// For how long locks that the starts of all OSes share were held during this start, in
    /// nanoseconds.
    exclusive: i64,
    /// The value of [`exclusive::total`] when this start began to count; none while paused.
    counting_from: Option<i64>,
}

impl Timing {
    /// Begins to measure a load, start or restart.
    pub(crate) fn begin() -> Self {
        let mut timing = Self::default();
        timing.resume();
        timing
    }

    /// Resumes counting after [`Timing::pause`].
    pub(crate) fn resume(&mut self) {
        self.counting_from.get_or_insert_with(exclusive::total);
    }

    /// Stops counting: the load or start is over, or waits for a person.
    pub(crate) fn pause(&mut self) {
        if let Some(before) = self.counting_from.take() {
            self.exclusive += exclusive::total() - before;
        }
    }

    /// Calls `step`, and records its duration as that of `phase`.
    pub(crate) fn measure<R>(&mut self, phase: Phase, step: impl FnOnce() -> R) -> R {
        let (span, result) = Span::of(step);
        self.set(phase, span);
        result
    }

    /// Records that `phase` took `span`.
    pub(crate) fn set(&mut self, phase: Phase, span: Span) {
        self.spans[phase as usize] = Some(span);
    }

    /// Returns the phases that the start has reached.
    fn spans(&self) -> impl Iterator<Item = (Phase, Span)> + '_ {
        let all = Phase::ALL.into_iter();
        all.filter_map(|phase| Some((phase, self.spans[phase as usize]?)))
    }
}

/// Writes a line for each phase: its name, its duration, and its begin by `CLOCK_MONOTONIC`, in
/// nanoseconds; then for how long other OSes were kept waiting.
impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (phase, Span { began, took }) in self.spans() {
            writeln!(f, "{} {} {began}", phase.name(), took.as_nanos())?;
        }
        write!(f, "exclusive {}", self.exclusive)
    }
}
