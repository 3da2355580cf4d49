//! From a recipe to its game: networks, first weights, optimizers.

use std::path::Path;

use onnx::graph::{Graph, GraphError};
use onnx::networks::{
    DcganConfig, Norm, PatchGanConfig, ResNetCriticConfig, UnetConfig, dcgan_discriminator, dcgan_generator, patch_gan,
    resnet_critic, unet,
};
use tch::{Device, Tensor};

use super::cycle_game::{CycleGame, CycleRules};
use super::error::GanError;
use super::game::Game;
use super::noise_game::{NoiseGame, NoiseRules};
use super::pair::Pair;
use super::player::{Player, PlayerSettings};
use super::translation_game::{TranslationGame, TranslationRules};
use super::turn::Judgement;
use crate::autograd::{MemoryOrder, Mode, Modes, Parameters};
use crate::native::AdamW;
use crate::recipes::{Critic, GanRecipe, Model};
use crate::seed;
use crate::training::network::{self, NetworkError};
use crate::training::optimizer::Rule;
use crate::training::weights::Taken;

/// The graphs of both sides.
#[derive(Debug)]
pub struct Graphs {
    /// Makes images.
    pub generator: Graph,
    /// Judges them.
    pub discriminator: Graph,
}

/// The networks of a recipe for so many labels.
///
/// # Errors
/// [`GraphError`] for sizes that a network does not take.
pub fn graphs(recipe: &GanRecipe, labels: usize) -> Result<Graphs, GraphError> {
    match recipe.model {
        Model::Dcgan => noise_graphs(recipe, labels),
        Model::Pix2pix => translation_graphs(recipe, true),
        // Where no image has a partner, none is judged beside one.
        Model::Cyclegan => translation_graphs(recipe, false),
    }
}

fn side(recipe: &GanRecipe) -> usize {
    recipe.preprocess.size[0] as usize
}

fn noise_graphs(recipe: &GanRecipe, labels: usize) -> Result<Graphs, GraphError> {
    let (generator, discriminator) = (&recipe.generator, &recipe.discriminator);
    let classes = generator.conditional.then_some(labels);
    let config = DcganConfig {
        size: side(recipe),
        channels: usize::from(recipe.preprocess.channels),
        latent: generator.latent,
        width: generator.width,
        classes,
        discriminator_norm: if discriminator.spectral_norm {
            Norm::None
        } else {
            Norm::Batch
        },
    };
    let critic = match discriminator.network {
        Critic::Plain => dcgan_discriminator(&DcganConfig {
            width: discriminator.width,
            ..config
        }),
        Critic::Resnet18 => resnet_critic(&ResNetCriticConfig {
            depth: 18,
            stages: discriminator.stages,
            size: config.size,
            channels: config.channels,
            classes,
        }),
    };
    Ok(Graphs {
        generator: dcgan_generator(&config)?,
        discriminator: critic?,
    })
}

fn translation_graphs(recipe: &GanRecipe, conditional: bool) -> Result<Graphs, GraphError> {
    let channels = usize::from(recipe.preprocess.channels);
    let spectral = recipe.discriminator.spectral_norm;
    Ok(Graphs {
        generator: unet(&UnetConfig {
            size: side(recipe),
            channels,
            width: recipe.generator.width,
            norm: Norm::Instance,
            dropout: recipe.generator.dropout,
        })?,
        discriminator: patch_gan(&PatchGanConfig {
            size: side(recipe),
            channels,
            conditional,
            width: recipe.discriminator.width,
            layers: 3,
            norm: if spectral { Norm::None } else { Norm::Instance },
        })?,
    })
}

/// Real images that sheets and checks look at, `[n,C,H,W]`.
#[derive(Debug)]
pub struct Shown {
    /// Real images: those of each label if one can be asked for, else all.
    pub references: Vec<Tensor>,
    /// The images that are translated, for a translation.
    pub sources: Option<Tensor>,
}

/// The game of a recipe, and what was taken of the discriminator's first weights.
///
/// # Errors
/// [`GanError`].
pub fn game(
    recipe: &GanRecipe,
    labels: usize,
    weights: Option<&Path>,
    shown: Shown,
    device: Device,
) -> Result<(Box<dyn Game>, Option<Taken>), GanError> {
    let (pair, taken) = pair(recipe, labels, weights, device)?;
    let section = &recipe.discriminator;
    let judgement = Judgement {
        loss: recipe.train.loss,
        label_smoothing: section.label_smoothing,
        changes: section.diff_augment.clone(),
    };
    let references = shown.references.iter().map(|images| images.f_to_device(device));
    let references = references.collect::<Result<Vec<_>, _>>()?;
    let game: Box<dyn Game> = match (&recipe.translate, shown.sources) {
        (Some(translate), Some(sources)) if recipe.model == Model::Cyclegan => {
            let rules = CycleRules {
                judgement,
                cycle: translate.cycle,
                identity: translate.identity,
            };
            let pairs = [pair, pair_back(recipe, labels, device)?];
            Box::new(CycleGame::new(
                pairs,
                rules,
                sources.f_to_device(device)?,
                Tensor::f_cat(&references, 0)?,
            ))
        }
        (Some(translate), Some(sources)) => {
            let rules = TranslationRules {
                judgement,
                l1: translate.l1,
            };
            Box::new(TranslationGame::new(
                pair,
                rules,
                sources.f_to_device(device)?,
                Tensor::f_cat(&references, 0)?,
            ))
        }
        _ => {
            let rules = NoiseRules {
                latent: recipe.generator.latent,
                classes: recipe.generator.conditional.then_some(labels),
                judgement,
                r1: section.r1,
                r1_every: section.r1_every as u64,
                seed: recipe.train.seed,
            };
            Box::new(NoiseGame::new(pair, rules, references))
        }
    };
    Ok((game, taken))
}

/// Both sides of a recipe's game, and what was taken of the discriminator's first weights.
///
/// # Errors
/// [`GanError`].
pub fn pair(
    recipe: &GanRecipe,
    labels: usize,
    weights: Option<&Path>,
    device: Device,
) -> Result<(Pair, Option<Taken>), GanError> {
    let graphs = graphs(recipe, labels).map_err(NetworkError::from)?;
    let (discriminator, taken) = discriminator(recipe, graphs.discriminator, "discriminator", weights, device)?;
    let generator = player(recipe, graphs.generator, "generator", Modes::all(Mode::Train), device)?;
    Ok((Pair::new(generator, discriminator, recipe.generator.average)?, taken))
}

/// Both sides of the way back of a cycle, with first weights of their own.
fn pair_back(recipe: &GanRecipe, labels: usize, device: Device) -> Result<Pair, GanError> {
    let graphs = graphs(recipe, labels).map_err(NetworkError::from)?;
    let (discriminator, _) = discriminator(recipe, graphs.discriminator, "discriminator back", None, device)?;
    let generator = player(
        recipe,
        graphs.generator,
        "generator back",
        Modes::all(Mode::Train),
        device,
    )?;
    Pair::new(generator, discriminator, recipe.generator.average)
}

fn order(recipe: &GanRecipe) -> MemoryOrder {
    match recipe.train.channels_last {
        true => MemoryOrder::ChannelsLast,
        false => MemoryOrder::ChannelsFirst,
    }
}

/// Fresh parameters are drawn apart for each side: some layers of the two have the same name.
fn fresh(recipe: &GanRecipe, graph: &Graph, side: &str, device: Device) -> Result<Parameters, GanError> {
    let seed = seed::mix(recipe.train.seed, side);
    Ok(Parameters::initialise(graph, seed, device, order(recipe))?)
}

fn settings(recipe: &GanRecipe, modes: Modes, spectral_norm: bool, device: Device) -> PlayerSettings {
    let train = &recipe.train;
    PlayerSettings {
        rule: Rule::AdamW(AdamW {
            beta1: train.beta1,
            beta2: train.beta2,
            epsilon: 1e-8,
        }),
        modes,
        spectral_norm,
        bf16: train.precision.is_bf16_on(device),
        seed: train.seed,
    }
}

fn player(recipe: &GanRecipe, graph: Graph, side: &str, modes: Modes, device: Device) -> Result<Player, GanError> {
    let parameters = fresh(recipe, &graph, side, device)?;
    Player::new(graph, parameters, device, settings(recipe, modes, false, device))
}

fn discriminator(
    recipe: &GanRecipe,
    graph: Graph,
    side: &str,
    weights: Option<&Path>,
    device: Device,
) -> Result<(Player, Option<Taken>), GanError> {
    let section = &recipe.discriminator;
    let mut modes = Modes::all(Mode::Train);
    for module in network::frozen_modules(&graph, &section.freeze)? {
        modes = modes.with(module, Mode::Frozen);
    }
    let mut parameters = fresh(recipe, &graph, side, device)?;
    let taken = match weights {
        Some(path) => Some(network::take(&mut parameters, &graph, path, &section.take)?),
        None => None,
    };
    let settings = settings(recipe, modes, section.spectral_norm, device);
    Ok((Player::new(graph, parameters, device, settings)?, taken))
}
