// SPDX-License-Identifier: GPL-2.0

//! VMCOREINFO: found in memory, and read.

#[path = "common/kernel.rs"]
mod kernel;
#[path = "common/rng.rs"]
mod rng;

use kernel::{note, Memory, PAGE};
use mint_unit::memory::memmap::Range;
use mint_unit::postmortem::vmcoreinfo::{
    find, is_note, Architecture, Error, Kind, VmcoreInfo, NOTE_HEADER_LEN, NOTE_LEN_MAX,
};
use rng::Rng;

/// As a kernel has it, in part (its CRASHTIME is added by panic()).
const TEXT: &str = "OSRELEASE=7.3.4+deb13-cloud-amd64
BUILD-ID=0123456789abcdef0123456789abcdef01234567
PAGESIZE=4096
SYMBOL(printk_rb_static)=ffffffff82a5b0c0
SYMBOL(prb)=ffffffff82a5b0a8
SYMBOL(wide)=1ffffffff82a5b0a8
SYMBOL(empty)=
SYMBOL(not_hex)=xyz
SYMBOL(init_top_pgt)=ffffffff83a26000
SIZE(prb_desc)=24
SIZE(prb_desc_ring)=48
SIZE(negative)=-1
OFFSET(prb_desc.state_var)=0
OFFSET(prb_desc.text_blk_lpos)=8
LENGTH(prb_desc)=1
NUMBER(phys_base)=-16777216
NUMBER(VMALLOC_START)=0xffa0000000000000
NUMBER(sign_in_hex)=0x-1
NUMBER(word)=word
NUMBER(twice)=1
NUMBER(twice)=2
CONFIG_SOMETHING=y
CONFIG_OTHER=m
CRASHTIME=1234";

#[test]
fn header() {
    let good = note(TEXT.as_bytes());
    assert_eq!(good.len(), NOTE_HEADER_LEN + TEXT.len().next_multiple_of(4));
    assert!(is_note(&good[..NOTE_HEADER_LEN]));
    assert!(is_note(&good));
    for len in 0..NOTE_HEADER_LEN {
        assert!(!is_note(&good[..len]), "{len}");
    }
    // n_namesz, n_type and the name are what they are; n_descsz may not be too large.
    for at in (0..4).chain(6..NOTE_HEADER_LEN) {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        assert!(!is_note(&bad), "{at}");
        assert!(VmcoreInfo::parse(&bad).is_err(), "{at}");
    }
    assert_eq!(VmcoreInfo::parse(&good).unwrap().note_len(), good.len());
    assert_eq!(
        VmcoreInfo::parse(b"something else").err(),
        Some(Error::NotANote)
    );
    let needed = NOTE_HEADER_LEN + TEXT.len();
    for len in NOTE_HEADER_LEN..needed {
        assert_eq!(
            VmcoreInfo::parse(&good[..len]).err(),
            Some(Error::Truncated { needed, len })
        );
    }

    let largest = note(&[b'x'; 4096]);
    assert_eq!(largest.len(), NOTE_LEN_MAX);
    assert!(VmcoreInfo::parse(&largest).is_ok());
    let too_large = note(&[b'x'; 4097]);
    assert_eq!(
        VmcoreInfo::parse(&too_large).err(),
        Some(Error::TooLong(4097))
    );
}

#[test]
fn lines() {
    let note = note(TEXT.as_bytes());
    let info = VmcoreInfo::parse(&note).unwrap();
    assert_eq!(info.osrelease(), Some("7.3.4+deb13-cloud-amd64"));
    assert_eq!(
        info.build_id(),
        Some("0123456789abcdef0123456789abcdef01234567")
    );
    assert_eq!(info.symbol("prb"), Ok(0xffff_ffff_82a5_b0a8));
    assert_eq!(info.symbol("printk_rb_static"), Ok(0xffff_ffff_82a5_b0c0));
    assert_eq!(info.size("prb_desc"), Ok(24));
    assert_eq!(info.size("prb_desc_ring"), Ok(48));
    assert_eq!(info.offset("prb_desc.state_var"), Ok(0));
    assert_eq!(info.offset("prb_desc.text_blk_lpos"), Ok(8));
    assert_eq!(info.number("phys_base"), Ok(-0x100_0000));
    assert_eq!(
        info.number("VMALLOC_START"),
        Ok(0xffa0_0000_0000_0000_u64 as i64)
    );
    assert_eq!(info.number("twice"), Ok(1));
    assert!(info.config("CONFIG_SOMETHING"));
    assert!(!info.config("CONFIG_SOME"));
    assert!(!info.config("CONFIG_OTHER"));
    assert!(!info.config("CONFIG_THIRD"));

    let missing = |kind, name| Err(Error::Missing(kind, name));
    assert_eq!(info.symbol("prb_desc"), missing(Kind::Symbol, "prb_desc"));
    assert_eq!(info.symbol("pr"), missing(Kind::Symbol, "pr"));
    assert_eq!(info.symbol(""), missing(Kind::Symbol, ""));
    assert_eq!(info.size("prb"), missing(Kind::Size, "prb"));
    assert_eq!(
        info.offset("prb_desc.state"),
        missing(Kind::Offset, "prb_desc.state")
    );
    for name in ["wide", "empty", "not_hex"] {
        assert_eq!(info.symbol(name), Err(Error::Value(Kind::Symbol, name)));
    }
    assert_eq!(
        info.size("negative"),
        Err(Error::Value(Kind::Size, "negative"))
    );
    assert_eq!(info.number("word"), Err(Error::Value(Kind::Number, "word")));
    assert_eq!(
        Error::Missing(Kind::Offset, "a.b").to_string(),
        "VMCOREINFO has no OFFSET(a.b)"
    );
}

#[test]
fn names_that_can_not_be_printed() {
    for text in [
        &b"OSRELEASE=\x1b[2J"[..],
        b"OSRELEASE=",
        b"OSRELEASE=a b",
        b"OSRELEASE=\xff",
        b"BUILD-ID=1",
        b"",
    ] {
        let note = note(text);
        assert_eq!(VmcoreInfo::parse(&note).unwrap().osrelease(), None);
    }
}

#[test]
fn architectures() {
    let of = |text: &str| {
        let note = note(text.as_bytes());
        VmcoreInfo::parse(&note).unwrap().architecture()
    };
    let i386 = |pae| Ok(Architecture::I386 { pae });
    let x86_64 = "SYMBOL(swapper_pg_dir)=ffffffff83a26000\nSYMBOL(init_top_pgt)=ffffffff83a26000\n\
                  NUMBER(phys_base)=0\n";
    assert_eq!(of(x86_64), Ok(Architecture::X86_64));
    assert_eq!(of("SYMBOL(swapper_pg_dir)=c1a26000\n"), i386(false));
    assert_eq!(
        of("SYMBOL(swapper_pg_dir)=c1a26000\nCONFIG_X86_PAE=y\n"),
        i386(true)
    );
    // arm64.
    assert_eq!(
        of("SYMBOL(swapper_pg_dir)=ffff800081a26000\nNUMBER(kimage_voffset)=0xffff7fff3f200000\n"),
        Err(Error::Architecture)
    );
    assert_eq!(of("OSRELEASE=1\n"), Err(Error::Architecture));
    assert_eq!(Architecture::X86_64.word_len(), 8);
    assert_eq!(Architecture::I386 { pae: true }.word_len(), 4);
}

#[test]
fn search() {
    let start = 0x1_2345_6000;
    let mut memory = Memory::new(start, 64 * PAGE);
    let note = note(TEXT.as_bytes());
    for page in [5, 40, 63] {
        memory.put(start + page * PAGE, &note);
    }
    // Not at the start of a page.
    memory.put(start + 20 * PAGE + 4, &note);
    let range = memory.range();

    for max_pages in [1, 2, 3, 7, 64, u64::MAX] {
        let (mut found, mut from, mut calls) = (Vec::new(), 0, 0);
        while from < range.end() {
            let reads = memory.reads;
            let (note, next) = find(&mut memory, &range, from, max_pages);
            assert!(memory.reads - reads <= max_pages);
            assert!(next > from);
            found.extend(note);
            (from, calls) = (next, calls + 1);
        }
        assert_eq!(found, [5, 40, 63].map(|page| start + page * PAGE));
        assert!(calls <= 64 / max_pages + 4, "{calls}");
        // There is nothing behind the end.
        assert_eq!(find(&mut memory, &range, from, max_pages), (None, from));
    }
    assert_eq!(find(&mut memory, &range, start, 0), (None, start));

    // From within a page, the next page is looked at first.
    let five = start + 5 * PAGE;
    assert_eq!(find(&mut memory, &range, five, 1).0, Some(five));
    assert_eq!(
        find(&mut memory, &range, five + 1, 10),
        (None, start + 16 * PAGE)
    );
    let part = Range::new(five + 1, 35 * PAGE).unwrap();
    assert_eq!(find(&mut memory, &part, 0, 100).0, Some(start + 40 * PAGE));
    // Memory that can't be read is passed over, to the end of all addresses.
    let high = Range::new(u64::MAX - 10 * PAGE, 10 * PAGE).unwrap();
    let (found, next) = find(&mut memory, &high, 0, 100);
    assert!(found.is_none() && next >= high.end() - PAGE, "{next:#x}");
    let (found, next) = find(&mut memory, &high, u64::MAX, 100);
    assert!(found.is_none() && next >= high.end(), "{next:#x}");
}

#[test]
fn text_that_is_damaged() {
    let good = note(TEXT.as_bytes());
    let mut rng = Rng(1);
    for _ in 0..20_000 {
        let mut bad = good.clone();
        for _ in 0..=rng.below(4) {
            let at = rng.below(bad.len() as u64) as usize;
            bad[at] = rng.next() as u8;
        }
        bad.truncate(rng.below(2 * good.len() as u64) as usize);
        let Ok(info) = VmcoreInfo::parse(&bad) else {
            continue;
        };
        let _ = (info.osrelease(), info.build_id(), info.architecture());
        let _ = (info.symbol("prb"), info.size("prb_desc"));
        let _ = (info.offset("prb_desc.state_var"), info.number("phys_base"));
        assert!(info.note_len() <= bad.len() + 3);
    }
}
