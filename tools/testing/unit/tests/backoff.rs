// SPDX-License-Identifier: GPL-2.0

//! How long an OS waits before it is restarted.

use mint_unit::state::backoff::Backoff;

const MINUTE: u64 = 60_000;

#[test]
fn waits_double_up_to_a_minute() {
    let mut backoff = Backoff::default();
    for wait in [
        0, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, MINUTE, MINUTE, MINUTE,
    ] {
        assert_eq!(backoff.next(0), wait);
    }
}

#[test]
fn a_good_run_lasts_a_minute() {
    for (ran_for, forgotten) in [
        (0, false),
        (MINUTE - 1, false),
        (MINUTE, true),
        (u64::MAX, true),
    ] {
        let mut backoff = Backoff::default();
        for _ in 0..20 {
            backoff.next(1);
        }
        let expected = if forgotten { [0, 1_000] } else { [MINUTE; 2] };
        assert_eq!([backoff.next(ran_for), backoff.next(0)], expected);
    }
}

/// As many short runs as nobody will see: the wait neither wraps nor overflows.
#[test]
fn it_never_wraps() {
    let mut backoff = Backoff::default();
    let waits = (0..100_000).map(|_| backoff.next(0));
    assert!(waits.skip(7).all(|wait| wait == MINUTE));
}
