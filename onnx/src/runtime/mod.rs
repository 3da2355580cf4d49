//! ONNX Runtime: one place that finds and loads the library, builds sessions and runs them.
//!
//! - [`library`] finds, checks and loads the shared library ([`load`]).
//! - [`session`] builds a [`Session`] from a model and runs it into buffers that are kept.
//! - [`provider`] names execution providers and reads which one really ran.
//! - [`optimised`] shows what ONNX Runtime made of a model, by counting its nodes.
//!
//! ```no_run
//! use scanside_onnx::runtime::{self, Session, SessionOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let runtime = runtime::load(None)?;
//! let mut session = Session::from_path(runtime, "model.onnx".as_ref(), &SessionOptions::default())?;
//! let image = ndarray::ArrayD::<f32>::zeros(vec![1, 3, 224, 224]);
//! let outputs = session.run(&[("image", image.view())])?;
//! println!("{}", outputs.array::<f32>("probabilities")?);
//! # Ok(())
//! # }
//! ```

pub mod library;
pub mod optimised;
pub mod provider;
pub mod session;

pub use library::{Library, LibraryError, Runtime, find, load};
pub use provider::{Provider, ProviderUse};
pub use session::{Outputs, Session, SessionError, SessionOptions};

/// What the tests of this crate share.
#[cfg(test)]
pub(crate) mod testing {
    use super::Runtime;

    /// The runtime, or None (with a line that says so) where it is not installed. With `CI` set it
    /// must be there.
    pub(crate) fn runtime() -> Option<&'static Runtime> {
        match super::load(None) {
            Ok(runtime) => Some(runtime),
            Err(error) => {
                assert!(std::env::var_os("CI").is_none_or(|v| v != "true"), "{error}");
                eprintln!("skipped: {error}");
                None
            }
        }
    }
}
