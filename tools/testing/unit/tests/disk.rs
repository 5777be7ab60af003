// SPDX-License-Identifier: GPL-2.0

//! What the files of disk/ that are pure make of values and requests.

use mint_unit::disk::{
    identity,
    statistics::Statistics,
    users::{mount_point, DeviceNumber},
    wanted::{each, Wanted},
};
use mint_unit::nvme::storage::Operation;

#[test]
fn disks_are_absolute_paths() {
    let found: Vec<_> = each("/srv/os1.img\t/dev/vg0/data:ro  /a:b:ro").collect();
    let disk = |path, read_only| Some(Wanted { path, read_only });
    assert_eq!(
        found,
        [
            disk("/srv/os1.img", false),
            disk("/dev/vg0/data", true),
            disk("/a:b", true)
        ]
    );
    assert_eq!(each("").count(), 0);
    for bad in ["os1.img", ":ro", "ro:/x", "/s\u{fc}d", "/a\nb"] {
        assert!(each(bad).any(|disk| disk.is_none()), "{bad}");
    }
}

#[test]
fn a_value_is_shown_as_it_was_written() {
    for word in ["/srv/os1.img", "/dev/vg0/data:ro"] {
        assert_eq!(Wanted::parse(word).unwrap().to_string(), word);
    }
}

/// The values are those of the reference implementation (`fnv1a64` of draft-eastlake-fnv, appendix C).
#[test]
fn serial_numbers_are_fnv_1a_hashes() {
    assert_eq!(&identity::serial(b""), b"cbf29ce484222325");
    assert_eq!(&identity::serial(b"a"), b"af63dc4c8601ec8c");
    assert_eq!(&identity::serial(b"foobar"), b"85944171f73967e8");
}

#[test]
fn uuids_are_of_version_8() {
    let (one, other) = (identity::uuid(b"/srv/a"), identity::uuid(b"/srv/b"));
    assert_ne!(one, other);
    for uuid in [one, other] {
        assert_eq!(uuid[6] >> 4, 8);
        assert_eq!(uuid[8] >> 6, 0b10);
    }
}

#[test]
fn names_are_filled_up_with_spaces() {
    assert_eq!(&identity::padded::<6>(b"abc"), b"abc   ");
    assert_eq!(&identity::padded::<2>(b"abc"), b"ab");
}

const MS: u64 = 1_000_000;

/// Checked against the fields in Documentation/admin-guide/iostats.rst of the kernel.
#[test]
fn statistics_are_in_the_order_of_diskstats() {
    let mut statistics = Statistics::default();
    let (lba, fua) = (0, false);
    let read = Operation::Read {
        lba,
        blocks: 8,
        fua,
    };
    let write = Operation::Write {
        lba,
        blocks: 2,
        fua,
    };
    let discard = Operation::Deallocate {
        ranges: 1,
        disk_blocks: 9,
    };
    statistics.add(&read, 12, 3 * MS, true);
    statistics.add(&read, 12, 2 * MS, true);
    statistics.add(&write, 12, 7 * MS, true);
    statistics.add(&discard, 12, 11 * MS, true);
    statistics.add(&Operation::Flush, 12, 13 * MS, true);
    statistics.add(&write, 12, MS, false);
    let line = statistics.with_in_flight(4).to_string();
    let fields: Vec<u64> = line
        .split(' ')
        .map(|field| field.parse().unwrap())
        .collect();
    assert_eq!(fields[..4], [2, 0, 128, 5], "reads, merged, sectors, ms");
    assert_eq!(fields[4..8], [1, 0, 16, 8], "writes, merged, sectors, ms");
    assert_eq!(fields[8..11], [4, 0, 37], "in flight, ms busy, weighted ms");
    assert_eq!(
        fields[11..15],
        [1, 0, 0, 11],
        "discards, merged, sectors, ms"
    );
    assert_eq!(fields[15..17], [1, 13], "flushes, ms");
    assert_eq!(fields[17..], [1], "errors");
}

#[test]
fn where_a_block_device_is_mounted() {
    let mountinfo = b"21 26 0:20 / /proc rw,relatime shared:5 - proc proc rw
26 1 259:3 / / rw,relatime shared:1 - ext4 /dev/root rw
30 26 8:1 /home /srv/my\\040home rw shared:9 - ext4 /dev/sda1 rw
31 26 8:1 / /mnt rw - ext4 /dev/sda1 rw
32 26 4096:1 / /large rw - ext4 /dev/large rw
33 26 8:1048576 / /larger rw - ext4 /dev/large rw
34 26 8:x / /x
35 26
36 26 8:17 /cut";
    let found = |major: u32, minor| mount_point(mountinfo, DeviceNumber((major << 20) | minor));
    assert_eq!(found(259, 3), Some(&b"/"[..]));
    assert_eq!(found(8, 1), Some(&br"/srv/my\040home"[..]));
    assert_eq!(found(0, 20), Some(&b"/proc"[..]));
    for (major, minor) in [(8, 0), (0, 1), (9, 0), (8, 17)] {
        assert_eq!(found(major, minor), None);
    }
    assert_eq!(mount_point(b"", DeviceNumber(0)), None);
}
