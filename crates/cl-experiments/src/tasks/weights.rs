//! The parameters of models by name, running statistics included.

use burn::module::Module;
use burn::store::{ModuleSnapshot, SafetensorsStore};
use sha2::{Digest, Sha256};

/// Parameters and running statistics as safetensors.
///
/// # Errors
/// A message.
pub fn to_safetensors(model: &impl Module) -> Result<Vec<u8>, String> {
    let failed = |e: &dyn std::fmt::Display| format!("weights cannot be laid out as safetensors: {e}");
    let mut store = SafetensorsStore::from_bytes(None).clear_metadata();
    model.save_into(&mut store).map_err(|e| failed(&e))?;
    store.get_bytes().map_err(|e| failed(&e))
}

/// Loads the parameters and running statistics in `bytes` into `blank`, a fresh network of the same specification.
///
/// # Errors
/// A message, when the bytes are not those of such a network.
pub fn from_safetensors<M: Module>(mut blank: M, bytes: Vec<u8>) -> Result<M, String> {
    let failed = |e: &dyn std::fmt::Display| format!("they are not the weights of this network: {e}");
    let mut store = SafetensorsStore::from_bytes(Some(bytes));
    let found = blank.load_from(&mut store).map_err(|e| failed(&e))?;
    if !found.missing.is_empty() || !found.unused.is_empty() {
        return Err(failed(&format!("{found}")));
    }
    Ok(blank)
}

/// SHA-256 of the same, in hexadecimal.
///
/// # Errors
/// A message.
pub fn sha256(model: &impl Module) -> Result<String, String> {
    Ok(hex::encode(Sha256::digest(to_safetensors(model)?)))
}
