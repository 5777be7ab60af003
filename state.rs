// SPDX-License-Identifier: GPL-2.0

//! The states of an OS, named as remoteproc names them: which actions each state allows, and which
//! state follows from an event.
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
//! A person can restart an OS in each state except offline. From each state in which an OS has
//! CPUs, it becomes stuck if one of them can't be parked.

pub mod backoff;

use core::fmt;

/// The state of an OS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It holds no resources, and can be configured.
    Offline,
    /// Its memory is reserved, and contains kernel and initrd.
    Loaded,
    /// Its CPUs run its kernel.
    Running,
    /// It has powered off or halted. Its CPUs are parked, and its memory is unchanged since.
    Halted,
    /// It has panicked. Its CPUs are parked, and its memory is unchanged since.
    Crashed,
    /// Its CPUs are parked, and will start its kernel again.
    Restarting,
    /// A CPU did not answer when Mint tried to park it. Everything that this CPU could access is
    /// kept.
    Stuck,
}

/// An action that a person may request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write one of the configuration files.
    Configure,
    /// Reserve memory and copy kernel and initrd there.
    Load,
    /// Take the CPUs, and start the kernel on them.
    Start,
    /// Start the kernel again from the loaded images.
    Restart,
    /// Give all resources back.
    Stop,
    /// Remove the OS and its directory.
    Remove,
}

/// The end of a running OS, as seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It requested to be powered off.
    PoweredOff,
    /// It has stopped all its CPUs.
    Halted,
    /// It requested to be reset.
    Rebooted,
    /// It has panicked.
    Panicked,
}

impl Event {
    /// Returns the next state. `restarts_on_panic` says whether a panic leads to a restart.
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
    /// Returns the word that the `state` file shows.
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

    /// Checks whether this state allows `action`.
    ///
    /// # Errors
    ///
    /// [`Refusal`], which says what to do first.
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
