// SPDX-License-Identifier: GPL-2.0

//! How often the poller looks.

use mint_unit::polling::pace::Pace;

const MS: u64 = 1_000_000;

/// Looks from `start` on until `end`, and returns the number of looks and of thorough ones.
fn looks(
    pace: &mut Pace,
    start: u64,
    end: u64,
    mut has_work: impl FnMut(u64) -> bool,
) -> (u64, u64) {
    let (mut now, mut looks, mut thorough) = (start, 0, 0);
    while now < end {
        looks += 1;
        thorough += u64::from(pace.is_thorough(now));
        // A look takes a microsecond, and so does waking up.
        now += 1_000;
        let sleep = pace.sleep(now, has_work(now));
        now += if sleep > 0 { sleep + 1_000 } else { 0 };
    }
    (looks, thorough)
}

#[test]
fn an_idle_poller_looks_less_and_less_often() {
    let start = 60_000 * MS;
    for (idle, expected) in [(2_000 * MS, 90..=100), (20_000 * MS, 19..=20)] {
        let mut pace = Pace::default();
        pace.sleep(start - idle, true);
        let (all, thorough) = looks(&mut pace, start, start + 1_000 * MS, |_| false);
        assert!(expected.contains(&all), "{all}");
        assert_eq!(thorough, all);
    }
}

#[test]
fn a_busy_poller_naps_for_the_sake_of_rcu() {
    let mut pace = Pace::default();
    let start = 60_000 * MS;
    let mut naps = 0;
    for now in (start..start + 1_000 * MS).step_by(1_000) {
        naps += u64::from(pace.sleep(now, true) > 0);
    }
    assert!((9..=10).contains(&naps), "{naps}");
}

#[test]
fn sleeps_grow_while_nothing_comes() {
    let mut pace = Pace::default();
    let start = 60_000 * MS;
    pace.sleep(start - 50 * MS, false);
    assert_eq!(pace.sleep(start, true), 0);
    let expected = [
        (10_000, 0),
        (20_000, 50_000),
        (9 * MS, 50_000),
        (10 * MS, MS),
        (999 * MS, MS),
        (1_000 * MS, 10 * MS),
        (9_999 * MS, 10 * MS),
        (10_000 * MS, 50 * MS),
    ];
    for (after, sleep) in expected {
        assert_eq!(pace.sleep(start + after, false), sleep, "{after}");
    }
    // A clock that goes back is no reason to panic.
    assert_eq!(pace.sleep(0, false), 0);
}

#[test]
fn registers_are_looked_at_more_often_while_something_comes() {
    let mut pace = Pace::default();
    let start = 60_000 * MS;
    let (_, thorough) = looks(&mut pace, start, start + 100 * MS, |_| true);
    assert!((150..=200).contains(&thorough), "{thorough}");
}
