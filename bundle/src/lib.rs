//! The contract between trainer and edge: a signed `.scanside` file.
//!
//! | module | what it holds |
//! |---|---|
//! | [`manifest`] | what a bundle says about itself, and what must be true of it |
//! | [`container`] | packing and reading the file, as a stream in bounded memory |
//! | [`operating_point`] | when a label is flagged, chosen on scores whose truth is known |
//! | [`intervals`] | Wilson's interval of a share |
//! | [`blocks`] | CRC-32C per block, for transfers |
//! | [`delta`] | the difference between two bundles, for slow lines |
//! | [`sign`] | minisign keys and signatures |
//! | [`mcuboot`] | the MCUboot face: image header and TLVs |
//! | [`version`] | the version in MCUboot's four fields |
//! | [`example`] | a small complete bundle for tests and documentation |
//! | `cli` | the verbs `bundle` and `key` of the programs (feature `cli`) |
//!
//! The layout of the file, byte by byte, is in `docs/bundle-format.md`.
//!
//! ```
//! use scanside_bundle::container::{self, Policy};
//! use scanside_bundle::{example, sign};
//!
//! let keys = sign::generate(None)?;
//! let secret = sign::parse_secret(&keys.secret_file)?;
//! let mut file = Vec::new();
//! container::write(&example::manifest(), &example::files(), &secret, &mut file)?;
//!
//! let trusted = sign::TrustedKeys::new(vec![keys.public]);
//! let bundle = container::open(file.as_slice(), &trusted, &Policy::default(), |_| true)?;
//! assert_eq!(bundle.manifest.name, "example-triage");
//! assert_eq!(bundle.files["model.int8.onnx"], example::files()[0].bytes);
//!
//! let strangers = sign::TrustedKeys::new(vec![sign::generate(None)?.public]);
//! let refusal = container::open(file.as_slice(), &strangers, &Policy::default(), |_| true).unwrap_err();
//! assert!(refusal.to_string().contains("unknown key"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod blocks;
#[cfg(feature = "cli")]
pub mod cli;
pub mod container;
pub mod delta;
pub mod example;
pub mod intervals;
pub mod manifest;
pub mod mcuboot;
pub mod operating_point;
pub mod sign;
pub mod version;

pub use container::{Bundle, BundleError, Policy};
pub use manifest::Manifest;
pub use sign::{SecretKey, TrustedKeys};
pub use version::Version;
