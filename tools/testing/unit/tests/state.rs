// SPDX-License-Identifier: GPL-2.0

//! The states of an OS: each with each action.

use mint_unit::state::{Action, State};

const ACTIONS: [Action; 5] = [
    Action::Configure,
    Action::Load,
    Action::Start,
    Action::Stop,
    Action::Remove,
];

#[test]
fn every_action_in_every_state() {
    // An empty text: allowed.
    let table = [
        (
            State::Offline,
            [
                "",
                "",
                "can't be started while offline: write 1 to 'load' first",
                "can't be stopped while offline: it holds nothing",
                "",
            ],
        ),
        (
            State::Loaded,
            [
                "can't be configured while loaded: write 1 to 'stop' first",
                "can't be loaded while loaded: it is loaded already",
                "",
                "",
                "",
            ],
        ),
        (
            State::Running,
            [
                "can't be configured while running: write 1 to 'stop' first",
                "can't be loaded while running: it runs already",
                "can't be started while running: it runs already",
                "",
                "can't be removed while running: write 1 to 'stop' first",
            ],
        ),
        (
            State::Stuck,
            [
                "can't be configured while stuck: one of its CPUs does not answer; write 1 to 'stop' to try again",
                "can't be loaded while stuck: one of its CPUs does not answer; write 1 to 'stop' to try again",
                "can't be started while stuck: one of its CPUs does not answer; write 1 to 'stop' to try again",
                "",
                "can't be removed while stuck: one of its CPUs does not answer; write 1 to 'stop' to try again",
            ],
        ),
    ];
    for (state, refusals) in table {
        for (action, refusal) in ACTIONS.into_iter().zip(refusals) {
            let text = match state.allows(action) {
                Ok(()) => String::new(),
                Err(refusal) => refusal.to_string(),
            };
            assert_eq!(text, refusal, "{action:?} while {state:?}");
        }
    }
}

#[test]
fn names() {
    let states = [State::Offline, State::Loaded, State::Running, State::Stuck];
    let names = states.map(State::name);
    assert_eq!(names, ["offline", "loaded", "running", "stuck"]);
}
