//! TOML files from outside: read within limits, merged, modified at a path.

use crate::io::error::UserError;
use serde::Deserialize;
use std::io::Read;
use std::path::Path;
use toml::de::DeValue;
use toml::{Table, Value};

/// Maximum number of parts in a dotted key; specifications nest less deeply.
const MAX_KEY_DEPTH: usize = 16;

/// Maximum size of a TOML file in bytes.
const LARGEST_FILE_BYTE: u64 = 4 << 20;

/// Maximum nesting depth of tables and lists in a TOML file; experiments nest less deeply.
const MAX_TABLE_DEPTH: usize = 64;

/// Reads a TOML file into a checked type.
///
/// # Errors
/// [`UserError::File`] with the parser's message, which shows line and key.
pub fn read_toml<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T, UserError> {
    let failed = |e: std::io::Error| UserError::file(path, format!("it cannot be read: {e}"));
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut text = String::new();
    file.take(LARGEST_FILE_BYTE + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > LARGEST_FILE_BYTE {
        return Err(UserError::file(
            path,
            format!("it has more than {LARGEST_FILE_BYTE} bytes, which no experiment needs"),
        ));
    }
    let wrong = |e: toml::de::Error| UserError::file(path, e.to_string().trim().to_string());
    // First parsed as is: a file that nests too deeply for the checks and merges that follow is not examined further.
    let spanned = toml::de::DeTable::parse(&text).map_err(wrong)?;
    if nests_deeper(spanned.get_ref().values(), MAX_TABLE_DEPTH) {
        return Err(UserError::file(
            path,
            format!("its tables and lists nest more than {MAX_TABLE_DEPTH} levels deep"),
        ));
    }
    toml::from_str(&text).map_err(wrong)
}

/// Whether values nest more than this many levels deep; looks no deeper than that.
fn nests_deeper<'a, 'b: 'a>(values: impl Iterator<Item = &'a toml::Spanned<DeValue<'b>>>, levels: usize) -> bool {
    let mut values = values.peekable();
    if levels == 0 {
        return values.peek().is_some();
    }
    values.any(|value| match value.get_ref() {
        DeValue::Table(table) => nests_deeper(table.values(), levels - 1),
        DeValue::Array(array) => nests_deeper(array.iter(), levels - 1),
        _ => false,
    })
}

/// Merges `overrides` into `table`, key by key. A table that names another variant (a single key, different from the
/// existing one) replaces the whole; the tables below `sections` have ordinary keys and no variants.
pub fn merge(table: &mut Table, overrides: &Table, sections: &[&str]) {
    for (key, value) in overrides {
        let is_section = sections.contains(&key.as_str());
        match (table.get_mut(key), value) {
            (Some(Value::Table(old)), Value::Table(new)) if is_section || !is_other_variant(old, new) => {
                merge(old, new, &[]);
            }
            _ => {
                table.insert(key.clone(), value.clone());
            }
        }
    }
}

fn is_other_variant(old: &Table, new: &Table) -> bool {
    let one_table = |t: &Table| t.len() == 1 && t.values().all(Value::is_table);
    one_table(old) && one_table(new) && old.keys().ne(new.keys())
}

/// Sets the value at a dotted path.
///
/// # Errors
/// A message, when the path leads through something that is not a table, or has too many parts.
pub fn set(table: &mut Table, path: &str, value: Value) -> Result<(), String> {
    let mut keys: Vec<&str> = path.split('.').take(MAX_KEY_DEPTH + 1).collect();
    if keys.len() > MAX_KEY_DEPTH {
        let begin: String = path.chars().take(40).collect();
        return Err(format!("{begin}…: a key has at most {MAX_KEY_DEPTH} parts"));
    }
    let last = keys.pop().unwrap_or_default();
    let place = match keys[..] {
        [] => table,
        [first, ref rest @ ..] => {
            let entry = table.entry(first.to_string()).or_insert_with(|| Value::Table(Table::new()));
            below(entry, first, rest).map_err(|e| format!("{path}: {e}"))?
        }
    };
    place.insert(last.to_string(), value);
    Ok(())
}

/// The table that `keys` lead to from the value of `name`; list indices are counted from 0.
fn below<'a>(value: &'a mut Value, name: &str, keys: &[&str]) -> Result<&'a mut Table, String> {
    match (value, keys) {
        (Value::Table(table), []) => Ok(table),
        (Value::Table(table), [key, rest @ ..]) => {
            below(table.entry(key.to_string()).or_insert_with(|| Value::Table(Table::new())), key, rest)
        }
        (Value::Array(list), [key, rest @ ..]) => {
            let length = list.len();
            let entry = key.parse::<usize>().ok().and_then(|place| list.get_mut(place));
            let none = || format!("{name} has {length} entries, counted from 0, so that there is no {key}");
            below(entry.ok_or_else(none)?, key, rest)
        }
        _ => Err(format!("{name} is not a table")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn overrides_change_single_keys_and_replace_other_variants() {
        let mut base = table(
            "[data]\nd = 1\naugmentation = { complementary = { p = 0.5, s = 1.0 } }\n[encoder.bias.scheduled]\nc = 1.0\ng = 2.0",
        );
        let merge = |base: &mut Table, overrides: &Table| super::merge(base, overrides, &[]);
        merge(&mut base, &table("[data.augmentation.complementary]\ns = 0.5"));
        assert_eq!(base["data"]["augmentation"]["complementary"], Value::Table(table("p = 0.5\ns = 0.5")));
        merge(
            &mut base,
            &table("data.augmentation = { independent = { p = 0.4 } }\n[encoder.bias.scheduled]\ng = 3.0"),
        );
        assert_eq!(base["data"]["augmentation"], Value::Table(table("independent = { p = 0.4 }")));
        assert_eq!(base["encoder"]["bias"]["scheduled"], Value::Table(table("c = 1.0\ng = 3.0")));
        merge(&mut base, &table("data.augmentation = 'none'"));
        assert_eq!(base["data"]["augmentation"], Value::String("none".into()));
        assert_eq!(base["data"]["d"], Value::Integer(1));
    }

    #[test]
    fn sections_have_no_variants() {
        let mut base = table("model.encoder = { mlp = { a = 1 } }");
        merge(&mut base, &table("model.projector = { b = 2 }"), &["model"]);
        assert_eq!(base, table("model = { encoder = { mlp = { a = 1 } }, projector = { b = 2 } }"));
        merge(&mut base, &table("model.encoder = { own = {} }"), &["model"]);
        assert_eq!(base["model"]["encoder"], Value::Table(table("own = {}")));
        merge(&mut base, &table("model.projector = { c = 3 }"), &[]);
        assert_eq!(base["model"]["projector"], Value::Table(table("b = 2\nc = 3")));
    }

    #[test]
    fn values_are_set_along_a_path() {
        let mut t = table("[a]\nb = 1");
        set(&mut t, "a.c.d", Value::Integer(2)).unwrap();
        assert_eq!(t, table("[a]\nb = 1\n[a.c]\nd = 2"));
        assert!(set(&mut t, "a.b.c", Value::Integer(2)).unwrap_err().contains("b is not a table"));
        let mut t = table("a = [{ b = 1 }, { c = 2 }]");
        set(&mut t, "a.1.c", Value::Integer(3)).unwrap();
        assert_eq!(t, table("a = [{ b = 1 }, { c = 3 }]"));
        let error = set(&mut t, "a.2.c", Value::Integer(3)).unwrap_err();
        assert_eq!(error, "a.2.c: a has 2 entries, counted from 0, so that there is no 2");
    }
}
