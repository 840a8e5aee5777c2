use crate::support::{catalog, results, run, scratch, small_spec};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cl_experiments::run::folder::RunFolder;
use cl_experiments::run::headless::Session;
use cl_experiments::spec::RunSpec;
use std::sync::atomic::AtomicBool;

/// A run that is watched is the same run, and its last picture shows the weights that it ends with.
#[test]
fn pictures_show_the_weights_and_change_nothing() {
    let (plain, watched) = (scratch(), scratch());
    let (plain, watched) = (RunFolder::at(plain.path().join("run")), RunFolder::at(watched.path().join("run")));
    run(&small_spec(), 3, &plain, &AtomicBool::new(false), &mut |_| {}).unwrap();
    let device = cl_experiments::io::device::open("flex").unwrap();
    let session = Session {
        device_name: "flex",
        device: &device,
        data_dir: None,
        checkpoint_every: std::time::Duration::from_secs(5),
        pictures: true,
        stop: &AtomicBool::new(false),
        progress: &mut |_, _| {},
        warn: &mut |_| {},
    };
    catalog().execute(&RunSpec::new(small_spec()), 3, &watched, session).unwrap();
    assert_eq!(results(&plain), results(&watched));
    assert!(!plain.path().join("pictures.jsonl").exists());

    let text = std::fs::read_to_string(watched.path().join("pictures.jsonl")).unwrap();
    let snapshots = std::fs::read_to_string(watched.path().join("metrics.jsonl")).unwrap();
    assert_eq!(text.lines().count(), snapshots.lines().count());
    let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let bytes = STANDARD.decode(last["bytes"].as_str().unwrap()).unwrap();
    let weights = watched.weights().unwrap();
    let (shape, dictionary) = watched.tensor("weights.safetensors", "dictionary").unwrap();
    let d = shape[1];
    assert_eq!(last["shape"], serde_json::json!([weights.len(), d]));
    for (i, w) in weights.iter().enumerate() {
        let norm = w.iter().map(|v| v * v).sum::<f64>().sqrt();
        for j in 0..d {
            let product: f64 = w.iter().enumerate().map(|(c, w)| w * f64::from(dictionary[c * d + j])).sum();
            let shown = f64::from(bytes[i * d + j]) / 255.0;
            assert!((product.abs() / norm - shown).abs() < 0.51 / 255.0, "neuron {i}, feature {j}");
        }
    }
}
