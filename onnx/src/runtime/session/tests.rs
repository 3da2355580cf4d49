use super::*;
use crate::proto::{
    AttributeProto, Dimension, ElementType, GraphProto, IR_VERSION, ModelProto, NodeProto, OPSET_VERSION,
    OperatorSetIdProto, StringStringEntryProto, TensorProto, ValueInfoProto,
};
use crate::runtime::Provider;
use crate::runtime::optimised;
use crate::runtime::testing::runtime;
use ndarray::{Array, ArrayD};

/// `y = Relu(x * 2)` and `top` = the index of the largest of each row of y.
fn doubling_model() -> Vec<u8> {
    let node = |op: &str, inputs: &[&str], output: &str| NodeProto {
        op_type: op.into(),
        name: output.into(),
        input: inputs.iter().map(|i| (*i).into()).collect(),
        output: vec![output.into()],
        ..Default::default()
    };
    let mut top = node("ArgMax", &["y"], "top");
    top.attribute = vec![AttributeProto::int("axis", 1), AttributeProto::int("keepdims", 0)];
    let batch = || Dimension::symbolic("N");
    let graph = GraphProto {
        name: "doubling".into(),
        node: vec![node("Mul", &["x", "two"], "twice"), node("Relu", &["twice"], "y"), top],
        initializer: vec![TensorProto::from_f32("two", &[], &[2.0])],
        input: vec![ValueInfoProto::tensor(
            "x",
            ElementType::F32,
            vec![batch(), Dimension::fixed(3)],
        )],
        output: vec![
            ValueInfoProto::tensor("y", ElementType::F32, vec![batch(), Dimension::fixed(3)]),
            ValueInfoProto::tensor("top", ElementType::I64, vec![batch()]),
        ],
        ..Default::default()
    };
    ModelProto {
        ir_version: IR_VERSION,
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: OPSET_VERSION,
        }],
        metadata_props: vec![StringStringEntryProto {
            key: "k".into(),
            value: "v".into(),
        }],
        ..Default::default()
    }
    .to_bytes()
}

fn rows(values: &[f32]) -> ArrayD<f32> {
    Array::from_shape_vec((values.len() / 3, 3), values.to_vec())
        .unwrap()
        .into_dyn()
}

#[test]
fn runs_into_the_same_buffers_while_the_shape_stays() {
    let Some(runtime) = runtime() else { return };
    let model = doubling_model();
    let mut session = Session::from_bytes(runtime, &model, &SessionOptions::default()).unwrap();
    assert_eq!(session.inputs()[0].shape, [None, Some(3)]);
    assert_eq!(session.outputs()[1].name, "top");
    assert_eq!(session.metadata().unwrap()["k"], "v");
    let mut places = Vec::new();
    for step in 0..4 {
        let x = rows(&[step as f32, -1.0, 0.5]);
        let outputs = session.run(&[("x", x.view())]).unwrap();
        let y = outputs.array::<f32>("y").unwrap();
        assert_eq!(y.as_slice().unwrap(), [step as f32 * 2.0, 0.0, 1.0]);
        assert_eq!(outputs.array::<i64>("top").unwrap()[[0]], if step == 0 { 2 } else { 0 });
        places.push(y.as_ptr());
    }
    assert!(places[1] == places[2] && places[2] == places[3], "{places:?}");
    // Another batch size, and back.
    let two = rows(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let outputs = session.run(&[("x", two.view())]).unwrap();
    assert_eq!(outputs.array::<f32>("y").unwrap().shape(), [2, 3]);
    drop(outputs);
    let one = rows(&[1.0, 2.0, 3.0]);
    let outputs = session.run(&[("x", one.view())]).unwrap();
    assert_eq!(outputs.array::<f32>("y").unwrap().as_slice().unwrap(), [2.0, 4.0, 6.0]);
}

#[test]
fn wrong_inputs_and_outputs_are_named() {
    let Some(runtime) = runtime() else { return };
    let model = doubling_model();
    let mut session = Session::from_bytes(runtime, &model, &SessionOptions::default()).unwrap();
    let x = rows(&[1.0, 2.0, 3.0]);
    let error = session.run(&[("image", x.view())]).err().unwrap();
    assert!(error.to_string().contains("[x], not [image]"), "{error}");
    let wide = ArrayD::<f32>::zeros(vec![1, 4]);
    let error = session.run(&[("x", wide.view())]).err().unwrap();
    assert!(matches!(error, SessionError::Shape { .. }), "{error}");
    let turned = Array::<f32, _>::zeros((3, 2)).reversed_axes().into_dyn();
    let error = session.run(&[("x", turned.view())]).err().unwrap();
    assert!(matches!(error, SessionError::Layout { .. }), "{error}");
    let outputs = session.run(&[("x", x.view())]).unwrap();
    for name in ["z", "", "top"] {
        let error = outputs.array::<f32>(name).err().unwrap();
        assert!(error.to_string().contains("y, top"), "{error}");
    }
}

#[test]
fn a_damaged_model_and_a_missing_file_are_errors() {
    let Some(runtime) = runtime() else { return };
    let mut model = doubling_model();
    model.truncate(model.len() / 2);
    let options = SessionOptions::default();
    let error = Session::from_bytes(runtime, &model, &options).err().unwrap();
    assert!(matches!(error, SessionError::Load { .. }), "{error}");
    assert!(error.to_string().contains(&runtime.library().version), "{error}");
    let path = Path::new("/nowhere/model.onnx");
    let error = Session::from_path(runtime, path, &options).err().unwrap();
    assert!(error.to_string().contains("/nowhere/model.onnx"), "{error}");
}

#[test]
fn a_provider_that_the_library_lacks_is_an_error() {
    let Some(runtime) = runtime() else { return };
    let providers = vec![Provider::TensorRt, Provider::Cpu];
    let options = SessionOptions {
        providers,
        ..SessionOptions::default()
    };
    match Session::from_bytes(runtime, &doubling_model(), &options) {
        Ok(_) => eprintln!("this ONNX Runtime has TensorRT"),
        Err(error) => assert!(error.to_string().contains("tensorrt"), "{error}"),
    }
}

#[test]
fn the_first_run_tells_which_provider_ran() {
    let Some(runtime) = runtime() else { return };
    let options = SessionOptions {
        profile_first_run: true,
        ..SessionOptions::default()
    };
    let mut session = Session::from_bytes(runtime, &doubling_model(), &options).unwrap();
    assert_eq!(session.provider_use(), None);
    let x = rows(&[1.0, 2.0, 3.0]);
    session.run(&[("x", x.view())]).unwrap();
    let used = session.provider_use().unwrap();
    assert_eq!(used.main(), Some(Provider::Cpu.onnx_name()));
    assert_eq!(used.nodes[Provider::Cpu.onnx_name()], 3);
    assert_eq!(used.operators["Relu"], 1);
}

#[test]
fn the_optimised_graph_is_counted() {
    let Some(runtime) = runtime() else { return };
    let counts = optimised::node_counts(runtime, &doubling_model(), Optimisation::All).unwrap();
    assert_eq!(counts["Mul"], 1);
    assert_eq!(counts.values().sum::<usize>(), 3);
}

#[test]
fn a_second_library_is_refused_while_one_is_loaded() {
    let Some(runtime) = runtime() else { return };
    let loaded = runtime.library().path.clone();
    assert!(crate::runtime::load(Some(&loaded)).is_ok());
    let other = crate::runtime::load(Some(Path::new("/nowhere/else.so"))).err().unwrap();
    assert!(
        matches!(other, crate::runtime::LibraryError::AlreadyLoaded { .. }),
        "{other}"
    );
}
