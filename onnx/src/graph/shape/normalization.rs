//! Batch and instance normalisation.

use super::{Dim, Inputs, Shape, ShapeError, attribute};

/// (x `[N,C,...]`, weight `[C]`, bias `[C]`, running_mean `[C]`, running_var `[C]`) -> like x.
pub(super) fn batch(inputs: &Inputs, epsilon: f32, momentum: f32) -> Result<Shape, ShapeError> {
    if !(0.0..=1.0).contains(&momentum) {
        return Err(attribute("momentum", format!("is {momentum}, wanted 0 to 1")));
    }
    inputs.floats(5..=5)?;
    normalized(inputs, epsilon)
}

/// (x `[N,C,H,W]`, weight `[C]`, bias `[C]`) -> like x.
pub(super) fn instance(inputs: &Inputs, epsilon: f32) -> Result<Shape, ShapeError> {
    inputs.floats(3..=3)?;
    inputs.image(0)?;
    normalized(inputs, epsilon)
}

fn normalized(inputs: &Inputs, epsilon: f32) -> Result<Shape, ShapeError> {
    if epsilon.is_nan() || epsilon <= 0.0 {
        return Err(attribute("epsilon", format!("is {epsilon}, wanted above 0")));
    }
    let channels = match inputs.shape(0).get(1) {
        Some(Dim::Fixed(channels)) => *channels,
        _ => return Err(inputs.misfit(0, "[N, C, ...]")),
    };
    (1..inputs.0.len()).try_for_each(|input| inputs.exactly(input, &[channels]))?;
    Ok(inputs.shape(0).clone())
}

#[cfg(test)]
mod tests {
    use super::super::{Typed, infer};
    use super::*;
    use crate::graph::Operator;

    #[test]
    fn every_statistic_has_one_entry_a_channel() {
        let batch_norm = Operator::BatchNormalization {
            epsilon: 1e-5,
            momentum: 0.1,
        };
        let mut inputs = vec![Typed::f32(Shape::batch(&[8, 4, 4]))];
        inputs.extend((0..4).map(|_| Typed::f32(Shape::fixed(&[8]))));
        assert_eq!(infer(&batch_norm, &inputs).unwrap()[0], inputs[0]);
        inputs[4] = Typed::f32(Shape::fixed(&[7]));
        assert!(matches!(
            infer(&batch_norm, &inputs),
            Err(ShapeError::Input { input: 4, .. })
        ));
        inputs.truncate(3);
        assert!(infer(&Operator::InstanceNormalization { epsilon: 1e-5 }, &inputs).is_ok());
        assert!(infer(&Operator::InstanceNormalization { epsilon: 0.0 }, &inputs).is_err());
    }
}
