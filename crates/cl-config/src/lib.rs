//! How the parts of a run are described in files: unchecked values in, checked ones out, one kind of error.
//!
//! ```
//! use cl_config::{Component, ConfigError, positive};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, Clone, Serialize, Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct MyLoss {
//!     /// Larger than 0.
//!     temperature: f64,
//! }
//!
//! impl Component for MyLoss {
//!     const VERSION: u32 = 1;
//!
//!     fn checked(self) -> Result<Self, ConfigError> {
//!         positive("temperature", self.temperature)?;
//!         Ok(self)
//!     }
//! }
//!
//! let error = MyLoss { temperature: 0.0 }.checked().unwrap_err().below("objective.my_loss");
//! assert_eq!(
//!     error.to_string(),
//!     "objective.my_loss.temperature = 0 is out of range; it has to be a finite number larger than 0"
//! );
//! ```

mod checks;
mod component;
mod error;

pub use checks::{at_least, check, finite, not_negative, positive, probability};
pub use component::Component;
pub use error::ConfigError;
