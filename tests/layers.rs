//! Imports of cl-experiments point down its layers, and no two files import each other, not even indirectly.

use crate::support::top;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// From the bottom to the top.
const LAYERS: [&str; 8] = ["io", "spec", "tasks", "run", "judge", "report", "lab", "commands"];

/// A module's path and its source without comments and tests.
type Modules = BTreeMap<Vec<String>, String>;

fn modules() -> Modules {
    fn read(folder: &Path, path: &[String], found: &mut Modules) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            if entry.path().is_dir() {
                read(&entry.path(), &[path, &[name]].concat(), found);
            } else if let Some(stem) = name.strip_suffix(".rs") {
                let own = match stem {
                    "mod" | "lib" => path.to_vec(),
                    "main" => continue,
                    _ => [path, &[stem.to_string()]].concat(),
                };
                let text = fs::read_to_string(entry.path()).unwrap();
                let code = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
                let code = code.filter(|line| !line.trim_start().starts_with("//"));
                found.insert(own, code.collect::<Vec<_>>().join("\n"));
            }
        }
    }
    let mut found = Modules::new();
    read(&top().join("crates/cl-experiments/src"), &[], &mut found);
    found
}

/// Paths after `crate` and `super`, with those in braces expanded.
fn paths(own: &[String], text: &str) -> Vec<Vec<String>> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let starts = text.match_indices("crate::").chain(text.match_indices("super::"));
    for (at, word) in starts.filter(|(at, _)| !text[..*at].ends_with(|c: char| is_word(c) || c == ':' || c == '$')) {
        let mut base = if word == "crate::" { Vec::new() } else { own.to_vec() };
        let mut rest = &text[at..];
        rest = rest.strip_prefix("crate::").unwrap_or(rest);
        while let Some(above) = rest.strip_prefix("super::") {
            base.pop();
            rest = above;
        }
        expand(&base, rest, &mut found);
    }
    found
}

/// Adds what `a::b::{c, d::e}` at the beginning of `text` names; returns what follows it.
fn expand<'a>(base: &[String], mut text: &'a str, found: &mut Vec<Vec<String>>) -> &'a str {
    let mut path = base.to_vec();
    loop {
        if let Some(mut inside) = text.strip_prefix('{') {
            loop {
                inside = expand(&path, inside.trim_start(), found).trim_start();
                match inside.strip_prefix(',') {
                    Some(next) => inside = next.trim_start(),
                    None => return inside.strip_prefix('}').unwrap_or(inside),
                }
            }
        }
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        if end > 0 {
            path.push(text[..end].to_string());
        }
        text = &text[end..];
        match text.strip_prefix("::") {
            Some(next) => text = next,
            None => {
                found.push(path);
                return text;
            }
        }
    }
}

/// For each module those that it imports, except the root.
fn imports() -> BTreeMap<Vec<String>, BTreeSet<Vec<String>>> {
    let modules = modules();
    let of = |(own, text): (&Vec<String>, &String)| {
        let targets = paths(own, text).into_iter().filter_map(|path| {
            let longest = (1..=path.len()).rev().map(|n| path[..n].to_vec()).find(|p| modules.contains_key(p));
            longest.filter(|target| target != own)
        });
        (own.clone(), targets.collect())
    };
    modules.iter().map(of).collect()
}

#[test]
fn imports_point_down_the_layers() {
    let layer = |path: &[String]| LAYERS.iter().position(|layer| Some(*layer) == path.first().map(String::as_str));
    let imports = imports();
    let mut seen = 0;
    for (own, targets) in imports.iter().filter(|(own, _)| !own.is_empty()) {
        let from = layer(own).unwrap_or_else(|| panic!("{own:?} is in no layer"));
        for target in targets {
            assert!(
                layer(target).unwrap() <= from,
                "{} imports {}, which is above it",
                own.join("::"),
                target.join("::")
            );
            seen += 1;
        }
    }
    assert!(imports.len() > 80 && seen > 250, "{} modules, {seen} imports", imports.len());
}

#[test]
fn no_files_import_each_other() {
    let imports = imports();
    // Modules that wait for nothing are removed, until nothing is left.
    let mut left: BTreeSet<&Vec<String>> = imports.keys().collect();
    loop {
        let free: Vec<&Vec<String>> =
            left.iter().filter(|own| imports[**own].iter().all(|target| !left.contains(target))).copied().collect();
        if free.is_empty() {
            break;
        }
        free.into_iter().for_each(|own| {
            left.remove(own);
        });
    }
    let circle: Vec<String> = left.iter().map(|path| path.join("::")).collect();
    assert!(circle.is_empty(), "in or behind a circle of imports: {}", circle.join(", "));
}

#[test]
fn paths_are_read_as_rust_has_them() {
    let own = ["a".to_string(), "b".to_string()];
    let found = |text: &str| paths(&own, text).iter().map(|path| path.join("::")).collect::<Vec<_>>();
    assert_eq!(found("use crate::io::{error::UserError, files};"), ["io::error::UserError", "io::files"]);
    assert_eq!(found("use super::{c, d::{self, E}};"), ["a::c", "a::d::self", "a::d::E"]);
    assert_eq!(found("super::super::x::f(crate::y::G)"), ["y::G", "x::f"]);
    assert_eq!(found("othercrate::y my_crate::z"), [""; 0]);
}
