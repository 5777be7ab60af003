// SPDX-License-Identifier: GPL-2.0

//! What the files of network/ that are pure make of the value of the file `network`.

use mint_unit::network::{
    mac::MacAddress,
    wanted::{End, Wanted},
};

fn parsed(line: &str) -> Option<(End<'_>, Option<String>)> {
    Wanted::parse(line).map(|wanted| (wanted.end, wanted.mac.map(|mac| mac.to_string())))
}

#[test]
fn a_card_is_plugged_into_an_interface_a_file_or_nothing() {
    assert_eq!(parsed("tap1"), Some((End::Interface("tap1"), None)));
    assert_eq!(parsed(" tap1\t"), Some((End::Interface("tap1"), None)));
    assert_eq!(parsed("7"), Some((End::File(7), None)));
    assert_eq!(parsed("none"), Some((End::None, None)));
    assert_eq!(parsed("7tap"), Some((End::Interface("7tap"), None)));
    let fifteen = "abcdefghijklmno";
    assert_eq!(parsed(fifteen), Some((End::Interface(fifteen), None)));
}

#[test]
fn an_address_may_follow() {
    let mac = Some("02:00:5e:10:ab:cd".to_string());
    assert_eq!(
        parsed("tap1 02:00:5e:10:AB:cd"),
        Some((End::Interface("tap1"), mac.clone()))
    );
    assert_eq!(parsed("none 02:00:5e:10:ab:cd"), Some((End::None, mac)));
}

#[test]
fn what_is_not_understood_is_refused() {
    for line in [
        "",
        " ",
        "tap1 tap2",
        "tap1 02:00:00:00:00:01 x",
        "sixteen-letters-",
        "a/b",
        "a:b",
        "tap%d",
        ".",
        "..",
        "t\u{e4}p",
        "4294967296",
        "tap1 02:00:00:00:00",
        "tap1 02:00:00:00:00:01:02",
        "tap1 2:0:0:0:0:1",
        "tap1 02-00-00-00-00-01",
        "tap1 +2:00:00:00:00:01",
        // A group, and nobody.
        "tap1 03:00:00:00:00:01",
        "tap1 ff:ff:ff:ff:ff:ff",
        "tap1 00:00:00:00:00:00",
    ] {
        assert_eq!(parsed(line), None, "{line:?}");
    }
}

#[test]
fn an_address_that_is_made_up_is_local_and_of_one_station() {
    for first in 0..=u8::MAX {
        let mut uuid = [0; 16];
        (uuid[0], uuid[5], uuid[6]) = (first, 5, 6);
        let mac = MacAddress::of_uuid(&uuid);
        assert_eq!(mac.bytes()[0] & 0b11, 0b10);
        assert_eq!(mac.bytes()[1..], [0, 0, 0, 0, 5]);
        assert_eq!(MacAddress::new(mac.bytes()), Some(mac));
        assert_eq!(MacAddress::parse(&mac.to_string()), Some(mac));
    }
}
