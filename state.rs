// SPDX-License-Identifier: GPL-2.0

//! The states of an OS, in remoteproc's words, and what may be done in each.
//!
//! ```text
//!            load              start
//! offline ---------> loaded ---------> running
//!    ^                  |                 |
//!    |       stop       |                 |      a core can't be parked
//!    +------------------+-----------------+---------> stuck
//!    |                                                  |
//!    +--------------------------------------------------+
//! ```

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
    /// A core did not answer when it was to be parked: everything it could reach is kept.
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
    /// Give everything back.
    Stop,
    /// Make it disappear.
    Remove,
}

impl State {
    /// The word in the `state` file.
    pub fn name(self) -> &'static str {
        match self {
            State::Offline => "offline",
            State::Loaded => "loaded",
            State::Running => "running",
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
            (Offline, Configure | Load | Remove)
            | (Loaded, Start | Stop | Remove)
            | (Running | Stuck, Stop) => Ok(()),
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
            Action::Stop => "be stopped",
            Action::Remove => "be removed",
        };
        let first = match (self.state, self.action) {
            (State::Offline, Action::Start) => "write 1 to 'load' first",
            (State::Offline, _) => "it holds nothing",
            (_, Action::Load | Action::Start) if self.state == State::Running => "it runs already",
            (State::Loaded, Action::Load) => "it is loaded already",
            (State::Stuck, _) => "one of its CPUs does not answer; write 1 to 'stop' to try again",
            _ => "write 1 to 'stop' first",
        };
        write!(f, "can't {action} while {}: {first}", self.state.name())
    }
}
