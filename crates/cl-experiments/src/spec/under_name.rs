//! A section whose one key names the kind of data: `[data.sparse_coding]`.

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};
use std::collections::BTreeMap;

/// A section that is stored under its own name.
pub trait UnderName {
    /// The name.
    const NAME: &'static str;
}

/// Writes a table with one key, the name.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<T: UnderName + Serialize, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map([(T::NAME, value)])
}

/// Reads a table with one key, the name.
///
/// # Errors
/// Those of the deserializer, or when another name is found.
pub fn deserialize<'de, T: UnderName + Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let mut entries = BTreeMap::<String, T>::deserialize(deserializer)?;
    entries.remove(T::NAME).ok_or_else(|| D::Error::custom(format!("it has to be below the name {}", T::NAME)))
}
