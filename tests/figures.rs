//! What figures show is what the run folders of a claim say.

use crate::support::{SMALL, catalog, scratch};
use cl_experiments::judge::measures::linear_stage::Comparison;
use cl_experiments::judge::measures::{self, ClaimResult, Judge};
use cl_experiments::judge::{FAMILY_LEVEL, Interval};
use cl_experiments::report::Figures;
use cl_experiments::report::chart::{Chart, Figure, Heat, Panel, Plot, Row};
use cl_experiments::run::folder::RunFolder;
use cl_experiments::run::headless::{Outcome, Session};
use cl_experiments::run::plan::{Conditions, Plan};
use cl_experiments::spec::experiment::{Experiment, Extent};
use cl_experiments::tasks::sparse_coding::evaluation::Evaluation;
use cl_experiments::tasks::sparse_coding::moments::MomentsReport;
use cl_experiments::tasks::sparse_coding::snapshot::Snapshot;
use cl_experiments::tasks::sparse_coding::spec::TrainingSpec;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// A claim after its runs under two seeds.
pub fn judged(folder: &Path, claim: &str, text: &str) -> ClaimResult {
    let experiment = folder.join(claim);
    std::fs::create_dir_all(&experiment).unwrap();
    std::fs::write(experiment.join("experiment.toml"), text).unwrap();
    std::fs::write(experiment.join("expected.toml"), "expect = []\n").unwrap();
    let experiment = Experiment::load(&experiment, Extent::Full, catalog().parts()).unwrap();
    let conditions = Conditions {
        runs: folder.join("runs"),
        also: Vec::new(),
        device: "flex".into(),
        data_dir: None,
        checkpoint_every_s: 5.0,
        side_by_side: 1,
    };
    let mut experiment = experiment;
    experiment.pin(None).unwrap();
    let plan = Plan::new(vec![experiment.clone()], &conditions);
    let folders = plan.planned[0].folders.clone();
    for ((point, seed), folder) in &folders {
        let session = Session {
            device_name: "flex",
            device: &cl_experiments::io::device::open("flex").unwrap(),
            data_dir: None,
            checkpoint_every: Duration::from_secs(5),
            pictures: false,
            stop: &AtomicBool::new(false),
            progress: &mut |_, _| {},
            warn: &mut |text| panic!("{text}"),
        };
        let spec = &experiment.point(point).unwrap().spec;
        assert_eq!(catalog().execute(spec, *seed, folder, session).unwrap(), Outcome::Finished);
    }
    let judge = Judge { parts: catalog().parts(), measures: &measures::standard(), full: true, family: 1 };
    judge.judge(experiment, folders).unwrap()
}

/// The small experiment under two seeds with its measures and one kind of figure.
fn small(folder: &Path, figure: &str) -> ClaimResult {
    let measures = "measures = [\"stages\", { linear_stage = { similarity_bound = 1e9 } }]";
    let head = format!("seeds = [1, 2]\n{measures}\nfigures = [\"{figure}\"]");
    judged(folder, "small", &SMALL.replace("seeds = [1]", &head))
}

pub fn figure(result: &ClaimResult, name: &str) -> Figure {
    let figures = Figures::standard().of_claim(result).unwrap();
    let names: Vec<&str> = figures.iter().map(|figure| figure.name.as_str()).collect();
    figures.iter().find(|figure| figure.name == name).unwrap_or_else(|| panic!("{name} is not in {names:?}")).clone()
}

pub fn panel<'a>(figure: &'a Figure, title: &str) -> &'a Panel {
    let titles: Vec<&str> = figure.panels.iter().map(|panel| panel.title.as_str()).collect();
    figure.panels.iter().find(|p| p.title.starts_with(title)).unwrap_or_else(|| panic!("{title} is not in {titles:?}"))
}

pub fn plot(panel: &Panel) -> &Plot {
    match &panel.chart {
        Chart::Plot(plot) => plot,
        other => panic!("{other:?}"),
    }
}

pub fn rows(panel: &Panel) -> &[Row] {
    match &panel.chart {
        Chart::Rows(rows) => &rows.rows,
        other => panic!("{other:?}"),
    }
}

pub fn heat(panel: &Panel) -> &Heat {
    match &panel.chart {
        Chart::Heat(heat) => heat,
        other => panic!("{other:?}"),
    }
}

fn folders(result: &ClaimResult) -> [&RunFolder; 2] {
    [1, 2].map(|seed| &result.folders[&("masked".to_string(), seed)])
}

fn snapshots(result: &ClaimResult) -> [Vec<Snapshot>; 2] {
    folders(result).map(|folder| folder.snapshots().unwrap())
}

#[test]
fn curves_are_means_of_snapshots_and_bands_their_ends() {
    let folder = scratch();
    let result = small(folder.path(), "training");
    let [first, second] = snapshots(&result);
    let learning = figure(&result, "small-learning");
    for (title, value) in [
        ("Coverage of the features, mean", (|s: &Snapshot| s.coverage_mean) as fn(&Snapshot) -> f64),
        ("Energy of the neurons in span(M)", |s| s.energy_in_span),
        // N = 24 negatives.
        ("Held-out loss / log(N + 1)", |s| s.loss / 25f64.ln()),
    ] {
        let plot = plot(panel(&learning, title));
        let [curve] = &plot.curves[..] else { panic!("{title}: a curve a point") };
        assert_eq!((curve.line.len(), curve.band.len()), (7, 7), "{title}");
        for (k, (a, b)) in first.iter().zip(&second).enumerate() {
            let (step, a, b) = (a.step as f64, value(a), value(b));
            assert_eq!(curve.line[k].0, step, "{title}");
            assert!((curve.line[k].1 - (a + b) / 2.0).abs() < 1e-12, "{title} at {step}");
            assert_eq!(curve.band[k], (step, a.min(b), a.max(b)), "{title}");
        }
        assert_eq!((plot.rules.len(), plot.rules[0].at), (1, 20.0), "{title}: T1");
    }
    assert_eq!(learning.legend[0].label, "complementary masks");
    let embeddings = figure(&result, "small-embeddings");
    let rank = &plot(panel(&embeddings, "Effective rank of the features")).curves[0].line;
    let spread = &plot(panel(&embeddings, "Spread of the outputs")).curves[0].line;
    for (k, (a, b)) in first.iter().zip(&second).enumerate() {
        assert_eq!(rank[k].1, (a.feature_rank.unwrap() + b.feature_rank.unwrap()) / 2.0);
        assert_eq!(spread[k].1, (a.outputs.unwrap().spread + b.outputs.unwrap().spread) / 2.0);
    }
}

#[test]
fn the_heat_map_holds_the_cosines_of_stored_weights_and_features() {
    let folder = scratch();
    let result = small(folder.path(), "neurons");
    let neurons = figure(&result, "small-neurons");
    let heat = heat(panel(&neurons, "|cos(wᵢ, Mⱼ)|: complementary masks, seed 1"));
    let (weights, spec) = (folders(&result)[0].weights().unwrap(), result.experiment.points[0].spec.clone());
    let model = spec.get::<TrainingSpec>().unwrap().data.model(1);
    let cosine = |w: &[f64], m: &[f32]| {
        let dot: f64 = w.iter().zip(m).map(|(w, m)| w * f64::from(*m)).sum();
        let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|v| v * v).sum::<f64>().sqrt();
        dot.abs() / norm(&mut w.iter().copied()) / norm(&mut m.iter().map(|v| f64::from(*v)))
    };
    let mut expected: Vec<Vec<f64>> =
        weights.iter().map(|w| model.dictionary().features().iter_rows().map(|m| cosine(w, m)).collect()).collect();
    // One column per neuron, in another order.
    assert_eq!((heat.cells.len(), heat.cells[0].len()), (6, 10));
    let mut shown: Vec<Vec<f64>> = (0..10).map(|i| heat.cells.iter().map(|row| row[i].unwrap()).collect()).collect();
    for columns in [&mut expected, &mut shown] {
        columns.sort_by(|a, b| a[0].total_cmp(&b[0]));
    }
    for (a, b) in expected.iter().flatten().zip(shown.iter().flatten()) {
        assert!((a - b).abs() < 1e-9, "{a} {b}");
    }
    // Boxes are mean counts over seeds: all features together.
    let boxes = &plot(panel(&neurons, "How many neurons use a feature")).boxes;
    assert!((boxes.iter().map(|b| b.height).sum::<f64>() - 6.0).abs() < 1e-12);
    let boxes = &plot(panel(&neurons, "How many features a neuron uses")).boxes;
    assert!((boxes.iter().map(|b| b.height).sum::<f64>() - 10.0).abs() < 1e-12);
}

#[test]
fn probes_stand_beside_their_baselines_with_an_interval_over_seeds() {
    let folder = scratch();
    let result = small(folder.path(), "probes");
    let evaluations = folders(&result).map(|folder| folder.evaluation::<Evaluation>().unwrap());
    let probes = figure(&result, "small-probes");
    let rows = rows(panel(&probes, "R² of y"));
    let of = |value: fn(&Evaluation) -> Option<f64>| evaluations.each_ref().map(|e| value(e).unwrap()).to_vec();
    let expected = [
        ("trained: complementary masks", of(|e| e.probe.r_squared)),
        ("oracle: soft-thresholded Mᵀx", of(|e| e.baselines.as_ref()?.oracle.r_squared)),
        ("input x itself", of(|e| e.baselines.as_ref()?.input.r_squared)),
        ("untrained encoder", of(|e| e.baselines.as_ref()?.untrained.r_squared)),
    ];
    assert_eq!(rows.len(), expected.len());
    for (row, (label, values)) in rows.iter().zip(expected) {
        let interval = Interval::student(&values, 1.0 - FAMILY_LEVEL);
        let mark = &row.marks[0];
        assert_eq!((row.label.as_str(), &mark.dots), (label, &values));
        assert_eq!((mark.bar, mark.interval), (Some(interval.mean), Some((interval.low, interval.high))));
    }
}

#[test]
fn growth_is_drawn_from_the_comparison_with_its_prediction() {
    let folder = scratch();
    let result = small(folder.path(), "linear_stage");
    let spec = result.experiment.points[0].spec.get::<TrainingSpec>().unwrap().clone();
    let [first, second] = snapshots(&result);
    let all = [(1, &first), (2, &second)].map(|(seed, s)| Comparison::new(&spec, seed, s, 1e9));
    let growth = figure(&result, "small-growth");
    let norms = &plot(panel(&growth, "Norms of the weights")).curves;
    let line = |of: &[cl_model::linear_stage::PredictedNorms]| {
        all[0].steps.iter().zip(of).map(|(step, norms)| (*step as f64, norms.in_span)).collect::<Vec<_>>()
    };
    assert_eq!((&norms[0].line, &norms[1].line), (&line(&all[0].mean), &line(&all[0].with_noise)));
    assert_eq!(norms[1].dots.len(), 14, "a dot a snapshot and seed");
    assert_eq!(norms[1].dots[3], (30.0, first[3].norm_in_span));
    let errors = &plot(panel(&growth, "Measured / predicted − 1")).curves;
    let error = 100.0 * (second[2].norm_complement / all[1].with_noise[2].complement - 1.0);
    assert_eq!((errors.len(), errors[3].line[2]), (4, (20.0, error)));
    // The measure is the largest of the values drawn.
    let largest = errors.iter().step_by(2).flat_map(|c| &c.line).fold(0f64, |m, (_, e)| m.max(e.abs() / 100.0));
    assert!((result.metrics["masked"][&1]["largest_error_with_noise"] - largest).abs() < 1e-12);
}

#[test]
fn stages_are_marked_where_the_measure_finds_them() {
    let folder = scratch();
    let result = small(folder.path(), "stages");
    let stages = figure(&result, "small-stages-masked");
    let rows = rows(panel(&stages, "When the stages happen"));
    for (row, metric) in rows.iter().zip(["decoupling_step", "emergence_step", "convergence_step"]) {
        let found: Vec<f64> = result.metrics["masked"].values().map(|m| m[metric]).filter(|v| v.is_finite()).collect();
        assert_eq!(row.marks[0].dots, found, "{metric}");
    }
    let [first, _] = snapshots(&result);
    let ribbons = plot(panel(&stages, "Energy in span(M) of single neurons, seed 1"));
    let median = ribbons.curves.last().unwrap();
    for (snapshot, (step, value)) in first.iter().zip(&median.line) {
        let mut energies: Vec<f64> = snapshot.neuron_energies.iter().map(|e| f64::from(*e)).collect();
        energies.sort_by(f64::total_cmp);
        assert_eq!((snapshot.step as f64, (energies[4] + energies[5]) / 2.0), (*step, *value));
    }
}

/// Gaps between arms and departures from a reference are made from metrics only.
#[test]
fn gaps_and_departures_are_those_of_the_metrics() {
    let folder = scratch();
    let small = small(folder.path(), "scaling");
    let seeds = |metric: &str, values: [f64; 2]| -> BTreeMap<u64, BTreeMap<String, f64>> {
        let of_seed = |(k, v): (usize, f64)| (k as u64 + 1, BTreeMap::from([(metric.to_string(), v)]));
        values.into_iter().enumerate().map(of_seed).collect()
    };
    let points =
        [("masked-d8", [0.9, 0.8]), ("none-d8", [0.5, 0.1]), ("masked-d16", [1.0, 0.7]), ("none-d16", [0.25, 0.5])];
    let metrics = points.map(|(point, values)| (point.to_string(), seeds("coverage_corrected", values))).into();
    let scaling = figure(&ClaimResult { metrics, ..small.clone() }, "small-scaling");
    let gap = &plot(panel(&scaling, "Coverage corrected for chance: gap")).curves[0];
    let expected = [(8.0, (0.4 + 0.7) / 2.0), (16.0, (0.75 + 0.2) / 2.0)];
    for ((d, gap), (at, value)) in gap.line.iter().zip(expected) {
        assert!(*d == at && (gap - value).abs() < 1e-12, "{d}: {gap}");
    }
    let arms = &plot(panel(&scaling, "Coverage corrected for chance")).curves;
    assert_eq!(arms[1].line, [(8.0, 0.3), (16.0, 0.375)]);

    let mut departures = small;
    departures.experiment.figures = Some(vec!["attribution".into()]);
    let point = departures.experiment.points[0].clone();
    let values = [("worse", [0.1, 0.3]), ("paper", [0.6, 0.8]), ("better", [0.9, 0.9])];
    departures.experiment.points = values
        .iter()
        .map(|(name, _)| cl_experiments::spec::experiment::Point { name: name.to_string(), ..point.clone() })
        .collect();
    departures.metrics = values.map(|(name, values)| (name.to_string(), seeds("coverage_mean", values))).into();
    let attribution = figure(&departures, "small-attribution");
    let rows = rows(panel(&attribution, "Coverage of the features"));
    let shown: Vec<(&str, &[f64])> = rows.iter().map(|r| (r.label.as_str(), &r.marks[0].dots[..])).collect();
    let expected: [(&str, &[f64]); 3] =
        [("as in the paper", &[0.6, 0.8]), ("better", &[0.9, 0.9]), ("worse", &[0.1, 0.3])];
    assert_eq!(shown, expected, "the reference first, the others by falling coverage");
}

#[test]
fn a_table_of_objectives_holds_the_mean_coverage_of_each() {
    let folder = scratch();
    let text = SMALL.replace("points.masked", "points.own-loss-none");
    let text = text.replace("seeds = [1]", "seeds = [1, 2]\nfigures = [\"objectives\"]");
    let result = judged(folder.path(), "small", &text);
    let coverage = result.metrics["own-loss-none"].values().map(|m| m["coverage_mean"]).sum::<f64>() / 2.0;
    let table = figure(&result, "small-coverage");
    let cells = &heat(panel(&table, "Best |cos| per feature")).cells;
    assert!(cells.len() == 1 && (cells[0][0].unwrap() - coverage).abs() < 1e-12, "{cells:?}, not {coverage}");
    let cosines = figure(&result, "small-cosines");
    let cell = panel(&cosines, &format!("own loss: {coverage:.2}"));
    assert_eq!(heat(cell).cells.len(), 6, "a row a feature");
}

#[test]
fn a_parameter_has_a_panel_of_its_own() {
    let folder = scratch();
    let (head, points) = SMALL.split_at(SMALL.find("[points").unwrap());
    let points = |name: &str, rate: &str| {
        points.replace("points.masked", &format!("points.\"own-loss-{name}-masked\"")).replace("first = 0.5", rate)
    };
    let head = head.replace("seeds = [1]", "seeds = [1, 2]\nfigures = [\"one_parameter\"]");
    let text = [head, points("tau0.5", "first = 0.5"), points("lr0.2", "first = 0.2")].concat();
    let result = judged(folder.path(), "small", &text);
    let drawn = figure(&result, "small-one-parameter");
    for (symbol, point, at) in
        [("τ", "own-loss-tau0.5-masked", 0.5), ("the learning rate", "own-loss-lr0.2-masked", 0.2)]
    {
        let coverage: Vec<f64> = result.metrics[point].values().map(|m| m["coverage_mean"]).collect();
        let curves = &plot(panel(&drawn, &format!("own loss: coverage over {symbol}"))).curves;
        assert_eq!(curves.len(), 1);
        assert_eq!(curves[0].dots, [(at, coverage[0]), (at, coverage[1])]);
        assert_eq!(curves[0].line, [(at, (coverage[0] + coverage[1]) / 2.0)]);
    }
}

#[test]
fn a_drift_is_followed_from_the_first_snapshot_on() {
    let folder = scratch();
    let text = SMALL.replace("seeds = [1]", "seeds = [1, 2]\nfigures = [\"drift\"]\nmeasures = [\"drift\"]").replace(
        "bias = { scheduled = { start_step = 20, initial_ratio = 0.3, growth = 0.1, cap_ratio = 0.6 } }",
        "bias = \"zero\"",
    );
    let result = judged(folder.path(), "small", &text);
    let drawn = figure(&result, "small-drift");
    let curves = &plot(panel(&drawn, "complementary masks")).curves;
    let snapshots = folders(&result).map(|folder| folder.snapshots::<Snapshot>().unwrap());
    let expected: Vec<(f64, f64)> = snapshots
        .iter()
        .flat_map(|all| all.iter().map(|s| (s.step as f64, s.norm_in_span / all[0].norm_in_span)))
        .collect();
    assert_eq!(curves[0].dots, expected);
    assert_eq!(curves[0].line[0], (0.0, 1.0));
    // Predicted growth is that of the metrics.
    let metrics = &result.metrics["masked"][&1];
    let growth = |curve: usize| curves[curve].line.last().unwrap().1;
    assert!(((growth(0) / growth(1)).ln() - metrics["separation_predicted"]).abs() < 1e-9);
}

#[test]
fn coverage_is_drawn_over_what_it_is_predicted_from() {
    let folder = scratch();
    let measure = "{ weight_decay_law = { delay = 10, exponent = 1.0, plateau = 0.3, plateau_exponent = 0.1, takeover = 1.0, width = 0.5, \
                   fitted_at = 32, within = 0.1 } }";
    let transform = &SMALL[SMALL.find("transform = [").unwrap()..SMALL.find("\n\n[points.masked.model").unwrap()];
    let text = SMALL
        .replace("seeds = [1]", &format!("seeds = [1, 2]\nfigures = [\"weight_decay_law\"]\nmeasures = [{measure}]"))
        .replace(transform, "transform = []");
    let result = judged(folder.path(), "small", &text);
    let drawn = figure(&result, "small-law");
    let metrics: Vec<_> = result.metrics["masked"].values().collect();
    // q = 1/6, as log log 6 < 1, and σ² = max(√(log 6)/6, 1.5 q) = ¼: q/σ² = 2/3; λ = 0.01.
    let rate = |step: f64| 0.5 * 0.2f64.powf(((step - 30.0) / 30.0).max(0.0));
    let eta = |from: u32| (from..60).map(|step| rate(f64::from(step))).sum::<f64>();
    let decay = 0.01 * (2.0 / 3.0) / (5.0 / 3.0);
    assert!((metrics[0]["decay_number"] - decay * eta(0)).abs() < 1e-9);
    let y = decay * (2.0 / 3.0) * eta(10);
    assert!((metrics[0]["takeover_number"] - y).abs() < 1e-9, "{} {y}", metrics[0]["takeover_number"]);
    let plateau = 0.3 * (2.0f64 / 3.0).powf(0.1);
    let coverage = plateau + (1.0 - plateau) / (1.0 + ((1.0 - y) / 0.5).exp());
    assert!((metrics[0]["coverage_predicted"] - coverage).abs() < 1e-9);
    let curves = &plot(panel(&drawn, "Coverage over y")).curves;
    let numbers = metrics.iter().map(|m| (m["takeover_number"], m["coverage_mean"]));
    assert_eq!(curves[1].dots, numbers.collect::<Vec<_>>());
    let at = curves[0].line.iter().min_by(|a, b| (a.0 - y).abs().total_cmp(&(b.0 - y).abs())).unwrap();
    assert!((at.1 - coverage).abs() < 0.01, "{at:?} {coverage}");
}

#[test]
fn correlations_of_views_are_drawn_over_thresholds() {
    let folder = scratch();
    let measure = "{ threshold_correlation = { thresholds = [0.0, 0.4], samples = 2048, directions = 1 } }";
    let names = format!("seeds = [1, 2]\nfigures = [\"threshold_correlation\"]\nmeasures = [{measure}]");
    let result = judged(folder.path(), "small", &SMALL.replace("seeds = [1]", &names));
    let coverage = result.metrics["masked"].values().map(|m| m["coverage_mean"]).sum::<f64>() / 2.0;
    let drawn = figure(&result, "small-threshold-correlation");
    let plot = plot(panel(&drawn, &format!("complementary masks: coverage {coverage:.2}")));
    let of = |kind: &str, c: &str| -> Vec<f64> {
        result.metrics["masked"].values().map(|m| m[&format!("threshold_correlation:{kind}@{c}")]).collect()
    };
    let (first, second) = (of("one_feature", "0"), of("one_feature", "0.4"));
    assert_eq!(plot.curves[0].dots, [(0.0, first[0]), (0.0, first[1]), (0.4, second[0]), (0.4, second[1])]);
    let ratios = folders(&result).map(|f| f.snapshots::<Snapshot>().unwrap().last().unwrap().threshold_ratio);
    assert!((plot.rules[0].at - (ratios[0] + ratios[1]) / 2.0).abs() < 1e-12);
}

#[test]
fn a_prediction_head_is_drawn_with_the_neurons_that_it_leaves() {
    let folder = scratch();
    let (before, after) = SMALL.split_once("[points.masked.objective.info_nce]").unwrap();
    let rest = &after[after.find("[points.masked.optimization]").unwrap()..];
    let head = "[points.masked]\nobjective = \"negative_cosine\"\nmodel.predictor = { network = \"off_diagonal\" }\n\n";
    let text = format!("{before}{head}{rest}").replace(
        "seeds = [1]",
        "seeds = [1, 2]\nfigures = [\"predictor\"]\nmeasures = [{ feature_groups = { groups = 2 } }]",
    );
    let result = judged(folder.path(), "small", &text);
    let drawn = figure(&result, "small-predictor");
    let curve = &plot(panel(&drawn, "Norm of the head's off-diagonal entries")).curves[0];
    let metrics: Vec<_> = result.metrics["masked"].values().collect();
    let last = metrics.iter().map(|m| m["predictor_off_diagonal_last"]).sum::<f64>() / 2.0;
    assert!((curve.line.last().unwrap().1 - last).abs() < 1e-12 && curve.line[0].1 == 0.0);
    let row = &rows(panel(&drawn, "Neurons that use a feature of group 2"))[0];
    let neurons: Vec<f64> = metrics.iter().map(|m| m["neurons_group_2"]).collect();
    assert_eq!(row.marks[0].dots, neurons);
}

#[test]
fn estimated_moments_stand_beside_their_closed_forms() {
    let folder = scratch();
    let text = "claim = \"moments\"\ntitle = \"t\"\nstatement = \"s\"\nmeasures = [{ simultaneous_tests = { family_level = 0.01 } }]\n\
                figures = [\"moments\"]\nseeds = [1, 2]\n\n[points.masked]\ndata.sparse_coding = { code_dim = 4, input_dim = 16 }\n\
                views.transform = [\"complementary_mask\"]\nmoments = { part = \"observation\", samples = 4096, complement_directions = 4 }\n";
    let mask = "{ complementary_mask = { keep_probability = 0.5, masked_fraction = 1.0, rescaling = \"unbiased\" } }";
    let result = judged(folder.path(), "moments", &text.replace("\"complementary_mask\"", mask));
    let reports = folders(&result).map(|folder| folder.moments().unwrap());
    let drawn = figure(&result, "moments-moments");
    let mean = |report: &MomentsReport| report.features.iter().map(|d| d.estimate).sum::<f64>() / 4.0;
    let mark = &rows(panel(&drawn, "Cross-view moment uᵀCu along the features"))[0].marks[0];
    for (dot, report) in mark.dots.iter().zip(&reports) {
        assert!((dot - mean(report)).abs() < 1e-12);
    }
    let predicted = reports.iter().flat_map(|r| &r.features).map(|d| d.predicted).sum::<f64>() / 8.0;
    assert!((mark.tick.unwrap().0 - predicted).abs() < 1e-12);
    // 16 directions in both runs together: Φ⁻¹(1 − 0.01/32) = 3.4205.
    let title = &panel(&drawn, "Largest deviation").title;
    assert_eq!(title, "Largest deviation, critical value 3.42");
    let boxes = &plot(panel(&drawn, "All 16 deviations")).boxes;
    assert!((boxes.iter().map(|b| b.height * 0.25).sum::<f64>() - 1.0).abs() < 1e-12, "a density");
}

#[test]
fn a_run_that_is_missing_is_left_out_of_its_figure() {
    let folder = scratch();
    let result = small(folder.path(), "training");
    let mut folders = result.folders.clone();
    folders.insert(("masked".into(), 2), RunFolder::at(folder.path().join("nowhere")));
    let judge = Judge { parts: catalog().parts(), measures: &measures::standard(), full: true, family: 1 };
    let result = judge.judge(result.experiment, folders).unwrap();
    let first: Vec<Snapshot> = result.folders[&("masked".to_string(), 1)].snapshots().unwrap();
    let learning = figure(&result, "small-learning");
    let curve = &plot(panel(&learning, "Coverage of the features, smallest")).curves[0];
    assert!(curve.band.is_empty(), "one seed has no band");
    assert!(curve.line.iter().zip(&first).all(|((_, y), s)| *y == s.coverage_min));
}
