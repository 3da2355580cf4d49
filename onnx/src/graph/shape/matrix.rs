//! Linear layer and matrix product.

use super::elementwise::broadcast;
use super::{Dim, Inputs, Shape, ShapeError};

/// (x `[N,I]`, weight `[O,I]`, bias `[O]`?) -> `[N,O]`.
pub(super) fn gemm(inputs: &Inputs) -> Result<Shape, ShapeError> {
    inputs.floats(2..=3)?;
    let (batch, features) = match **inputs.shape(0) {
        [batch, Dim::Fixed(features)] => (batch, features),
        _ => return Err(inputs.misfit(0, "[N, I]")),
    };
    let out = match **inputs.shape(1) {
        [Dim::Fixed(out), Dim::Fixed(columns)] if columns == features => out,
        _ => return Err(inputs.misfit(1, format!("[O, {features}]"))),
    };
    inputs.exactly(2, &[out])?;
    Ok(Shape::new([batch, Dim::Fixed(out)]))
}

/// (a `[...,M,I]`, b `[...,I,P]`) -> `[...,M,P]`, leading axes broadcast.
pub(super) fn matmul(inputs: &Inputs) -> Result<Shape, ShapeError> {
    inputs.floats(2..=2)?;
    let ([lead_a @ .., rows, inner_a], [lead_b @ .., inner_b, columns]) = (&**inputs.shape(0), &**inputs.shape(1))
    else {
        return Err(inputs.misfit(1, "two axes or more in both inputs"));
    };
    let lead = broadcast(lead_a, lead_b).filter(|_| inner_a == inner_b);
    let lead = lead.ok_or_else(|| inputs.misfit(1, format!("[..., {inner_a}, P] to suit {}", inputs.shape(0))))?;
    Ok(Shape::new([&lead[..], &[*rows, *columns]].concat()))
}

#[cfg(test)]
mod tests {
    use super::super::{Typed, infer};
    use super::*;
    use crate::graph::Operator;

    #[test]
    fn products_check_the_inner_axis() {
        let run = |operator, a: Shape, b: Shape| infer(&operator, &[Typed::f32(a), Typed::f32(b)]);
        let cam = run(Operator::MatMul, Shape::batch(&[3, 512]), Shape::batch(&[512, 49])).unwrap();
        assert_eq!(cam[0].shape, Shape::batch(&[3, 49]));
        let shared = run(Operator::MatMul, Shape::batch(&[3, 512]), Shape::fixed(&[512, 7])).unwrap();
        assert_eq!(shared[0].shape, Shape::batch(&[3, 7]));
        assert!(run(Operator::MatMul, Shape::batch(&[3, 512]), Shape::fixed(&[511, 7])).is_err());
        assert!(run(Operator::MatMul, Shape::fixed(&[512]), Shape::fixed(&[512, 7])).is_err());
        let linear = run(Operator::Gemm, Shape::batch(&[512]), Shape::fixed(&[3, 512])).unwrap();
        assert_eq!(linear[0].shape, Shape::batch(&[3]));
        assert!(run(Operator::Gemm, Shape::batch(&[512]), Shape::fixed(&[512, 3])).is_err());
    }
}
