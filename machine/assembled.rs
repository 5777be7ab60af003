// SPDX-License-Identifier: GPL-2.0

//! Access to the code of assembler files that the first OS copies but does not execute.

/// Returns the bytes between two symbols.
///
/// # Safety
///
/// The symbols must be the start and the end of one object in `.rodata`, which is initialised and
/// never written. The macro's user must say so, in an unsafe block around it.
macro_rules! assembled {
    ($start:ident, $end:ident) => {{
        extern "C" {
            static $start: u8;
            static $end: u8;
        }
        let (start, end) = (&raw const $start, &raw const $end);
        ::core::slice::from_raw_parts(start, end.offset_from(start) as usize)
    }};
}
pub(crate) use assembled;
