//! The specification of a run, apart from its seed, for any kind of data, and the registries of what it can name.

use super::encoder_info::EncoderInfo;
use super::part::{Part, Registry};
use crate::io::error::{SpecError, UserError};
use cl_config::Component;
use cl_data::images::augmentation::Transform;
use cl_data::tokens::augmentation::TokenTransform;
use cl_model::conv::{ImageEncoder, ImageShape};
use cl_model::{EncoderConfig, Objective, TokenEncoder, TokenShape, VectorEncoder, VectorShape};
use serde::{Serialize, Serializer, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;
use toml::{Table, Value};

/// The objective that uses labels instead of two views.
pub const SUPERVISED: &str = "supervised";

/// Everything about a run except its seed, for one kind of data.
pub trait Specification: Serialize + DeserializeOwned + Debug + Clone + PartialEq + Send + Sync + 'static {
    /// Must be raised whenever the same values give different numbers, as [`Component::VERSION`] for parts.
    const VERSION: u32 = 1;

    /// Checks every range and fills in defaults, so that the specification is complete.
    ///
    /// # Errors
    /// [`SpecError`] naming key, value and what would be right.
    fn check(&mut self, parts: &Parts) -> Result<(), SpecError>;

    /// What executes it: the name by which the laboratory knows it.
    fn runner(&self) -> String;

    /// Steps of training.
    fn steps(&self) -> u64;

    /// Cost in multiply-adds, for time estimates.
    fn cost(&self) -> f64;

    /// Parts that were chosen by name, each with its version and whether it comes from a program built on this one.
    fn chosen(&self) -> Vec<ChosenPart> {
        Vec::new()
    }

    /// Looks up and fixes what a run needs from outside, such as images, once before anything runs.
    ///
    /// # Errors
    /// [`UserError`] when it cannot be read or is not what was asked for.
    fn pin(&mut self, _data_dir: Option<&Path>) -> Result<(), UserError> {
        Ok(())
    }
}

/// A part that a specification chose by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ChosenPart {
    /// Its section and name.
    pub name: String,
    /// [`cl_config::Component::VERSION`].
    pub version: u32,
    /// Whether it comes from a program built on this one.
    pub own: bool,
}

impl ChosenPart {
    /// A part of a section.
    pub fn new<I: ?Sized>(section: &str, part: &Part<I>) -> Self {
        Self { name: format!("{section}.{}", part.name()), version: part.version(), own: part.is_own() }
    }
}

/// A checked specification of any kind of data.
#[derive(Debug, Clone)]
pub struct RunSpec {
    spec: Arc<dyn AnySpecification>,
    /// The kind of data, if it comes from a program built on this one.
    own_kind: Option<ChosenPart>,
}

trait AnySpecification: Debug + Any + Send + Sync {
    fn as_any(&self) -> &dyn Any;
    fn to_json(&self) -> serde_json::Value;
    fn runner(&self) -> String;
    fn steps(&self) -> u64;
    fn cost(&self) -> f64;
    fn chosen(&self) -> Vec<ChosenPart>;
    fn pinned(&self, data_dir: Option<&Path>) -> Result<Arc<dyn AnySpecification>, UserError>;
}

impl<S: Specification> AnySpecification for S {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("a specification is plain data")
    }

    fn runner(&self) -> String {
        Specification::runner(self)
    }

    fn steps(&self) -> u64 {
        Specification::steps(self)
    }

    fn cost(&self) -> f64 {
        Specification::cost(self)
    }

    fn chosen(&self) -> Vec<ChosenPart> {
        Specification::chosen(self)
    }

    fn pinned(&self, data_dir: Option<&Path>) -> Result<Arc<dyn AnySpecification>, UserError> {
        let mut spec = self.clone();
        spec.pin(data_dir)?;
        Ok(Arc::new(spec))
    }
}

impl RunSpec {
    /// Wraps a specification that has been checked.
    pub fn new(spec: impl Specification) -> Self {
        Self { spec: Arc::new(spec), own_kind: None }
    }

    /// Reads a merged table; the key below `data` decides the kind.
    ///
    /// # Errors
    /// [`SpecError`] naming the key.
    pub fn from_table(table: Table, parts: &Parts) -> Result<Self, SpecError> {
        let mut value = Value::Table(table);
        without_negative_zeros(&mut value);
        let Value::Table(mut table) = value else { unreachable!("it is still a table") };
        let kind = parts.kind_of(&table)?;
        // A kind without values may be given by its name alone.
        if let Some(Value::String(name)) = table.get("data").cloned() {
            table.insert("data".into(), Value::Table([(name, Value::Table(Table::new()))].into_iter().collect()));
        }
        kind(table, parts)
    }

    /// Reads one kind of specification.
    pub(crate) fn read<S: Specification>(table: Table, parts: &Parts) -> Result<Self, SpecError> {
        let parsed = Value::Table(table).try_into::<S>();
        let mut spec = parsed.map_err(|e| SpecError::Parse { message: e.to_string().trim().replace('\n', " ") })?;
        spec.check(parts)?;
        Ok(Self::new(spec))
    }

    /// The specification, if it is of this kind.
    pub fn get<S: Specification>(&self) -> Option<&S> {
        // On the specification itself: the type of the pointer to it would answer otherwise.
        self.spec.as_ref().as_any().downcast_ref()
    }

    /// What executes it: the name by which the laboratory knows it.
    pub fn runner(&self) -> String {
        self.spec.runner()
    }

    /// Twelve hexadecimal digits that identify this specification under the versions of data, algorithm and parts.
    pub fn digest(&self) -> String {
        let parts: Vec<(String, u32)> = self.chosen().map(|part| (part.name, part.version)).collect();
        let text = serde_json::json!({
            "spec": self,
            "parts": parts,
            "data_version": cl_data::DATA_VERSION,
            "algorithm_version": cl_model::ALGORITHM_VERSION,
        });
        hex::encode(&Sha256::digest(text.to_string())[..6])
    }

    /// Parts that come from a program built on this one.
    pub fn own_parts(&self) -> Vec<ChosenPart> {
        self.chosen().filter(|part| part.own).collect()
    }

    fn chosen(&self) -> impl Iterator<Item = ChosenPart> {
        self.spec.chosen().into_iter().chain(self.own_kind.clone())
    }

    /// Steps of training.
    pub fn steps(&self) -> u64 {
        self.spec.steps()
    }

    /// Cost in multiply-adds, for time estimates.
    pub fn cost(&self) -> f64 {
        self.spec.cost()
    }

    /// The same with what it needs from outside looked up and fixed.
    ///
    /// # Errors
    /// [`UserError`] when it cannot be read or is not what was asked for.
    pub fn pinned(&self, data_dir: Option<&Path>) -> Result<Self, UserError> {
        Ok(Self { spec: self.spec.pinned(data_dir)?, own_kind: self.own_kind.clone() })
    }
}

impl Serialize for RunSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.spec.to_json().serialize(serializer)
    }
}

/// Replaces −0 by 0, which it equals: they would make two runs of one setting.
fn without_negative_zeros(value: &mut Value) {
    match value {
        Value::Float(number) if *number == 0.0 => *number = 0.0,
        Value::Array(values) => values.iter_mut().for_each(without_negative_zeros),
        Value::Table(table) => table.iter_mut().for_each(|(_, value)| without_negative_zeros(value)),
        _ => {}
    }
}

type Kind = Box<dyn Fn(Table, &Parts) -> Result<RunSpec, SpecError> + Send + Sync>;

/// What experiment files can name.
pub struct Parts {
    kinds: BTreeMap<String, Kind>,
    /// Encoders of vectors.
    pub vector_encoders: Registry<dyn EncoderInfo<VectorShape>>,
    /// Encoders of images.
    pub image_encoders: Registry<dyn EncoderInfo<ImageShape>>,
    /// Encoders of sentences.
    pub token_encoders: Registry<dyn EncoderInfo<TokenShape>>,
    /// Transforms of images.
    pub transforms: Registry<dyn Transform>,
    /// Transforms of sentences.
    pub token_transforms: Registry<dyn TokenTransform>,
    /// Objectives of two views.
    pub objectives: Registry<dyn Objective>,
}

impl Parts {
    /// No parts at all.
    pub fn empty() -> Self {
        Self {
            kinds: BTreeMap::new(),
            vector_encoders: Registry::new("encoders of vectors"),
            image_encoders: Registry::new("encoders of images"),
            token_encoders: Registry::new("encoders of sentences"),
            transforms: Registry::new("transforms of images"),
            token_transforms: Registry::new("transforms of sentences"),
            objectives: Registry::new("objectives").beside(&[SUPERVISED]),
        }
    }

    /// Adds a kind of data, the key below `data` that chooses it, and how the rest is read.
    pub fn add_kind(
        &mut self,
        name: &str,
        read: impl Fn(Table, &Self) -> Result<RunSpec, SpecError> + Send + Sync + 'static,
    ) {
        self.kinds.insert(name.to_string(), Box::new(read));
    }

    /// Adds a kind of data with one specification; `own` says whether it comes from a program built on this one.
    pub fn add_specification<S: Specification>(&mut self, name: &str, own: bool) {
        let own_kind = own.then(|| ChosenPart { name: format!("data.{name}"), version: S::VERSION, own });
        self.add_kind(name, move |table, parts| {
            Ok(RunSpec { own_kind: own_kind.clone(), ..RunSpec::read::<S>(table, parts)? })
        });
    }

    /// Adds an objective.
    pub fn add_objective<O: Component + Objective>(&mut self, name: &str, own: bool) {
        self.objectives.add::<O>(name, own, |objective| Arc::new(objective));
    }

    /// Adds a transform of images.
    pub fn add_transform<T: Component + Transform>(&mut self, name: &str, own: bool) {
        self.transforms.add::<T>(name, own, |transform| Arc::new(transform));
    }

    /// Adds a transform of sentences.
    pub fn add_token_transform<T: Component + TokenTransform>(&mut self, name: &str, own: bool) {
        self.token_transforms.add::<T>(name, own, |transform| Arc::new(transform));
    }

    /// Adds an encoder of sentences.
    pub fn add_token_encoder<C: EncoderConfig<Encoder: TokenEncoder>>(&mut self, name: &str, own: bool) {
        self.token_encoders.add::<C>(name, own, |config| Arc::new(config));
    }

    /// Adds an encoder of vectors.
    pub fn add_vector_encoder<C: EncoderConfig<Encoder: VectorEncoder>>(&mut self, name: &str, own: bool) {
        self.vector_encoders.add::<C>(name, own, |config| Arc::new(config));
    }

    /// Adds an encoder of images.
    pub fn add_image_encoder<C: EncoderConfig<Encoder: ImageEncoder>>(&mut self, name: &str, own: bool) {
        self.image_encoders.add::<C>(name, own, |config| Arc::new(config));
    }

    /// The kind of data that a table names.
    fn kind_of(&self, table: &Table) -> Result<&Kind, SpecError> {
        let known: Vec<&str> = self.kinds.keys().map(String::as_str).collect();
        let known = known.join(", ");
        let wrong = |found: String| SpecError::Parse {
            message: format!("data: {found}; the section has one key, the kind of data, which is one of {known}"),
        };
        let name = match table.get("data") {
            None => return Err(wrong("there is no such section".into())),
            Some(Value::String(name)) => name,
            Some(Value::Table(data)) => match data.keys().collect::<Vec<_>>()[..] {
                [name] => name,
                ref names => {
                    let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
                    return Err(wrong(format!("it has {} keys ({})", names.len(), names.join(", "))));
                }
            },
            Some(other) => return Err(wrong(format!("it is a {}", other.type_str()))),
        };
        self.kinds.get(name).ok_or_else(|| wrong(format!("{name} is no kind of data")))
    }
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("data", &self.kinds.keys()).field("objectives", &self.objectives).finish()
    }
}
