//! Generative adversarial training: DCGAN and Pix2Pix, made to work on a few hundred images.
//!
//! | module | what it holds |
//! |---|---|
//! | [`losses`] | adversarial losses, the R1 penalty |
//! | [`diff_augment`] | changes of real and generated images alike |
//! | [`spectral`] | weights bounded by their largest singular value |
//! | [`average`] | the running average of a generator |
//! | [`player`], [`pair`] | one side, and both |
//! | [`game`] | what every game has in common |
//! | [`turn`] | a step of each side |
//! | [`noise_game`], [`translation_game`], [`cycle_game`] | DCGAN, Pix2Pix, CycleGAN |
//! | [`health`] | collapse and divergence |
//! | [`rounds`] | where the images of a step come from |
//! | [`build`] | from a recipe to its game |
//! | [`prepare`] | from a data set to its rounds |
//! | [`train`] | the loop, with checkpoints, sheets and curves |
//! | [`trained`] | a generator that is done |
//! | [`discriminator`] | a discriminator that is done |

pub mod average;
pub mod build;
pub mod cycle_game;
pub mod diff_augment;
pub mod discriminator;
pub mod error;
pub mod game;
pub mod health;
pub mod history;
pub mod losses;
pub mod noise_game;
pub mod pair;
pub mod player;
pub mod prepare;
pub mod rounds;
pub mod spectral;
pub mod train;
pub mod trained;
pub mod translation_game;
pub mod turn;

pub use error::GanError;
