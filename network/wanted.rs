// SPDX-License-Identifier: GPL-2.0

//! The card that a person gives an OS, as written to the file `network`.

use crate::network::mac::MacAddress;

/// Where the wire of a card ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End<'a> {
    /// Nowhere: the card has no link.
    None,
    /// At the TAP interface of this name.
    Interface(&'a str),
    /// At the TAP interface to which this file of the writing process is attached.
    File(u32),
}

/// A card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// Where its wire ends.
    pub end: End<'a>,
    /// Its address, if it is not to be made of the OS's name.
    pub mac: Option<MacAddress>,
}

/// The word for [`End::None`].
pub const NO_END: &str = "none";

/// The maximum length of the name of an interface (IFNAMSIZ of include/uapi/linux/if.h in Linux, less a
/// final NUL).
const NAME_MAX: usize = 15;

impl<'a> Wanted<'a> {
    /// Reads a value of the file that is not empty; returns [`None`] if it is not understood.
    pub fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
        let (end, mac) = (words.next()?, words.next());
        if words.next().is_some() {
            return None;
        }
        let mac = match mac {
            Some(word) => Some(MacAddress::parse(word)?),
            None => None,
        };
        Some(Wanted {
            end: End::parse(end)?,
            mac,
        })
    }
}

impl<'a> End<'a> {
    fn parse(word: &'a str) -> Option<Self> {
        if word == NO_END {
            return Some(End::None);
        }
        if word.bytes().all(|digit| digit.is_ascii_digit()) {
            return word.parse().ok().map(End::File);
        }
        // dev_valid_name(), net/core/dev.c in Linux. A percent sign would stand for a number.
        let is_part = |byte: u8| byte.is_ascii_graphic() && !b"/:%".contains(&byte);
        let is_name = word.len() <= NAME_MAX && word.bytes().all(is_part);
        (is_name && word != "." && word != "..").then_some(End::Interface(word))
    }
}
