// SPDX-License-Identifier: GPL-2.0

//! The search for a kernel's note, in memory that has many.

#[path = "common/kernel.rs"]
mod kernel;

use kernel::{note, Memory, PAGE};
use mint_unit::postmortem::note_search::{Limit, NoteSearch};

const START: u64 = 0x1_2345_6000;

/// Memory of `pages` pages, each with a note.
fn full_of_notes(pages: u64) -> Memory {
    let mut memory = Memory::new(START, pages * PAGE);
    let note = note(b"OSRELEASE=1\n");
    for page in 0..pages {
        memory.put(START + page * PAGE, &note);
    }
    memory
}

/// A look that refuses all notes: which it has tried, by page, and what came of it.
fn refuse(
    search: &mut NoteSearch,
    memory: &mut Memory,
    limit: Limit,
) -> (Vec<u64>, Result<(), Option<u64>>) {
    let range = memory.range();
    let mut tried = Vec::new();
    let result = search.look(memory, &range, limit, |_, address| {
        tried.push((address - START) / PAGE);
        Err(address)
    });
    (tried, result)
}

#[test]
fn no_look_tries_more_notes_than_it_may() {
    let mut memory = full_of_notes(40);
    let mut search = NoteSearch::new();
    let limit = search.limit();
    assert_eq!(limit.notes, 16);
    // The next look goes on behind the last note, and the one after the end starts over.
    for pages in [0..16, 16..32, 32..40, 0..16] {
        let (tried, result) = refuse(&mut search, &mut memory, limit);
        let last = START + (pages.end - 1) * PAGE;
        assert_eq!(tried, pages.collect::<Vec<_>>());
        assert_eq!(result, Err(Some(last)));
    }
    search.rewind();
    let (tried, _) = refuse(&mut search, &mut memory, limit);
    assert_eq!(tried[0], 0);
}

#[test]
fn no_look_searches_more_pages_than_it_may() {
    let mut memory = full_of_notes(40);
    let mut search = NoteSearch::new();
    let limit = Limit { pages: 3, notes: 8 };
    for pages in [[0, 1, 2], [3, 4, 5]] {
        let (tried, _) = refuse(&mut search, &mut memory, limit);
        assert_eq!(tried, pages);
    }
    let mut empty = Memory::new(START, 40 * PAGE);
    let (tried, result) = refuse(&mut search, &mut empty, limit);
    assert!(tried.is_empty());
    assert_eq!(result, Err(None));
    assert_eq!(empty.reads, 3);
}

#[test]
fn all_the_memory_is_searched_for_the_one_that_is_taken() {
    let mut memory = full_of_notes(2000);
    let range = memory.range();
    let mut search = NoteSearch::new();
    let mut look = |wanted: u64| {
        let mut tried = 0;
        let found = search.look_everywhere(&mut memory, &range, |_, address| {
            tried += 1;
            if address == START + wanted * PAGE {
                Ok(address)
            } else {
                Err(())
            }
        });
        (found, tried)
    };
    assert_eq!(look(0), (Ok(START), 1));
    assert_eq!(look(1023), (Ok(START + 1023 * PAGE), 1024));
    assert_eq!(look(1024), (Err(Some(())), 1024));
    assert_eq!(look(0), (Ok(START), 1));
}

#[test]
fn a_search_in_vain_gets_cheaper() {
    let mut memory = Memory::new(START, PAGE);
    let mut search = NoteSearch::new();
    let mut pages = vec![search.limit().pages];
    for _ in 0..2000 {
        let limit = search.limit();
        let _ = refuse(&mut search, &mut memory, limit);
        pages.push(search.limit().pages);
    }
    assert!(pages
        .windows(2)
        .all(|pair| pair[1] == pair[0] || pair[1] == pair[0] / 2));
    assert_eq!((pages[0], pages[127], pages[128]), (65536, 65536, 32768));
    assert_eq!(pages[2000], 1024);
}
