//! Parts of a run that a file chooses by name, and the registries that know the names.

use crate::io::error::SpecError;
use cl_config::Component;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use toml::{Table, Value};

/// A part chosen by name, `name` or `{ name = { … } }` in a file: the contents of the file and, once they have been
/// checked, the part itself behind the interface `I`.
pub struct Part<I: ?Sized> {
    name: String,
    table: Table,
    checked: Option<Checked<I>>,
}

/// A part whose values are in range.
pub struct Checked<I: ?Sized> {
    /// [`Component::VERSION`].
    version: u32,
    /// Whether it comes from a program built on this one.
    own: bool,
    config: Arc<dyn Any + Send + Sync>,
    interface: Arc<I>,
}

impl<I: ?Sized> Part<I> {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its version; 0 before it has been checked.
    pub fn version(&self) -> u32 {
        self.checked.as_ref().map_or(0, |c| c.version)
    }

    /// Whether it comes from a program built on this one.
    pub fn is_own(&self) -> bool {
        self.checked.as_ref().is_some_and(|c| c.own)
    }

    /// The configuration, if it is of this type.
    pub fn config<C: 'static>(&self) -> Option<&C> {
        self.checked.as_ref()?.config.downcast_ref()
    }

    /// The part itself.
    ///
    /// # Panics
    /// Before it has been checked.
    pub fn get(&self) -> &Arc<I> {
        &self.checked.as_ref().expect("a specification is checked before it is used").interface
    }

    /// Its values as in a file, with defaults filled in once it has been checked.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Checks the values.
    ///
    /// # Errors
    /// [`SpecError`] naming the key below `section`, or the available names.
    pub fn check(&mut self, section: &str, registry: &Registry<I>) -> Result<(), SpecError>
    where
        I: 'static,
    {
        *self = registry.read(section, &self.name, std::mem::take(&mut self.table))?;
        Ok(())
    }
}

impl<I: ?Sized> Clone for Part<I> {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), table: self.table.clone(), checked: self.checked.clone() }
    }
}

impl<I: ?Sized> Clone for Checked<I> {
    fn clone(&self) -> Self {
        let Self { version, own, .. } = *self;
        Self { version, own, config: self.config.clone(), interface: self.interface.clone() }
    }
}

impl<I: ?Sized> Debug for Part<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} = {}", self.name, self.table)
    }
}

impl<I: ?Sized> PartialEq for Part<I> {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.table == other.table
    }
}

impl<I: ?Sized> Serialize for Part<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.table.is_empty() {
            true => self.name.serialize(serializer),
            false => serializer.collect_map([(&self.name, &self.table)]),
        }
    }
}

impl<'de, I: ?Sized> Deserialize<'de> for Part<I> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Named { name, table } = Named::deserialize(deserializer)?;
        Ok(Self { name, table, checked: None })
    }
}

/// A part chosen by name before it is known what it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// Its values as the file gives them.
    pub table: Table,
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (name, table) = one_named(Value::deserialize(deserializer)?).map_err(D::Error::custom)?;
        Ok(Self { name, table })
    }
}

/// The name and the values of `name` or `{ name = { … } }`.
fn one_named(value: Value) -> Result<(String, Table), String> {
    let wrong = |found: String| format!("{found}; a part is chosen by one name, as \"name\" or {{ name = {{ … }} }}");
    let entries = match value {
        Value::String(name) => return Ok((name, Table::new())),
        Value::Table(entries) => entries,
        other => return Err(wrong(format!("{other} is a {}", other.type_str()))),
    };
    let names: Vec<&str> = entries.keys().map(String::as_str).collect();
    let [_] = names[..] else { return Err(wrong(format!("there are {} names: {}", names.len(), names.join(", ")))) };
    match entries.into_iter().next() {
        Some((name, Value::Table(table))) => Ok((name, table)),
        Some((name, other)) => Err(wrong(format!("{name} = {other} is a {}", other.type_str()))),
        None => Err(wrong("there is no name".into())),
    }
}

type Reader<I> = Box<dyn Fn(Table) -> Result<(Table, Checked<I>), ReadError> + Send + Sync>;

/// What is wrong with the values of a part.
enum ReadError {
    Parse(String),
    Range(cl_config::ConfigError),
}

/// Parts of one sort by name.
pub struct Registry<I: ?Sized> {
    /// What they are, in the plural.
    what: &'static str,
    /// Names reserved for something other than a part.
    reserved: &'static [&'static str],
    readers: BTreeMap<String, Reader<I>>,
}

impl<I: ?Sized + 'static> Registry<I> {
    /// A registry without parts.
    pub fn new(what: &'static str) -> Self {
        Self { what, reserved: &[], readers: BTreeMap::new() }
    }

    /// The same with some names reserved for something other than a part.
    #[must_use]
    pub fn beside(self, reserved: &'static [&'static str]) -> Self {
        Self { reserved, ..self }
    }

    /// Adds a part, or replaces the one of the same name. `own` says whether it comes from a program built on this one.
    pub fn add<C: Component>(
        &mut self,
        name: &str,
        own: bool,
        interface: impl Fn(C) -> Arc<I> + Send + Sync + 'static,
    ) {
        let read = move |table: Table| {
            let parsed = Value::Table(table).try_into::<C>();
            let config = parsed.map_err(|e| ReadError::Parse(e.to_string().trim().replace('\n', " ")))?;
            let config = config.checked().map_err(ReadError::Range)?;
            let table = Table::try_from(&config).map_err(|e| ReadError::Parse(e.to_string()))?;
            let interface = interface(config.clone());
            Ok((table, Checked { version: C::VERSION, own, config: Arc::new(config), interface }))
        };
        self.readers.insert(name.to_string(), Box::new(read));
    }

    /// Names that a file can use, in order.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.readers.keys().map(String::as_str).chain(self.reserved.iter().copied()).collect();
        names.sort_unstable();
        names
    }

    /// Whether there is a part of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.readers.contains_key(name)
    }

    /// The part of this name, with checked values.
    ///
    /// # Errors
    /// [`SpecError`] naming the key below `section`, or the available names.
    pub fn read(&self, section: &str, name: &str, table: Table) -> Result<Part<I>, SpecError> {
        let read = self.readers.get(name).ok_or_else(|| {
            let names = self.names().join(", ");
            SpecError::Parse {
                message: format!("{section} = {name:?}: there are no {} of this name, but {names}", self.what),
            }
        })?;
        match read(table) {
            Ok((table, checked)) => Ok(Part { name: name.into(), table, checked: Some(checked) }),
            Err(ReadError::Parse(e)) => Err(SpecError::Parse { message: format!("{section}.{name}: {e}") }),
            Err(ReadError::Range(e)) => Err(e.below(&format!("{section}.{name}")).into()),
        }
    }

    /// The part of this name, as configured by a program.
    ///
    /// # Panics
    /// When there is no such part or its values are out of range.
    pub fn part(&self, name: &str, config: &impl Component) -> Part<I> {
        let table = Table::try_from(config).expect("a configuration is a table");
        self.read("part", name, table).unwrap_or_else(|error| panic!("{error}"))
    }
}

impl<I: ?Sized> Debug for Registry<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.readers.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cl_model::{InfoNce, NtXent, Objective};

    fn objectives() -> Registry<dyn Objective> {
        let mut registry = Registry::<dyn Objective>::new("objectives");
        registry.add::<InfoNce>("info_nce", false, |loss| Arc::new(loss));
        registry.add::<NtXent>("nt_xent", true, |loss| Arc::new(loss));
        registry
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct File {
        objective: Part<dyn Objective>,
    }

    fn read(text: &str) -> Result<Part<dyn Objective>, String> {
        let mut file: File = toml::from_str(text).map_err(|e| e.to_string())?;
        file.objective.check("objective", &objectives()).map_err(|e| e.to_string())?;
        Ok(file.objective)
    }

    #[test]
    fn a_part_is_read_by_its_name_and_written_as_it_was() {
        let part = read("[objective.nt_xent]\ntemperature = 0.5").unwrap();
        assert_eq!((part.name(), part.is_own(), part.version()), ("nt_xent", true, 1));
        assert_eq!(part.config(), Some(&NtXent { temperature: 0.5 }));
        assert_eq!(part.config::<InfoNce>(), None);
        assert_eq!(part.get().at_chance(8, None), Some(15f64.ln()));
        assert_eq!(serde_json::to_string(&part).unwrap(), r#"{"nt_xent":{"temperature":0.5}}"#);
        assert_eq!(part, objectives().part("nt_xent", &NtXent { temperature: 0.5 }));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_key() {
        for (text, message) in [
            (
                "objective = 'simclr'",
                "objective = \"simclr\": there are no objectives of this name, but info_nce, nt_xent",
            ),
            (
                "[objective.nt_xent]\ntemperature = 0.0",
                "objective.nt_xent.temperature = 0 is out of range; it has to be a finite number larger than 0",
            ),
            ("[objective.nt_xent]\ntau = 1.0", "objective.nt_xent: unknown field `tau`"),
            ("objective = 'nt_xent'", "objective.nt_xent: missing field `temperature`"),
            ("objective = 3", "3 is a integer; a part is chosen by one name"),
            ("objective = {}", "there are 0 names"),
            ("[objective.nt_xent]\n[objective.info_nce]", "there are 2 names: nt_xent, info_nce"),
            ("objective.nt_xent = 1", "nt_xent = 1 is a integer"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(message), "{text}: {error}");
        }
    }
}
