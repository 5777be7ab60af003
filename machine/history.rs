// SPDX-License-Identifier: GPL-2.0

//! The phases of the last starts of all OSes, by the time at which they began, in debugfs: what
//! overlapped, and what waited for what.

use crate::os_instance::timing::{Phase, Span, Timing};
use kernel::{
    debugfs::{Dir, File, Writer},
    fmt,
    new_mutex,
    prelude::*,
    str::CString,
    sync::Mutex, //
};

/// How many phases are kept.
const LIMIT: usize = 1024;

/// The file mint/phases in debugfs.
#[pin_data]
pub(crate) struct History {
    #[pin]
    file: File<Mutex<Phases>>,
    _directory: Dir,
}

/// Phases in the order in which they began.
struct Phases(KVec<Entry>);

struct Entry {
    os: CString,
    phase: Phase,
    span: Span,
}

impl History {
    /// No phases yet.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        // Without debugfs there is no file, which is no error.
        let directory = Dir::new(c"mint");
        try_pin_init!(History {
            file <- directory.read_only_file(c"phases", new_mutex!(Phases(KVec::new()))),
            _directory: directory,
        }? Error)
    }

    /// Adds the phases of a start of `os`, as far as there is memory for them.
    pub(crate) fn add(&self, os: &CStr, timing: &Timing) {
        let Phases(list) = &mut *self.file.lock();
        for (phase, span) in timing.spans() {
            let Ok(os) = CString::try_from(os) else {
                return;
            };
            if list.len() == LIMIT {
                let _ = list.remove(0);
            }
            let later = list
                .iter()
                .rev()
                .take_while(|entry| entry.span.began() > span.began());
            let index = list.len() - later.count();
            if list.push(Entry { os, phase, span }, GFP_KERNEL).is_err() {
                return;
            }
            list[index..].rotate_right(1);
        }
    }
}

/// A line for each phase: when it began by `CLOCK_MONOTONIC` and how long it took, in nanoseconds,
/// its OS, its name.
impl Writer for Phases {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Entry { os, phase, span } in self.0.iter() {
            let (began, took) = (span.began(), span.took().as_nanos());
            f.write_fmt(fmt!("{began} {took} {} {}\n", &**os, phase.name()))?;
        }
        Ok(())
    }
}
