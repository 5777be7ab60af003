// SPDX-License-Identifier: GPL-2.0

//! How long the phases of a start take, and for how long it kept other OSes waiting.

use crate::machine::exclusive;
use core::fmt;
use kernel::time::{ClockSource, Delta, Monotonic};

/// A phase of a start. The phases of one OS may overlap, and those of different OSes do.
#[derive(Clone, Copy)]
pub(crate) enum Phase {
    /// Kernel and initrd are read and checked, or found to be in memory.
    Read,
    /// They are copied to the OS's memory.
    Copy,
    /// The first OS takes its hands off the CPUs.
    Offline,
    /// The first OS's drivers leave the devices, which are then reset.
    Devices,
    /// Firmware and page tables are written.
    Tables,
    /// The CPUs are reset by INIT.
    Reset,
    /// The first CPU goes from the startup IPI to the kernel's entry.
    Entry,
}

impl Phase {
    /// All, in the order in which they are shown.
    const ALL: [Phase; 7] = [
        Phase::Read,
        Phase::Copy,
        Phase::Offline,
        Phase::Devices,
        Phase::Tables,
        Phase::Reset,
        Phase::Entry,
    ];

    /// Its name in the files that show it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Phase::Read => "read",
            Phase::Copy => "copy",
            Phase::Offline => "offline",
            Phase::Devices => "devices",
            Phase::Tables => "tables",
            Phase::Reset => "reset",
            Phase::Entry => "entry",
        }
    }
}

/// When a phase began, in nanoseconds, and how long it took.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    began: i64,
    took: Delta,
}

impl Span {
    /// That of `step`, and what it returns.
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
    /// For how long locks that the starts of all OSes share were held during this one, in nanoseconds.
    exclusive: i64,
    /// What [`exclusive::total`] was when this began to count.
    counting_from: Option<i64>,
}

impl Timing {
    /// A load, start or restart that begins now.
    pub(crate) fn begin() -> Self {
        let mut timing = Self::default();
        timing.resume();
        timing
    }

    /// The start goes on now, after [`Timing::pause`].
    pub(crate) fn resume(&mut self) {
        self.counting_from.get_or_insert_with(exclusive::total);
    }

    /// The load or start is over, or waits for a person to go on.
    pub(crate) fn pause(&mut self) {
        if let Some(before) = self.counting_from.take() {
            self.exclusive += exclusive::total() - before;
        }
    }

    /// Does `step`, which is `phase`.
    pub(crate) fn measure<R>(&mut self, phase: Phase, step: impl FnOnce() -> R) -> R {
        let (span, result) = Span::of(step);
        self.set(phase, span);
        result
    }

    /// Has it that `phase` took `span`.
    pub(crate) fn set(&mut self, phase: Phase, span: Span) {
        self.spans[phase as usize] = Some(span);
    }

    /// The phases that the start has reached.
    fn spans(&self) -> impl Iterator<Item = (Phase, Span)> + '_ {
        let all = Phase::ALL.into_iter();
        all.filter_map(|phase| Some((phase, self.spans[phase as usize]?)))
    }
}

/// A line for each phase: its name, how long it took, and when it began by `CLOCK_MONOTONIC`, in
/// nanoseconds; then how long others were kept waiting.
impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (phase, Span { began, took }) in self.spans() {
            writeln!(f, "{} {} {began}", phase.name(), took.as_nanos())?;
        }
        write!(f, "exclusive {}", self.exclusive)
    }
}
