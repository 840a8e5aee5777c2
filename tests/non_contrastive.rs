use crate::support::{SMALL, catalog, read_spec, results, run, scratch};
use burn::tensor::Device;
use burn::train::TrainStep;
use cl_experiments::run::folder::RunFolder;
use cl_experiments::run::headless::{Outcome, Session};
use cl_experiments::spec::RunSpec;
use cl_experiments::tasks::learner::Learner;
use cl_experiments::tasks::sparse_coding::batches::Samples;
use cl_experiments::tasks::sparse_coding::spec::TrainingSpec;
use cl_experiments::tasks::sparse_coding::training::SparseCoding;
use cl_experiments::tasks::task::Task;
use cl_model::SymmetricReluConfig;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const INFO_NCE: &str = "[points.masked.objective.info_nce]
similarity = \"inner_product\"
key_gradient = \"stopped\"
temperature = 1.0
scale = \"temperature\"
";

/// The objective of MoCo.
const MOCO: &str =
    "{ info_nce = { similarity = \"cosine\", key_gradient = \"stopped\", temperature = 0.2, scale = \"one\" } }";

/// The point of the small experiment with another objective and with these lines below `[points.masked]`.
fn point(objective: &str, lines: &str) -> toml::Table {
    assert!(SMALL.contains(INFO_NCE));
    let text = SMALL.replace(INFO_NCE, &format!("[points.masked]\nobjective = {objective}\n{lines}\n"));
    // A queue and fresh negatives exclude each other.
    let text =
        if lines.contains("queue") { text.replace("{ fresh = { count = 24 } }", "\"other_keys\"") } else { text };
    let file: toml::Table = toml::from_str(&text).unwrap_or_else(|e| panic!("{text}: {e}"));
    file["points"]["masked"].as_table().unwrap().clone()
}

fn spec(objective: &str, lines: &str) -> TrainingSpec {
    read_spec(point(objective, lines))
}

#[test]
fn heads_and_momentum_copies_go_on_bit_by_bit() {
    let cosine = "{ negative_cosine = {} }";
    let queue = "model.momentum_copy = { momentum = 0.9 }\nmodel.queue = { size = 96 }";
    for (objective, lines) in [
        (MOCO, queue),
        (cosine, "model.predictor = { network = \"off_diagonal\", learning_rate_factor = 10.0, weight_decay = 0.001 }"),
        (cosine, "model.predictor = { network = \"linear\" }\nmodel.momentum_copy = { momentum = 0.9 }"),
        (
            cosine,
            "model.predictor.network.mlp = { hidden_dims = [8], normalization = \"batch\" }\nmodel.momentum_copy = { momentum = 0.5 }\n\
         model.projector = { hidden_dims = [7], output_dim = 5, normalization = \"batch\" }",
        ),
    ] {
        let spec = spec(objective, lines);
        let runs = scratch();
        let whole = RunFolder::at(runs.path().join("whole"));
        assert_eq!(run(&spec, 3, &whole, &AtomicBool::new(false), &mut |_| {}).unwrap(), Outcome::Finished);
        let folder = RunFolder::at(runs.path().join("stopped"));
        let stop = AtomicBool::new(false);
        let outcome = run(&spec, 3, &folder, &stop, &mut |done| stop.store(done >= 30, Ordering::Relaxed)).unwrap();
        assert_eq!(outcome, Outcome::Stopped { step: 30, resumes_at: 30 });
        run(&spec, 3, &folder, &AtomicBool::new(false), &mut |_| {}).unwrap();
        assert!(results(&folder) == results(&whole), "{lines}");
        let model = |folder: &RunFolder| std::fs::read(folder.path().join("model.safetensors")).unwrap();
        assert!(model(&folder) == model(&whole), "{lines}");
    }
}

/// The head has moved away from the identity, the copy has stayed behind, and neither is what the other models train.
#[test]
fn heads_are_trained_and_copies_follow() {
    let lines =
        "model.predictor = { network = \"linear\", weight_decay = 0.0 }\nmodel.momentum_copy = { momentum = 0.9 }";
    let folder = scratch();
    let folder = RunFolder::at(folder.path().join("run"));
    run(&spec("{ negative_cosine = {} }", lines), 3, &folder, &AtomicBool::new(false), &mut |_| {}).unwrap();
    let tensor = |name: &str| folder.tensor("model.safetensors", name).unwrap().1;
    let (head, own, copy) =
        (tensor("predictor.Linear"), tensor("encoder.weights"), tensor("momentum_copy.encoder.weights"));
    let distance = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
    let identity: Vec<f32> = (0..100).map(|i| if i % 11 == 0 { 1.0 } else { 0.0 }).collect();
    assert!(distance(&head, &identity) > 1e-3);
    let length = distance(&own, &vec![0.0; own.len()]);
    assert!(distance(&own, &copy) > 1e-5 * length && distance(&own, &copy) < 0.5 * length);
}

/// The queue holds what the copy made of the last three batches, in the order of the steps: B = 32, K = 96, 60 steps.
#[test]
fn a_queue_holds_the_keys_of_the_last_batches() {
    let lines = "model.momentum_copy = { momentum = 0.9 }\nmodel.queue = { size = 96 }";
    let task = Arc::new(SparseCoding::<SymmetricReluConfig>::on(&spec(MOCO, lines), 3, &Device::flex()));
    let mut learner = Learner::start(&task);
    let mut optimizer = task.optimizer();
    let mut made = Vec::new();
    for step in 0..7 {
        let Samples::Pairs { x_plus_plus, .. } = task.batch(step) else { panic!("pairs") };
        let copy = learner.model.momentum_copy.as_ref().unwrap();
        made.push(copy.output(x_plus_plus).into_data().try_to_vec::<f32>().unwrap());
        let output = TrainStep::step(&learner, task.batch(step));
        learner = learner.optimize(&mut optimizer, 0.1.into(), output.grads);
    }
    let queue = learner.model.queue.as_ref().unwrap().keys.val().into_data().try_to_vec::<f32>().unwrap();
    assert_eq!(queue, [made[6].clone(), made[4].clone(), made[5].clone()].concat());
    // Its keys are the negatives: log(K + 1) at chance.
    assert!((task.spec().loss_at_chance().unwrap() - 97f64.ln()).abs() < 1e-12);
}

#[test]
fn queues_that_cannot_be_filled_or_used_are_refused() {
    let message = |objective: &str, lines: &str| {
        RunSpec::from_table(point(objective, lines), catalog().parts()).unwrap_err().to_string()
    };
    let copy = "model.momentum_copy = { momentum = 0.9 }\n";
    for (objective, lines, expected) in [
        (MOCO, "model.queue = { size = 96 }".to_string(), "model.queue: its keys come from a momentum copy"),
        (
            MOCO,
            format!("{copy}model.queue = {{ size = 100 }}"),
            "model.queue.size = 100 is out of range; it has to be a multiple of",
        ),
        (MOCO, format!("{copy}model.queue = {{ size = 0 }}"), "model.queue.size = 0 is out of range"),
        (
            "{ negative_cosine = {} }",
            format!("{copy}model.queue = {{ size = 96 }}"),
            "model.queue: the objective negative_cosine",
        ),
        (
            MOCO,
            format!("{copy}model.queue = {{ size = 96 }}\nmodel.predictor = {{ network = \"linear\" }}"),
            "model.predictor: queries",
        ),
    ] {
        let found = message(objective, &lines);
        assert!(found.contains(expected), "{lines}: {found}");
    }
    let mut fresh = point(MOCO, &format!("{copy}model.queue = {{ size = 96 }}"));
    let negatives: toml::Table = toml::from_str("fresh = { count = 24 }").unwrap();
    fresh["data"]["sparse_coding"].as_table_mut().unwrap().insert("negatives".into(), negatives.into());
    let found = RunSpec::from_table(fresh, catalog().parts()).unwrap_err().to_string();
    assert!(found.contains("data.sparse_coding.negatives = fresh ones is out of range"), "{found}");
}

#[test]
fn parts_that_an_objective_has_no_use_for_are_refused() {
    let message = |objective: &str, lines: &str| {
        RunSpec::from_table(point(objective, lines), catalog().parts()).unwrap_err().to_string()
    };
    let predictor = "model.predictor = { network = \"linear\" }";
    assert!(
        message("\"spectral\"", predictor).contains("model.predictor: the objective spectral makes no predictions")
    );
    let copy = "model.momentum_copy = { momentum = 0.9 }";
    assert!(
        message("{ nt_xent = { temperature = 0.5 } }", copy).contains("model.momentum_copy: the objective nt_xent")
    );
    let negative = "{ negative_cosine = {} }";
    let wrong = message(negative, "model.momentum_copy = { momentum = 1.0 }");
    assert!(wrong.contains("model.momentum_copy.momentum = 1 is out of range"), "{wrong}");
    let wrong = message(negative, "model.predictor = { network = \"linear\", learning_rate_factor = -1.0 }");
    assert!(wrong.contains("model.predictor.learning_rate_factor = -1 is out of range"), "{wrong}");
    let reconstruction = "{ masked_reconstruction = { scale = 2.0 } }";
    let wrong = message(reconstruction, "model.projector = { hidden_dims = [], output_dim = 4 }");
    assert!(wrong.contains("model.projector"), "{wrong}");
    let wrong = message("{ masked_reconstruction = { scale = 1.0 } }", "");
    let expected = "objective.masked_reconstruction.scale = 1 is out of range; it has to be 2, what the views multiply";
    assert!(wrong.contains(expected), "{wrong}");
}

/// The warnings of a run.
fn warnings(spec: &TrainingSpec) -> Vec<String> {
    let runs = scratch();
    let device = cl_experiments::io::device::open("flex").unwrap();
    let mut warnings = Vec::new();
    let session = Session {
        device_name: "flex",
        device: &device,
        data_dir: None,
        checkpoint_every: Duration::from_secs(5),
        pictures: false,
        stop: &AtomicBool::new(false),
        progress: &mut |_, _| {},
        warn: &mut |text| warnings.push(text),
    };
    let folder = RunFolder::at(runs.path().join("run"));
    catalog().execute(&RunSpec::new(spec.clone()), 3, &folder, session).unwrap();
    warnings
}

/// A network whose own bias can answer every input alike, moved by both views at once, ends at its trivial minimum.
#[test]
fn a_collapse_is_said_once_and_in_words() {
    let mut table = point("{ negative_cosine = { stop_gradient = false } }", "");
    let mlp: toml::Table = toml::from_str("mlp = { layer_dims = [16, 8] }").unwrap();
    table["model"].as_table_mut().unwrap().insert("encoder".into(), mlp.into());
    let warnings = warnings(&read_spec(table));
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("the representation has collapsed"), "{warnings:?}");
}

#[test]
fn what_does_not_collapse_is_not_warned_about() {
    let sound = spec("{ negative_cosine = {} }", "model.predictor = { network = \"linear\" }");
    assert_eq!(warnings(&sound), Vec::<String>::new());
}
