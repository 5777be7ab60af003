// SPDX-License-Identifier: GPL-2.0

//! Code that is data to the first OS: what the assembler made of a `.S` file.

/// The bytes between two symbols, which must be the start and the end of one object in `.rodata`.
macro_rules! assembled {
    ($start:ident, $end:ident) => {{
        extern "C" {
            static $start: u8;
            static $end: u8;
        }
        let (start, end) = (&raw const $start, &raw const $end);
        // SAFETY: Whoever names the symbols promises that.
        unsafe { ::core::slice::from_raw_parts(start, end.offset_from(start) as usize) }
    }};
}
pub(crate) use assembled;
