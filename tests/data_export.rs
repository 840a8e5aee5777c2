use crate::support::{binary, scratch, small_experiment};
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
