// SPDX-License-Identifier: GPL-2.0

//! The states of an OS, in remoteproc's words; what may be done in each, and what follows from
//! what the OS does.
//!
//! ```text
//!            load             start               powers off, halts
//! offline ---------> loaded --------> running ------------------------> halted
//!    ^                                 ^   |                              |
//!    |                                 |   |  panics                      |
//!    |                                 |   +---------------> crashed      |
//!    |                                 |   |  reboots           |         |
//!    |                                 |   v                    |         |
//!    |                                restarting <--------------+---------+
//!    |                                            restart, recovery
//!    +------ stop, from each of them
//! ```
//!
//! It can be restarted by hand in each state but offline. From each state in which it has CPUs it
//! becomes stuck when one of them can't be parked.

pub mod backoff;

use core::fmt;

/// What an OS is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It holds nothing; this is when it can be configured.
    Offline,
    /// Its memory is reserved and holds kernel and initrd.
    Loaded,
    /// Its CPUs run its kernel.
    Running,
    /// It has powered off or halted. Its CPUs are parked, its memory is as it left it.
    Halted,
    /// It has panicked. Its CPUs are parked, its memory is as it left it.
    Crashed,
    /// Its CPUs are parked, and will start its kernel again.
    Restarting,
    /// A CPU did not answer when it was to be parked: everything it could reach is kept.
    Stuck,
}

/// What a person may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write one of the files that configure it.
    Configure,
    /// Reserve memory and copy kernel and initrd there.
    Load,
    /// Take the CPUs and start them.
    Start,
    /// Start it again from the images that are loaded.
    Restart,
    /// Give everything back.
    Stop,
    /// Make it disappear.
    Remove,
}

/// What a running OS does, as far as it can be seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It asked to be powered off.
    PoweredOff,
    /// It stopped all its CPUs.
    Halted,
    /// It asked to be reset.
    Rebooted,
    /// It panicked.
    Panicked,
}

impl Event {
    /// The state that follows, given whether a panic is to be followed by a restart.
    pub fn leads_to(self, restarts_on_panic: bool) -> State {
        match self {
            Event::PoweredOff | Event::Halted => State::Halted,
            Event::Rebooted => State::Restarting,
            Event::Panicked if restarts_on_panic => State::Restarting,
            Event::Panicked => State::Crashed,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Event::PoweredOff => "it powered off",
            Event::Halted => "it halted",
            Event::Rebooted => "it rebooted",
            Event::Panicked => "it panicked",
        })
    }
}

impl State {
    /// The word in the `state` file.
    pub fn name(self) -> &'static str {
        match self {
            State::Offline => "offline",
            State::Loaded => "loaded",
            State::Running => "running",
            State::Halted => "halted",
            State::Crashed => "crashed",
            State::Restarting => "restarting",
            State::Stuck => "stuck",
        }
    }

    /// Whether `action` is possible in this state.
    ///
    /// # Errors
    ///
    /// [`Refusal`] says what to do first.
    pub fn allows(self, action: Action) -> Result<(), Refusal> {
        use Action::*;
        use State::*;
        match (self, action) {
            (Offline, Configure | Load | Start | Remove) | (Loaded, Start | Remove) => Ok(()),
            (Loaded | Running | Halted | Crashed | Restarting | Stuck, Restart | Stop) => Ok(()),
            _ => Err(Refusal {
                state: self,
                action,
            }),
        }
    }
}

/// An action that the state does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    state: State,
    action: Action,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = match self.action {
            Action::Configure => "be configured",
            Action::Load => "be loaded",
            Action::Start => "be started",
            Action::Restart => "be restarted",
            Action::Stop => "be stopped",
            Action::Remove => "be removed",
        };
        let first = match (self.state, self.action) {
            (State::Offline, Action::Restart) => "write 1 to 'start' instead",
            (State::Offline, _) => "it holds nothing",
            (State::Loaded, Action::Load) => "it is loaded already",
            (State::Running, Action::Load | Action::Start) => "it runs already",
            (State::Stuck, _) => "one of its CPUs does not answer; write 1 to 'stop' to try again",
            (State::Halted | State::Crashed | State::Restarting, Action::Start) => {
                "write 1 to 'restart', or to 'stop' first"
            }
            _ => "write 1 to 'stop' first",
        };
        write!(f, "can't {action} while {}: {first}", self.state.name())
    }
}
