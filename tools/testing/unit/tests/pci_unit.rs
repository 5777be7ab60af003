// SPDX-License-Identifier: GPL-2.0

//! Which PCI functions can be given away together.

use mint_unit::pci::unit::{
    missing, select, units, Address, Error, Function, Obstacle, Request, Unit,
};

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn requests(text: &str) -> Vec<Request> {
    text.split(' ')
        .map(|word| Request::parse(word).unwrap())
        .collect()
}

/// A PC: a device on the root bus, a disk below a root port, a card with two functions below
/// another, and a switch with two disks below a third; another disk in another domain.
fn machine() -> Vec<Function> {
    [
        ("0000:00:02.0", 0xff, Some(Obstacle::OnRootBus)),
        ("0000:01:00.0", 1, None),
        ("0000:02:00.0", 2, None),
        ("0000:02:00.1", 2, None),
        // Its upstream port, its downstream ports, and what is below them.
        ("0000:03:00.0", 6, None),
        ("0000:04:00.0", 6, None),
        ("0000:04:01.0", 6, None),
        ("0000:05:00.0", 5, None),
        ("0000:06:00.0", 6, None),
        ("0000:07:00.0", 7, Some(Obstacle::NoMsi)),
        ("0000:08:00.0", 8, None),
        ("0000:08:00.1", 8, Some(Obstacle::Virtual)),
        ("0000:0a:00.0", 10, Some(Obstacle::Memory)),
        ("0001:01:00.0", 1, None),
    ]
    .map(|(text, last_bus, obstacle)| Function {
        address: address(text),
        last_bus,
        obstacle,
        // It is set anew.
        wanted: true,
    })
    .to_vec()
}

/// What is given for `text`: the functions and the units.
fn given(text: &str) -> Result<(Vec<String>, Vec<Unit>), Error> {
    let mut functions = machine();
    select(&mut functions, &requests(text))?;
    let wanted = functions.iter().filter(|function| function.wanted);
    Ok((
        wanted
            .map(|function| function.address.to_string())
            .collect(),
        units(&functions).collect(),
    ))
}

fn unit(domain: u16, first_bus: u8, last_bus: u8) -> Unit {
    Unit {
        domain,
        first_bus,
        last_bus,
    }
}

#[test]
fn addresses() {
    for text in ["0000:01:00.0", "ffff:ff:1f.7", "0001:0a:1b.2"] {
        assert_eq!(address(text).to_string(), text);
        assert_eq!(requests(text)[0].to_string(), text);
    }
    assert_eq!(address("3A:1f.1").to_string(), "0000:3a:1f.1");
    assert_eq!(requests("0000:0A")[0].to_string(), "0000:0a");
    for text in [
        "",
        ":",
        ".",
        "0000:01",
        "01:00",
        "00:20.0",
        "00:00.8",
        "0:00:00.0",
        "00000:00:00.0",
        "0000:00:00.00",
        "0000:00:0.0",
        "+000:00:00.0",
        "0000:-1:00.0",
        "0000:00:00.0 ",
        "0000:0:00:00.0",
        "10000:00:00.0",
        "0000:00:00.",
        "gggg:00:00.0",
    ] {
        assert_eq!(Address::parse(text), None, "{text}");
    }
    for text in [
        "01:00",
        "0000:",
        "0000:1",
        "0000:001",
        "0000",
        "0000:01:00",
        "0000:01:",
    ] {
        assert_eq!(Request::parse(text), None, "{text}");
    }
}

#[test]
fn whole_units() {
    let disk = (vec!["0000:01:00.0".to_string()], vec![unit(0, 1, 1)]);
    for text in ["0000:01:00.0", "0000:01", "0000:01 01:00.0 01:00.0"] {
        assert_eq!(given(text), Ok(disk.clone()), "{text}");
    }
    let (functions, found) = given("02:00.1 02:00.0 0001:01").unwrap();
    assert_eq!(functions, ["0000:02:00.0", "0000:02:00.1", "0001:01:00.0"]);
    assert_eq!(found, [unit(0, 2, 2), unit(1, 1, 1)]);
    // One unit, whichever of its buses are named besides.
    for text in ["0000:03", "0000:05 0000:03", "0000:03 0000:06 04:01.0"] {
        let (functions, found) = given(text).unwrap();
        assert_eq!(functions.len(), 5, "{text}");
        assert_eq!(found, [unit(0, 3, 6)], "{text}");
    }
    // What is below a port of the switch is a unit by itself.
    assert_eq!(given("0000:06").unwrap().1, [unit(0, 6, 6)]);
}

#[test]
fn parts_of_units() {
    for (text, expected) in [
        ("02:00.1", vec!["0000:02:00.0"]),
        (
            "03:00.0",
            vec![
                "0000:04:00.0",
                "0000:04:01.0",
                "0000:05:00.0",
                "0000:06:00.0",
            ],
        ),
        // The ports of a switch are on one bus.
        ("04:00.0 0000:06", vec!["0000:04:01.0", "0000:05:00.0"]),
    ] {
        let mut functions = machine();
        assert_eq!(
            select(&mut functions, &requests(text)),
            Err(Error::Incomplete),
            "{text}"
        );
        let missing: Vec<_> = missing(&functions)
            .map(|address| address.to_string())
            .collect();
        assert_eq!(missing, expected, "{text}");
    }
}

#[test]
fn what_can_not_be_given() {
    for (text, obstacle) in [
        ("00:02.0", Obstacle::OnRootBus),
        ("07:00.0", Obstacle::NoMsi),
        ("0000:07", Obstacle::NoMsi),
        ("0a:00.0", Obstacle::Memory),
        ("08:00.1 08:00.0", Obstacle::Virtual),
    ] {
        let word = text.split(' ').next().unwrap();
        let at = address(if word == "0000:07" { "07:00.0" } else { word });
        assert_eq!(given(text), Err(Error::Obstacle(at, obstacle)), "{text}");
    }
    for text in ["09:00.0", "01:00.1", "0000:09", "0002:01"] {
        assert_eq!(
            given(text),
            Err(Error::NotThere(requests(text)[0])),
            "{text}"
        );
    }
    // The root bus as a whole neither.
    assert!(matches!(
        given("0000:00"),
        Err(Error::Obstacle(_, Obstacle::OnRootBus))
    ));
}
