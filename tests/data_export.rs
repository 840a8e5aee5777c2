use crate::support::{binary, catalog, labelled, scratch, small_experiment};
use cl_experiments::tasks::sparse_coding::spec::TrainingSpec;
use safetensors::SafeTensors;

fn floats(tensors: &SafeTensors, name: &str) -> (Vec<usize>, Vec<f32>) {
    let tensor = tensors.tensor(name).unwrap();
    let (values, _) = tensor.data().as_chunks::<4>();
    (tensor.shape().to_vec(), values.iter().map(|b| f32::from_le_bytes(*b)).collect())
}

#[test]
fn an_exported_batch_is_what_the_step_trains_on_with_all_its_parts() {
    let folder = scratch();
    let experiment = small_experiment(folder.path(), ("seeds = [1]", "seeds = [1]"));
    let arguments = ["data", "export", experiment.to_str().unwrap(), "--step", "5", "--output", "batch.safetensors"];
    assert!(binary(folder.path(), &arguments).status.success());
    let bytes = std::fs::read(folder.path().join("batch.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let (shape, m) = floats(&tensors, "dictionary");
    assert_eq!(shape, [24, 6]);
    let (shape, z) = floats(&tensors, "z");
    assert_eq!(shape, [32, 6]);
    let [xi, x, x_plus, x_plus_plus] = ["xi", "x", "x_plus", "x_plus_plus"].map(|name| floats(&tensors, name).1);
    for n in 0..32 {
        for r in 0..24 {
            let k = n * 24 + r;
            let mz: f32 = (0..6).map(|j| m[r * 6 + j] * z[n * 6 + j]).sum();
            assert!((x[k] - mz - xi[k]).abs() < 1e-5);
            assert_eq!(x_plus[k] + x_plus_plus[k], 2.0 * x[k]);
        }
    }
    assert_eq!(x_plus, crate::support::small_spec().sampler(1).batch(5).pair.x_plus.values);
}

fn exported(folder: &std::path::Path, step: u64) -> Vec<u8> {
    let name = format!("step-{step}.safetensors");
    let step = step.to_string();
    // A file from an earlier call would not be overwritten.
    let _ = std::fs::remove_file(folder.join(&name));
    let output = binary(folder, &["data", "export", "small", "--step", &step, "--output", &name]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(folder.join(name)).unwrap()
}

/// With every option of the sampler: a training set that is used repeatedly, each kind of negatives, labels.
#[test]
fn what_is_exported_is_what_is_trained_on_with_every_option() {
    let size = ("code_dim = 6", "code_dim = 6\ntraining_set_size = 32");
    let contrastive = [
        size,
        ("{ fresh = { count = 24 } }", "{ fresh_augmented = { count = 24 } }"),
        ("{ fresh = { count = 24 } }", "\"other_keys\""),
    ];
    for replace in contrastive {
        let folder = scratch();
        let experiment = small_experiment(folder.path(), replace);
        let loaded = cl_experiments::spec::experiment::Experiment::load(
            &experiment,
            cl_experiments::spec::experiment::Extent::Full,
            catalog().parts(),
        );
        let spec = loaded.unwrap().points[0].spec.get::<TrainingSpec>().unwrap().clone();
        for step in [0, 1, 7] {
            let bytes = exported(folder.path(), step);
            let tensors = SafeTensors::deserialize(&bytes).unwrap();
            let trained_on = spec.sampler(1).batch(step);
            assert_eq!(floats(&tensors, "x_plus").1, trained_on.pair.x_plus.values, "{replace:?}");
            assert_eq!(floats(&tensors, "x_plus_plus").1, trained_on.pair.x_plus_plus.values, "{replace:?}");
            match trained_on.negatives {
                Some(negatives) => assert_eq!(floats(&tensors, "negatives").1, negatives.values, "{replace:?}"),
                None => assert!(tensors.tensor("negatives").is_err(), "{replace:?}"),
            }
        }
    }
    // A set as large as a batch: every step has the same rows.
    let folder = scratch();
    small_experiment(folder.path(), size);
    let rows = |step| {
        let bytes = exported(folder.path(), step);
        let (shape, x) = floats(&SafeTensors::deserialize(&bytes).unwrap(), "x");
        assert_eq!(shape, [32, 24]);
        let rows = x.chunks(24).map(|row| row.iter().map(|v| v.to_bits()).collect::<Vec<_>>());
        rows.collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(rows(0).len(), 32);
    assert_eq!(rows(0), rows(1));
}

#[test]
fn with_labels_the_classes_are_exported_and_no_views() {
    let folder = scratch();
    let experiment = small_experiment(folder.path(), ("seeds = [1]", "seeds = [1]"));
    let path = experiment.join("experiment.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, labelled(&text)).unwrap();
    let bytes = exported(folder.path(), 2);
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let (shape, classes) = floats(&tensors, "classes");
    assert_eq!(shape, [32]);
    assert!(classes.iter().all(|c| [0.0, 1.0, 2.0].contains(c)));
    assert!(tensors.tensor("x_plus").is_err() && tensors.tensor("x").is_ok());
}

#[test]
fn steps_that_are_not_there_are_refused() {
    let folder = scratch();
    small_experiment(folder.path(), ("seeds = [1]", "seeds = [1]"));
    let output = binary(folder.path(), &["data", "export", "small", "--step", "60", "--output", "batch.safetensors"]);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("--step 60: masked has steps 0 to 59"), "{text}");
}
