//! Fusion of classifiers: their class scores, added up in a ratio that is learnt (Wang, Liu and Xu 2020, doi
//! 10.1109/ICEIEC49280.2020.9152329, who fuse ResNet-101 and ResNet-152).
//!
//! Member m scores class c with `z_m[c] = w_m[c] · p_m + b_m[c]`, where `p_m` are its pooled features. The fusion's score
//! is `sum_m r_m[c] z_m[c]` with the ratio `r = softmax(fusion.weight)` over the members, one for all classes or one for
//! each. Since a sum of linear layers is a linear layer over all features side by side, with the rows
//! `[r_1[c] w_1[c], r_2[c] w_2[c], ...]`, the fusion is itself a classifier with global average pooling and one linear
//! layer. The heads therefore need to know nothing of it: its Grad-CAM is the sum of the members' maps, each by its
//! ratio, and its novelty is one distance in the features of all members.

use super::{IMAGE, LOGITS};
use crate::graph::operator::Reduction;
use crate::graph::{
    Classifier, ElementType, Graph, GraphBuilder, GraphError, Initializer, Operator, ParameterKind, Shape, ValueId,
};

/// Name of the parameter `[M]` or `[M K]` under the softmax: member by member.
pub const WEIGHT: &str = "fusion.weight";
/// Name of the intermediate `[M,1]` or `[M,K]`: the ratio, which sums to 1 over the members.
pub const RATIO: &str = "ratio";
/// Name of the intermediate `[N, sum of C, h, w]`: the last maps of all members.
pub const FUSED: &str = "fused";
/// More members than this are refused.
pub const MOST_MEMBERS: usize = 8;

/// What the ratio between the members depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Ratio {
    /// One number a member.
    #[default]
    Global,
    /// One number a member and class.
    PerClass,
}

/// Where the parameters and nodes of a member stand: `members.<number>`.
pub fn member_path(number: usize) -> String {
    format!("members.{number}")
}

/// The fusion of two or more classifiers for the same image and classes: `[N,C,H,W]` -> `logits` `[N,K]`. Fresh, all
/// members count alike.
///
/// # Errors
/// [`GraphError::NotAClassifier`], or [`GraphError::Config`] for too few or too many members, or members whose images,
/// classes or last maps have different extents.
pub fn fusion(members: &[Graph], ratio: Ratio) -> Result<Graph, GraphError> {
    if !(2..=MOST_MEMBERS).contains(&members.len()) {
        return Err(GraphError::Config {
            what: "number of fused networks",
            found: members.len().to_string(),
            allowed: format!("2 to {MOST_MEMBERS}"),
        });
    }
    let parts = members.iter().map(Graph::classifier).collect::<Result<Vec<_>, _>>()?;
    let image = image_shape(&members[0])?;
    for (graph, classifier) in members.iter().zip(&parts) {
        alike("image of a fused network", &image_shape(graph)?, &image)?;
        alike(
            "class scores of a fused network",
            shape(graph, classifier.logits),
            shape(&members[0], parts[0].logits),
        )?;
        let [own, first] =
            [(graph, classifier), (&members[0], &parts[0])].map(|(graph, c)| map_extents(graph, c.features));
        alike("last map of a fused network", &own, &first)?;
    }
    let classes = fixed(shape(&members[0], parts[0].logits), 1);
    let mut b = GraphBuilder::new("fusion");
    let image = b.input(IMAGE, ElementType::F32, image)?;
    let ratio = shares(
        &mut b,
        members.len(),
        if ratio == Ratio::PerClass { classes } else { 1 },
    )?;
    let (mut features, mut rows, mut biases) = (Vec::new(), Vec::new(), Vec::new());
    for (number, (graph, classifier)) in members.iter().zip(&parts).enumerate() {
        let bias = graph.find(&format!("{}.bias", classifier.linear))?;
        let wanted = [classifier.features, classifier.weight, bias];
        let placed = b.embed(graph, &member_path(number), &[image], &wanted)?;
        let [map, weight, bias] = placed[..] else {
            return Err(GraphError::NotAClassifier {
                graph: graph.name().to_owned(),
            });
        };
        let linear = format!("{}.{}", member_path(number), classifier.linear);
        let weighted = weighted(&mut b, &linear, ratio, number, [weight, bias])?;
        features.push(map);
        rows.push(weighted[0]);
        biases.push(weighted[1]);
    }
    let linears: Vec<String> = (0..)
        .map(member_path)
        .zip(&parts)
        .map(|(path, c)| format!("{path}.{}", c.linear))
        .collect();
    finish(b, Joined { features, rows, biases }, &linears)
}

/// What the members give to the one linear layer.
struct Joined {
    features: Vec<ValueId>,
    rows: Vec<ValueId>,
    biases: Vec<ValueId>,
}

/// The ratio `[M, columns]` between the members.
fn shares(b: &mut GraphBuilder, members: usize, columns: usize) -> Result<ValueId, GraphError> {
    // One axis, so that weight decay, which falls on matrices, does not pull the members together.
    let weight = b.parameter(
        WEIGHT,
        &[members * columns],
        ParameterKind::Trainable,
        Initializer::Zeros,
    )?;
    let table = Operator::Reshape {
        shape: Shape::fixed(&[members, columns]),
    };
    let table = b.node("fusion.table", table, &[weight])?;
    let ratio = b.node("fusion.ratio", Operator::Softmax { axis: 0 }, &[table])?;
    b.intermediate(RATIO, ratio)?;
    Ok(ratio)
}

/// Rows `[K,C]` and biases `[1,K]` of a member's linear layer, times its part of the ratio. The nodes stand under the
/// layer's path, so that a frozen member's layer is frozen here too.
fn weighted(
    b: &mut GraphBuilder,
    linear: &str,
    ratio: ValueId,
    number: usize,
    [weight, bias]: [ValueId; 2],
) -> Result<[ValueId; 2], GraphError> {
    let name = |part: &str| format!("{linear}.{part}");
    let own = Operator::Slice {
        axis: 0,
        start: number,
        end: number + 1,
    };
    let share = b.node(&name("share"), own, &[ratio])?;
    let column = b.node(&name("column"), Operator::Transpose { order: vec![1, 0] }, &[share])?;
    let rows = b.node(&name("rows"), Operator::Mul, &[weight, column])?;
    let biases = b.node(&name("biases"), Operator::Mul, &[share, bias])?;
    Ok([rows, biases])
}

/// Pools the features of all members and applies the one linear layer.
fn finish(mut b: GraphBuilder, joined: Joined, linears: &[String]) -> Result<Graph, GraphError> {
    let features = b.node("fusion.features", Operator::Concat { axis: 1 }, &joined.features)?;
    b.intermediate(FUSED, features)?;
    let pooled = b.global_pool(features)?;
    let weight = b.node("fusion.rows", Operator::Concat { axis: 1 }, &joined.rows)?;
    let biases = b.node("fusion.biases", Operator::Concat { axis: 0 }, &joined.biases)?;
    let sum = Operator::Reduce {
        reduction: Reduction::Sum,
        axes: vec![0],
        keep_dims: false,
    };
    let bias = b.node("fusion.bias", sum, &[biases])?;
    let logits = b.node("fusion.logits", Operator::Gemm, &[pooled, weight, bias])?;
    b.output(LOGITS, logits)?;
    let modules: Vec<&str> = ["fusion", "avgpool", "pooled"]
        .into_iter()
        .chain(linears.iter().map(String::as_str))
        .collect();
    // The members' linear layers belong to the last layer, which is theirs together.
    b.stage_taking("fusion", &modules);
    b.classifier(Classifier {
        features,
        pooled,
        logits,
        weight,
        linear: "fusion".to_owned(),
    });
    b.finish()
}

fn image_shape(graph: &Graph) -> Result<Shape, GraphError> {
    match graph.inputs() {
        [image] => Ok(shape(graph, *image).clone()),
        _ => Err(GraphError::NotAClassifier {
            graph: graph.name().to_owned(),
        }),
    }
}

fn shape(graph: &Graph, id: ValueId) -> &Shape {
    &graph.value(id).shape
}

fn fixed(shape: &Shape, axis: usize) -> usize {
    shape.get(axis).and_then(|dim| dim.fixed()).unwrap_or(1)
}

/// Height and width of a map `[N,C,h,w]`.
fn map_extents(graph: &Graph, features: ValueId) -> Shape {
    Shape::fixed(&[2, 3].map(|axis| fixed(shape(graph, features), axis)))
}

fn alike(what: &'static str, found: &Shape, wanted: &Shape) -> Result<(), GraphError> {
    if found == wanted {
        return Ok(());
    }
    Err(GraphError::Config {
        what,
        found: found.to_string(),
        allowed: format!("{wanted}, as of the first network"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heads::{self, Heads, Novelty};
    use crate::networks::{ImageClassifier, SmallCnnConfig, resnet, small_cnn};

    fn image(classes: usize, size: usize) -> ImageClassifier {
        ImageClassifier {
            classes,
            channels: 3,
            size: [size; 2],
        }
    }

    fn two(ratio: Ratio) -> Graph {
        fusion(&[18, 34].map(|depth| resnet(depth, &image(3, 64)).unwrap()), ratio).unwrap()
    }

    #[test]
    fn a_fusion_is_a_classifier_with_the_features_of_all_members() {
        let graph = two(Ratio::PerClass);
        let parts = graph.classifier().unwrap();
        assert_eq!(graph.value(parts.features).shape.to_string(), "[N, 1024, 2, 2]");
        assert_eq!(graph.value(parts.weight).shape.to_string(), "[3, 1024]");
        assert_eq!(graph.value(graph.find(RATIO).unwrap()).shape.to_string(), "[2, 3]");
        let members: u64 = [18, 34]
            .map(|depth| resnet(depth, &image(3, 64)).unwrap().cost().parameters)
            .iter()
            .sum();
        assert_eq!(graph.cost().parameters, members + 6);
        assert_eq!(two(Ratio::Global).cost().parameters, members + 2);
        let heads = Heads {
            temperature: 1.0,
            top_k: 2,
            novelty: Some(Novelty::placeholder(1024, 32, 3)),
        };
        let outputs = heads::classifier(graph, &heads).unwrap();
        let shapes: Vec<String> = outputs
            .outputs()
            .iter()
            .map(|id| outputs.value(*id).shape.to_string())
            .collect();
        assert_eq!(shapes, ["[N, 3]", "[N, 3]", "[N, 2, 2, 2]", "[N, 2]", "[N]"]);
    }

    #[test]
    fn stages_cover_every_parameter_once() {
        let graph = two(Ratio::Global);
        for parameter in graph.parameters() {
            let owners = graph.stages().iter().filter(|stage| stage.contains(&parameter.name));
            assert_eq!(owners.count(), 1, "{}", parameter.name);
        }
        let last = graph.stages().last().unwrap();
        assert!(last.contains(WEIGHT) && last.contains("members.1.fc.weight"));
    }

    #[test]
    fn members_that_do_not_fit_are_refused_with_the_reason() {
        let small = SmallCnnConfig {
            image: image(3, 64),
            width: 8,
        };
        let pair = |second: Graph| fusion(&[resnet(18, &image(3, 64)).unwrap(), second], Ratio::Global);
        for (second, part) in [
            (resnet(18, &image(4, 64)).unwrap(), "class scores"),
            (resnet(18, &image(3, 96)).unwrap(), "image of a fused"),
            (
                small_cnn(&small).unwrap(),
                "last map of a fused network is [8, 8]; allowed: [2, 2]",
            ),
        ] {
            let message = pair(second).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
        let alone = fusion(&[resnet(18, &image(3, 64)).unwrap()], Ratio::Global);
        assert!(alone.unwrap_err().to_string().contains("2 to 8"));
    }
}
