// SPDX-License-Identifier: GPL-2.0

//! Reads a file that holds an OS's memory from physical address 0 on, as QEMU's `pmemsave` writes
//! it: `postmortem FILE log` prints the log, `event` the last that happened, `records` what is
//! known of each record, `core FILE` writes a core file.

use mint_unit::memory::memmap::Range;
use mint_unit::postmortem::{
    elf_core::ElfCore,
    events::{Event, Events},
    page_walk::AddressSpace,
    printk_log::{Entry, Escaped, Log, TEXT_LEN_MAX},
    vmcoreinfo::{find, VmcoreInfo, NOTE_LEN_MAX},
    PhysicalMemory,
};
use std::{
    env,
    error::Error,
    fs::{self, File},
    io::{stdout, Write},
};

/// Memory that starts at physical address 0.
struct Image(Vec<u8>);

impl PhysicalMemory for Image {
    fn read(&mut self, address: u64, out: &mut [u8]) -> Option<()> {
        let start = usize::try_from(address).ok()?;
        out.copy_from_slice(self.0.get(start..start.checked_add(out.len())?)?);
        Some(())
    }
}

/// The first note of a kernel whose log can be read.
fn open(image: &mut Image) -> Result<(Vec<u8>, AddressSpace, Log), Box<dyn Error>> {
    let all = Range::new(0, image.0.len() as u64).ok_or("the file is empty")?;
    let mut from = 0;
    while from < all.end() {
        let (found, next) = find(image, &all, from, 1024);
        from = next;
        let Some(at) = found else { continue };
        let at = at as usize;
        let end = image.0.len().min(at + NOTE_LEN_MAX);
        let note = image.0[at..end].to_vec();
        let opened = VmcoreInfo::parse(&note)
            .map_err(|error| error.to_string())
            .and_then(|info| {
                let space = AddressSpace::new(image, &info).map_err(|error| error.to_string())?;
                let log = Log::open(image, &info, &space).map_err(|error| error.to_string())?;
                Ok((info.note_len(), space, log))
            });
        match opened {
            Ok((len, space, log)) => return Ok((note[..len].to_vec(), space, log)),
            Err(error) => eprintln!("note at {at:#x}: {error}"),
        }
    }
    Err("no kernel in it".into())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [file, what, rest @ ..] = &arguments[..] else {
        return Err("usage: postmortem FILE log|event|records|core [FILE]".into());
    };
    let mut image = Image(fs::read(file)?);
    let (note, space, log) = open(&mut image)?;
    let info = VmcoreInfo::parse(&note).map_err(|error| error.to_string())?;
    let page_offset = space.page_offset(&mut image);
    let offset = page_offset.map_or("unknown".into(), |at| format!("{at:#x}"));
    let release = info.osrelease().unwrap_or("unknown");
    eprintln!("Linux {release}, memory mapped at {offset}");

    let mut text = [0; TEXT_LEN_MAX];
    match what.as_str() {
        "log" => {
            let mut written = String::new();
            log.write_text(&mut image, &mut text, &mut written)
                .map_err(|error| error.to_string())?;
            stdout().write_all(written.as_bytes())?;
        }
        "event" => match Events::new().scan(&log, &mut image, &mut text) {
            Ok(None) => println!("none"),
            Ok(Some(Event::Halted)) => println!("halted"),
            Ok(Some(Event::Replaced)) => println!("replaced"),
            Ok(Some(Event::Panicked(reason))) => println!("panicked: {}", Escaped(reason)),
            Err(error) => return Err(error.to_string().into()),
        },
        "records" => {
            let ids = log
                .ids(&mut image, None)
                .map_err(|error| error.to_string())?;
            for id in ids {
                match log.read(&mut image, id, &mut text) {
                    Ok(Entry::Record(record)) => println!(
                        "{},{},{},{};{}",
                        (u32::from(record.facility) << 3) | u32::from(record.level),
                        record.seq,
                        record.ts_nsec / 1000,
                        record.caller_id,
                        Escaped(&text[..record.len])
                    ),
                    other => println!("{id:#x}: {other:?}"),
                }
            }
        }
        "core" => {
            let [to] = rest else {
                return Err("core: to which file?".into());
            };
            let architecture = info.architecture().map_err(|error| error.to_string())?;
            let all = [Range::new(0, image.0.len() as u64).ok_or("the file is empty")?];
            let core = ElfCore::new(architecture, &note, &all, page_offset)
                .map_err(|error| error.to_string())?;
            let mut to = File::create(to)?;
            let mut at = 0;
            let mut part = vec![0; 4096];
            while at < core.len() {
                let len = core
                    .read(&mut image, at, &mut part)
                    .map_err(|error| error.to_string())?;
                to.write_all(&part[..len])?;
                at += len as u64;
            }
        }
        _ => return Err("what?".into()),
    }
    Ok(())
}
