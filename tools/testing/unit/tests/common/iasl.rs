// SPDX-License-Identifier: GPL-2.0

//! ACPICA's compiler, disassembler and interpreter: the code by which Linux, too, reads ACPI tables.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A new directory for the files of test `name`.
fn directory(name: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    directory
}

/// Runs iasl, which may have nothing to complain about.
fn iasl(directory: &Path, arguments: &[&str]) {
    let output = Command::new("iasl")
        .args(arguments)
        .current_dir(directory)
        .output()
        .expect("iasl must be there: run by scripts/in-root");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let complaints = text
        .lines()
        .filter(|line| !line.contains("0 Errors, 0 Warnings"))
        .map(str::to_lowercase)
        .any(|line| line.contains("error") || line.contains("warning"));
    assert!(
        output.status.success() && !complaints,
        "iasl {arguments:?}:\n{text}"
    );
}

/// The source that iasl makes of `table`.
pub fn disassemble(test: &str, table: &[u8]) -> String {
    let directory = directory(test);
    fs::write(directory.join("table.dat"), table).unwrap();
    iasl(&directory, &["-d", "table.dat"]);
    fs::read_to_string(directory.join("table.dsl")).unwrap()
}

/// The table that iasl makes of `source`, without optimizing it.
pub fn compile(test: &str, source: &str) -> Vec<u8> {
    let directory = directory(test);
    fs::write(directory.join("source.asl"), source).unwrap();
    iasl(&directory, &["-oa", "-p", "table", "source.asl"]);
    fs::read(directory.join("table.aml")).unwrap()
}

/// What ACPICA's interpreter prints when it is given `commands` with the DSDT `table`.
pub fn interpret(test: &str, table: &[u8], commands: &[String]) -> String {
    let directory = directory(test);
    fs::write(directory.join("dsdt.dat"), table).unwrap();
    let script = directory.join("commands");
    fs::write(&script, commands.join("\n") + "\nquit\n").unwrap();
    let output = Command::new("acpiexec")
        .arg("dsdt.dat")
        .stdin(fs::File::open(script).unwrap())
        .current_dir(directory)
        .output()
        .expect("acpiexec must be there: run by scripts/in-root");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let complaints = ["Error", "Warning", "Exception"];
    assert!(
        output.status.success() && !complaints.iter().any(|word| text.contains(word)),
        "acpiexec {commands:?}:\n{text}"
    );
    text
}

/// Compares two tables but for the checksum and who made them (ACPI specification, 5.2.6).
pub fn assert_same(a: &[u8], b: &[u8]) {
    for part in [0..9, 10..28] {
        assert_eq!(a[part.clone()], b[part]);
    }
    assert_eq!(a[36..], b[36..]);
}
