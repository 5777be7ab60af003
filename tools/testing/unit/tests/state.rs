// SPDX-License-Identifier: GPL-2.0

//! The states of an OS: each with each action, and what follows from each event.

use mint_unit::state::{Action, Event, State};

const ACTIONS: [Action; 6] = [
    Action::Configure,
    Action::Load,
    Action::Start,
    Action::Restart,
    Action::Stop,
    Action::Remove,
];

const STATES: [State; 7] = [
    State::Offline,
    State::Loaded,
    State::Running,
    State::Halted,
    State::Crashed,
    State::Restarting,
    State::Stuck,
];

const START: &str = "write 1 to 'start' instead";
const STOP_FIRST: &str = "write 1 to 'stop' first";
const RESTART: &str = "write 1 to 'restart', or to 'stop' first";
const RUNS: &str = "it runs already";
const STUCK: &str = "one of its CPUs does not answer; write 1 to 'stop' to try again";

/// By [`STATES`] and [`ACTIONS`]; an empty text: allowed.
const REFUSALS: [[&str; 6]; 7] = [
    ["", "", "", START, "it holds nothing", ""],
    [STOP_FIRST, "it is loaded already", "", "", "", ""],
    [STOP_FIRST, RUNS, RUNS, "", "", STOP_FIRST],
    [STOP_FIRST, STOP_FIRST, RESTART, "", "", STOP_FIRST],
    [STOP_FIRST, STOP_FIRST, RESTART, "", "", STOP_FIRST],
    [STOP_FIRST, STOP_FIRST, RESTART, "", "", STOP_FIRST],
    [STUCK, STUCK, STUCK, "", "", STUCK],
];

#[test]
fn every_action_in_every_state() {
    for (state, refusals) in STATES.into_iter().zip(REFUSALS) {
        for (action, refusal) in ACTIONS.into_iter().zip(refusals) {
            let word = match action {
                Action::Configure => "configured",
                Action::Load => "loaded",
                Action::Start => "started",
                Action::Restart => "restarted",
                Action::Stop => "stopped",
                Action::Remove => "removed",
            };
            let expected = match refusal {
                "" => Ok(()),
                why => Err(format!("can't be {word} while {}: {why}", state.name())),
            };
            let result = state.allows(action).map_err(|refusal| refusal.to_string());
            assert_eq!(result, expected, "{action:?} while {state:?}");
        }
    }
}

#[test]
fn names() {
    assert_eq!(
        STATES.map(State::name),
        [
            "offline",
            "loaded",
            "running",
            "halted",
            "crashed",
            "restarting",
            "stuck"
        ]
    );
}

#[test]
fn what_follows_from_what_it_does() {
    for (event, text, without_restart, with_restart) in [
        (
            Event::PoweredOff,
            "it powered off",
            State::Halted,
            State::Halted,
        ),
        (Event::Halted, "it halted", State::Halted, State::Halted),
        (
            Event::Rebooted,
            "it rebooted",
            State::Restarting,
            State::Restarting,
        ),
        (
            Event::Panicked,
            "it panicked",
            State::Crashed,
            State::Restarting,
        ),
    ] {
        assert_eq!(event.leads_to(false), without_restart, "{event:?}");
        assert_eq!(event.leads_to(true), with_restart, "{event:?}");
        assert_eq!(event.to_string(), text);
    }
}
