//! Gaussian blur and noise on pictures of floats, for augmentation and phantoms.

use rand::RngCore;

/// A number of about standard normal distribution: the sum of four uniform ones. Its tails end at 3.5, and it costs
/// one draw.
pub fn normal(rng: &mut impl RngCore) -> f32 {
    let bits = rng.next_u64();
    let sum: u32 = (0..4).map(|i| (bits >> (16 * i)) as u32 & 0xFFFF).sum();
    // Four uniform numbers over 65536 values: mean 131070, standard deviation 65536 / sqrt(3).
    (sum as f32 - 131_070.0) / 37_837.2
}

/// Blurs a picture, row by row, by a Gaussian with a standard deviation of `sigma` pixels. The edge goes on as it is.
pub fn blur(picture: &mut [f32], width: usize, height: usize, sigma: f32) {
    if sigma < 0.2 || width == 0 || height == 0 {
        return;
    }
    let kernel = kernel(sigma);
    let reach = kernel.len() / 2;
    let mut rows = vec![0.0_f32; width * height];
    let mut padded = vec![0.0_f32; width + 2 * reach];
    for (from, to) in picture.chunks_exact(width).zip(rows.chunks_exact_mut(width)) {
        padded[..reach].fill(from[0]);
        padded[reach..reach + width].copy_from_slice(from);
        padded[reach + width..].fill(from[width - 1]);
        for (k, weight) in kernel.iter().enumerate() {
            to.iter_mut()
                .zip(&padded[k..k + width])
                .for_each(|(to, from)| *to += weight * from);
        }
    }
    for (y, to) in picture.chunks_exact_mut(width).take(height).enumerate() {
        to.fill(0.0);
        for (k, weight) in kernel.iter().enumerate() {
            let source = (y + k).saturating_sub(reach).min(height - 1);
            let from = &rows[source * width..][..width];
            to.iter_mut().zip(from).for_each(|(to, from)| *to += weight * from);
        }
    }
}

fn kernel(sigma: f32) -> Vec<f32> {
    let reach = (2.5 * sigma).ceil();
    let mut kernel: Vec<f32> = (0..=2 * reach as usize)
        .map(|i| (-0.5 * ((i as f32 - reach) / sigma).powi(2)).exp())
        .collect();
    let sum: f32 = kernel.iter().sum();
    kernel.iter_mut().for_each(|weight| *weight /= sum);
    kernel
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn noise_is_standard_normal_enough() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let draws: Vec<f32> = (0..40_000).map(|_| normal(&mut rng)).collect();
        let mean = draws.iter().sum::<f32>() / draws.len() as f32;
        let variance = draws.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / draws.len() as f32;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
    }

    #[test]
    fn a_blur_keeps_a_constant_picture_and_spreads_a_point() {
        let mut flat = vec![0.4; 400];
        blur(&mut flat, 40, 10, 1.5);
        assert!(flat.iter().all(|v| (v - 0.4).abs() < 1e-5));
        let mut point = vec![0.0; 400];
        point[10 * 20 + 10] = 1.0;
        blur(&mut point, 20, 20, 1.0);
        assert!(point[10 * 20 + 10] < 0.3 && (point.iter().sum::<f32>() - 1.0).abs() < 1e-4);
        assert!(
            (point[10 * 20 + 12] - point[12 * 20 + 10]).abs() < 1e-6,
            "the same in both directions"
        );
    }
}
