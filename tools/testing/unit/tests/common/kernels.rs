// SPDX-License-Identifier: GPL-2.0

//! Real kernels of Debian.

use std::{fs, path::PathBuf};

/// Debian's kernels in the cache: each one's name, and the path of its `file`, which is `vmlinuz` or
/// the `vmlinux` that it unpacks. `MINT_KERNELS` lists those that must be there; without it, one must.
pub fn kernels(file: &str) -> Vec<(String, PathBuf)> {
    let cache = std::env::var("MINT_CACHE").expect("MINT_CACHE is not set: run by scripts/in-root");
    let directory = PathBuf::from(cache).join("kernels");
    let there: Vec<_> = fs::read_dir(&directory)
        .unwrap_or_else(|error| {
            panic!("{}: {error}: run scripts/fetch-kernel", directory.display())
        })
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, entry.path().join(file))
        })
        .filter(|(name, path)| {
            let debian = ["-amd64", "-686", "-686-pae"];
            debian.iter().any(|flavour| name.ends_with(flavour)) && path.is_file()
        })
        .collect();
    for wanted in std::env::var("MINT_KERNELS")
        .unwrap_or_default()
        .split_whitespace()
    {
        assert!(
            there.iter().any(|(name, _)| name == wanted),
            "kernel {wanted} of MINT_KERNELS is not in the cache: run scripts/fetch-kernel {wanted}"
        );
    }
    assert!(
        !there.is_empty(),
        "no kernel in the cache: run scripts/fetch-kernel"
    );
    there
}
