//! The pointing game: does the heatmap's maximum lie in the lesion (Zhang et al. 2018, 1608.00507)?
//!
//! A hit rate says little without the rates of two guesses that saw no image: a random pixel (the lesion's share of
//! the field) and the field's centre.

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use super::intervals::{Estimate, wilson};

/// One image: where the map points, and what a guess would have reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shot {
    /// The maximum lies in the lesion.
    pub hit: bool,
    /// The lesion's share of the field: the chance of a random guess.
    pub random: f64,
    /// The field's centre lies in the lesion.
    pub centre: bool,
}

/// Plays one image. `heatmap` `[h,w]` covers the same field as `mask` `[H,W]`; it points at the centre of its largest cell,
/// so callers hand in the map at the size in which it is shown. `None` if the mask is empty, the map has no maximum
/// (constant), or a size is 0.
pub fn shoot(heatmap: ArrayView2<'_, f32>, mask: ArrayView2<'_, bool>) -> Option<Shot> {
    let (map_h, map_w) = heatmap.dim();
    let (mask_h, mask_w) = mask.dim();
    let lesion = mask.iter().filter(|&&inside| inside).count();
    if map_h * map_w == 0 || lesion == 0 {
        return None;
    }
    let (mut at, mut largest, mut smallest) = ((0, 0), f32::NEG_INFINITY, f32::INFINITY);
    for (position, &value) in heatmap.indexed_iter() {
        smallest = smallest.min(value);
        if value > largest {
            (at, largest) = (position, value);
        }
    }
    if largest <= smallest {
        return None;
    }
    let scale = |cell: usize, cells: usize, size: usize| {
        (((cell as f64 + 0.5) * size as f64 / cells as f64) as usize).min(size - 1)
    };
    Some(Shot {
        hit: mask[(scale(at.0, map_h, mask_h), scale(at.1, map_w, mask_w))],
        random: lesion as f64 / mask.len() as f64,
        centre: mask[(mask_h / 2, mask_w / 2)],
    })
}

/// Rates over many images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PointingGame {
    /// Share of images whose map points into the lesion.
    pub hits: Estimate,
    /// Expected share of a random guess.
    pub random: f64,
    /// Share of a guess at the centre.
    pub centre: f64,
}

/// Sums up; `None` without a shot.
pub fn game(shots: &[Shot]) -> Option<PointingGame> {
    let n = shots.len() as f64;
    let hits = wilson(shots.iter().filter(|shot| shot.hit).count() as u64, shots.len() as u64)?;
    Some(PointingGame {
        hits,
        random: shots.iter().map(|shot| shot.random).sum::<f64>() / n,
        centre: shots.iter().filter(|shot| shot.centre).count() as f64 / n,
    })
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, arr2};

    use super::*;

    fn mask(h: usize, w: usize, inside: impl Fn(usize, usize) -> bool) -> Array2<bool> {
        Array2::from_shape_fn((h, w), |(y, x)| inside(y, x))
    }

    #[test]
    fn the_maximum_is_looked_up_in_the_masks_own_size() {
        let heatmap = arr2(&[[0.0, 0.1], [0.9, 0.2]]);
        let low_left = mask(10, 10, |y, x| y >= 5 && x < 5);
        let shot = shoot(heatmap.view(), low_left.view()).unwrap();
        assert_eq!((shot.hit, shot.random, shot.centre), (true, 0.25, false));
        let elsewhere = mask(10, 10, |y, x| y < 5 && x >= 5);
        assert!(!shoot(heatmap.view(), elsewhere.view()).unwrap().hit);
    }

    #[test]
    fn nothing_to_point_at_is_no_shot() {
        let heatmap = arr2(&[[0.0, 0.1]]);
        assert_eq!(shoot(heatmap.view(), mask(4, 4, |_, _| false).view()), None);
        assert_eq!(
            shoot(Array2::zeros((2, 2)).view(), mask(4, 4, |_, _| true).view()),
            None
        );
    }

    #[test]
    fn the_game_prints_the_guesses_beside_the_hits() {
        let shots = [
            Shot {
                hit: true,
                random: 0.1,
                centre: false,
            },
            Shot {
                hit: false,
                random: 0.3,
                centre: true,
            },
        ];
        let game = game(&shots).unwrap();
        assert_eq!((game.hits.value, game.hits.n, game.centre), (0.5, 2, 0.5));
        assert!((game.random - 0.2).abs() < 1e-12);
    }
}
