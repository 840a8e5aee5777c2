//! What drawing a batch costs, part by part: `cargo bench -p cl-data`.

use cl_data::*;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

fn normals(c: &mut Criterion) {
    let mut group = c.benchmark_group("standard normal numbers");
    let count = 1 << 16;
    group.throughput(Throughput::Elements(count as u64));
    let stream = Stream::new(1, Purpose::TrainingPairs);
    group.bench_function("65,536", |b| {
        b.iter(|| black_box(standard_normal(&mut stream.rng(Part::DenseNoise, 7), count)));
    });
    group.finish();
}

fn batches(c: &mut Criterion) {
    let mut group = c.benchmark_group("batch");
    for (d, d1, batch_size) in [(32, 256, 256), (64, 1024, 512)] {
        let dictionary = Dictionary::random(d, d1, Stream::new(1, Purpose::Dictionary)).expect("d <= d1");
        let code = SparseCodeDistribution::Bernoulli { nonzero_probability: default_nonzero_probability(d) };
        let data = SparseCodingModel::new(dictionary, code, 0.24).expect("in range");
        for (name, augmentation) in [("masked", Augmentation::complementary()), ("unmasked", Augmentation::None)] {
            let negatives = Negatives::Fresh { count: batch_size };
            let sampler =
                PairSampler { data: data.clone(), augmentation, batch_size, negatives, training_set: None, seed: 1 };
            group.throughput(Throughput::Elements((2 * batch_size * d1) as u64));
            let mut step = 0;
            group.bench_function(format!("d = {d}, d1 = {d1}, B = N = {batch_size}, {name}"), |b| {
                b.iter(|| {
                    step += 1;
                    black_box(sampler.batch(step))
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, normals, batches);
criterion_main!(benches);
