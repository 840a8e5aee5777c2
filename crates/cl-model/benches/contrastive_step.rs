//! Loss and gradient of one step, in closed form and through autodiff: `cargo bench -p cl-model`.

use burn::tensor::{Device, Tensor, TensorData};
use cl_model::closed_form::{HostBatch, HostEncoder, Rows, loss_and_gradient};
use cl_model::{Encoder, InfoNce, SymmetricReluEncoder};
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Uniform in ±scale, by Marsaglia's xorshift.
fn numbers(count: usize, seed: u64, scale: f32) -> Vec<f32> {
    let mut state = seed;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        scale * ((state >> 40) as f32 / 8_388_608.0 - 1.0)
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn steps(c: &mut Criterion) {
    for (d1, m, b) in [(256, 64, 256), (1024, 128, 512), (1024, 512, 512)] {
        let mut group = c.benchmark_group(format!("d1 = {d1}, m = {m}, B = N = {b}"));
        group.sample_size(20);
        let size = 0.05;
        let weights = numbers(m * d1, 0x9e37_79b9, size);
        let [x_plus, x_plus_plus, negatives] = [2, 3, 4].map(|i| numbers(b * d1, i * 0x85eb_ca6b, 1.0));
        // Of inner products; two of them are a threshold that 4.6 % of these pass.
        let deviation = size * (d1 as f32).sqrt() / 3.0;
        let batch = HostBatch {
            x_plus: Rows::new(&x_plus, d1),
            x_plus_plus: Rows::new(&x_plus_plus, d1),
            negatives: Some(Rows::new(&negatives, d1)),
        };
        let loss = InfoNce::paper(1.0);
        for (name, threshold) in [("step in closed form", 0.0), ("the same, 4.6 % of outputs active", 2.0 * deviation)]
        {
            let encoder = HostEncoder { weights: Rows::new(&weights, d1), biases: &vec![threshold; m] };
            group.bench_function(name, |b| b.iter(|| black_box(loss_and_gradient(&loss, encoder, batch))));
        }

        let device = Device::flex().autodiff();
        let tensor = |values: &[f32], columns: usize| {
            Tensor::<2>::from_data(TensorData::new(values.to_vec(), [values.len() / columns, columns]), &device)
        };
        let plain = SymmetricReluEncoder::new(tensor(&weights, d1));
        let [x_plus, x_plus_plus, negatives] = [&x_plus, &x_plus_plus, &negatives].map(|x| tensor(x, d1));
        group.bench_function("step through autodiff", |b| {
            b.iter(|| {
                let query = plain.forward(x_plus.clone());
                let key = plain.forward_detached(x_plus_plus.clone());
                let others = plain.forward_detached(negatives.clone());
                let loss = InfoNce::paper(1.0).forward(query, key, Some(others)).loss;
                black_box(plain.weights.grad(&loss.backward()))
            });
        });
        group.finish();
    }
}

criterion_group!(benches, steps);
criterion_main!(benches);
