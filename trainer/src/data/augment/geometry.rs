//! Rotation, shift, scale and mirror as one affine resampling.

use ndarray::Array2;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::recipes::AugmentSection;

/// From pixels of the augmented image to pixels of the source: `source = matrix * target + offset`, both (x, y).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Warp {
    matrix: [[f32; 2]; 2],
    offset: [f32; 2],
}

impl Warp {
    /// Draws a warp about the middle of an image of `height` x `width`.
    pub fn draw(section: &AugmentSection, height: usize, width: usize, rng: &mut ChaCha8Rng) -> Self {
        let mut either_way = |reach: f64| (reach * (2.0 * rng.random::<f64>() - 1.0)) as f32;
        let degrees = either_way(section.rotate_degrees);
        let shift = [
            either_way(section.shift) * width as f32,
            either_way(section.shift) * height as f32,
        ];
        let scale = 1.0 + either_way(section.scale);
        let mirrored = rng.random::<f64>() < section.flip;
        Self::about_the_middle(height, width, degrees, shift, scale, mirrored)
    }

    /// Turns by `degrees`, enlarges by `scale`, moves by `shift` pixels (x, y), mirrors left and right.
    #[must_use]
    pub fn about_the_middle(
        height: usize,
        width: usize,
        degrees: f32,
        shift: [f32; 2],
        scale: f32,
        mirrored: bool,
    ) -> Self {
        let (sin, cos) = degrees.to_radians().sin_cos();
        let flip = if mirrored { -1.0 } else { 1.0 };
        let matrix = [[flip * cos / scale, flip * sin / scale], [-sin / scale, cos / scale]];
        let middle = [width as f32 / 2.0 - 0.5, height as f32 / 2.0 - 0.5];
        let from = [middle[0] + shift[0], middle[1] + shift[1]];
        let offset = [0, 1].map(|i| middle[i] - matrix[i][0] * from[0] - matrix[i][1] * from[1]);
        Self { matrix, offset }
    }

    /// Whether nothing moves.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.matrix == [[1.0, 0.0], [0.0, 1.0]] && self.offset == [0.0, 0.0]
    }

    /// Resamples with bilinear interpolation; beyond the edge the image goes on as at the edge.
    #[must_use]
    pub fn apply(&self, source: &Array2<f32>) -> Array2<f32> {
        let (height, width) = source.dim();
        let (right, bottom) = ((width - 1) as f32, (height - 1) as f32);
        let Some(pixels) = source.as_slice() else {
            return source.clone();
        };
        let [[a, b], [c, d]] = self.matrix;
        let mut target = Vec::with_capacity(width * height);
        for y in 0..height {
            let (x0, y0) = (b * y as f32 + self.offset[0], d * y as f32 + self.offset[1]);
            target.extend((0..width).map(|x| {
                let u = (a * x as f32 + x0).clamp(0.0, right);
                let v = (c * x as f32 + y0).clamp(0.0, bottom);
                let (column, row) = (u as usize, v as usize);
                let (tx, ty) = (u - column as f32, v - row as f32);
                let next = usize::from(column + 1 < width);
                let below = if row + 1 < height { width } else { 0 };
                let i = row * width + column;
                let top = pixels[i] + tx * (pixels[i + next] - pixels[i]);
                let low = pixels[i + below] + tx * (pixels[i + below + next] - pixels[i + below]);
                top + ty * (low - top)
            }));
        }
        Array2::from_shape_vec((height, width), target).unwrap_or_else(|_| source.clone())
    }
}

/// Reduces by a whole `factor`: the mean of each block of pixels. What is left over at the right and below is cut off.
#[must_use]
pub fn reduce(source: &Array2<f32>, factor: usize) -> Array2<f32> {
    if factor <= 1 {
        return source.clone();
    }
    let (height, width) = (source.nrows() / factor, source.ncols() / factor);
    let mut target = Array2::<f32>::zeros((height, width));
    for (y, row) in source.rows().into_iter().take(height * factor).enumerate() {
        for (x, value) in row.iter().take(width * factor).enumerate() {
            target[[y / factor, x / factor]] += value;
        }
    }
    target / (factor * factor) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn gradient() -> Array2<f32> {
        Array2::from_shape_fn((9, 9), |(y, x)| (10 * y + x) as f32)
    }

    #[test]
    fn each_motion_does_what_it_says() {
        let source = gradient();
        let moved = |degrees, shift, scale, mirrored| {
            Warp::about_the_middle(9, 9, degrees, shift, scale, mirrored).apply(&source)
        };
        assert_eq!(moved(0.0, [0.0, 0.0], 1.0, false), source);
        assert_eq!(
            moved(0.0, [2.0, 0.0], 1.0, false)[[4, 6]],
            source[[4, 4]],
            "to the right"
        );
        assert_eq!(moved(0.0, [0.0, 1.0], 1.0, false)[[5, 4]], source[[4, 4]], "down");
        assert_eq!(moved(0.0, [0.0, 0.0], 1.0, true)[[3, 1]], source[[3, 7]], "mirrored");
        assert_eq!(moved(0.0, [0.0, 0.0], 2.0, false)[[4, 6]], source[[4, 5]], "enlarged");
        // Clockwise: what was above the middle is right of it.
        assert!((moved(90.0, [0.0, 0.0], 1.0, false)[[4, 7]] - source[[1, 4]]).abs() < 1e-3);
    }

    #[test]
    fn scale_and_flip_are_drawn_as_the_recipe_says() {
        let drawn = |section: AugmentSection| -> Vec<f32> {
            let mut rng = ChaCha8Rng::seed_from_u64(3);
            (0..400)
                .map(|_| Warp::draw(&section, 50, 40, &mut rng).matrix[0][0])
                .collect()
        };
        let scales: Vec<f32> = drawn(AugmentSection {
            scale: 0.2,
            ..AugmentSection::default()
        })
        .iter()
        .map(|element| element.recip())
        .collect();
        let (least, most) = scales
            .iter()
            .fold((f32::MAX, f32::MIN), |(a, b), s| (a.min(*s), b.max(*s)));
        assert!(
            (0.799..0.81).contains(&least) && (1.19..1.201).contains(&most),
            "{least} {most}"
        );
        for (flip, [fewest, most]) in [(0.0, [0, 0]), (0.25, [70, 130]), (1.0, [400, 400])] {
            let section = AugmentSection {
                flip,
                ..AugmentSection::default()
            };
            let mirrored = drawn(section).iter().filter(|element| **element == -1.0).count();
            assert!((fewest..=most).contains(&mirrored), "{mirrored} of 400 at {flip}");
        }
    }

    #[test]
    fn nothing_drawn_is_the_identity() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        assert!(Warp::draw(&AugmentSection::default(), 50, 40, &mut rng).is_identity());
        let turned = AugmentSection {
            rotate_degrees: 5.0,
            ..AugmentSection::default()
        };
        assert!(!Warp::draw(&turned, 50, 40, &mut rng).is_identity());
    }

    #[test]
    fn reducing_takes_means() {
        let reduced = reduce(&gradient(), 4);
        assert_eq!(reduced.dim(), (2, 2));
        assert_eq!(reduced[[0, 0]], 16.5);
        assert_eq!(reduced[[1, 1]], 16.5 + 44.0);
    }
}
