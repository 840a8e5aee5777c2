use crate::support::{binary, catalog, scratch, small_experiment, top};
use cl_experiments::judge::measures::{self, measure};
use cl_experiments::judge::{Expected, MIN_SEEDS};
use cl_experiments::report::Figures;
use cl_experiments::spec::experiment::{Experiment, Extent};
use std::collections::BTreeSet;
use std::path::Path;

fn experiments() -> Vec<Experiment> {
    let folders = Experiment::folders(&top().join("experiments")).unwrap();
    folders.iter().map(|(_, folder)| Experiment::load(folder, Extent::Full, catalog().parts()).unwrap()).collect()
}

#[test]
fn the_claims_are_there_and_valid_in_both_extents() {
    let by_default = experiments().into_iter().filter(|e| !e.on_request);
    let names: Vec<String> = by_default.map(|e| e.claim).collect();
    let expected = (1..=10).map(|i| format!("c{i}")).chain(
        ["objectives", "prediction-head", "projector-geometry", "prototype-bias", "text-topics"].map(String::from),
    );
    assert_eq!(names, expected.collect::<Vec<_>>());
    for (claim, folder) in Experiment::folders(&top().join("experiments")).unwrap() {
        let experiment = Experiment::load(&folder, Extent::Default, catalog().parts()).unwrap();
        assert_eq!(experiment.claim, claim, "the folder's name begins with the claim");
    }
}

#[test]
fn every_expectation_names_points_that_are_there_and_enough_seeds() {
    for experiment in experiments() {
        let expected = Expected::load(&experiment.folder).unwrap();
        let is_judged = expected.expect.iter().any(|e| e.judged);
        assert!(is_judged || experiment.on_request, "{}: nothing is judged", experiment.claim);
        for expectation in &expected.expect {
            let named = expectation.point.iter().filter(|p| *p != "*").chain(expectation.terms.keys());
            for name in named {
                let point = experiment.point(name).unwrap_or_else(|| panic!("{}: no point {name}", experiment.claim));
                let seeds: BTreeSet<u64> = point.seeds.iter().copied().collect();
                assert!(
                    !expectation.judged || seeds.len() >= MIN_SEEDS,
                    "{}: {name} has too few seeds",
                    experiment.claim
                );
            }
        }
    }
}

#[test]
fn c3_to_c6_share_everything_but_augmentation_and_objective() {
    let all = experiments();
    let shared = |claim: &str, point: &str| {
        let experiment = all.iter().find(|e| e.claim == claim).unwrap();
        let mut value = serde_json::to_value(&experiment.point(point).unwrap().spec).unwrap();
        let objective = value["objective"].take();
        value["views"].take();
        value["evaluation"]["baselines"].take();
        let data = value["data"]["sparse_coding"].as_object_mut().unwrap();
        if objective == "supervised" {
            // Labels have classes instead of negatives.
            data.remove("classes").expect("classes");
        }
        data.remove("negatives");
        value
    };
    for suffix in ["", "-d64"] {
        let reference = shared("c3", &format!("masked{suffix}"));
        for (claim, point) in [
            ("c4", "none"),
            ("c5", "masked"),
            ("c5", "none"),
            ("c6", "supervised"),
            ("c6", "none"),
            ("c6", "independent"),
        ] {
            assert_eq!(shared(claim, &format!("{point}{suffix}")), reference, "{claim} {point}{suffix}");
        }
    }
}

#[test]
fn every_experiment_is_explained() {
    for experiment in experiments() {
        let text = std::fs::read_to_string(experiment.folder.join("README.md")).unwrap_or_default();
        assert!(
            text.contains(&format!("reproduce {}", experiment.claim)),
            "{}: README.md with its command",
            experiment.claim
        );
    }
}

/// Writes [`crate::support::SMALL`] below `folder` under another name.
fn small_as(folder: &std::path::Path, name: &str, claim: &str) {
    small_experiment(folder, ("claim = \"small\"", &format!("claim = \"{claim}\"")));
    std::fs::rename(folder.join("small"), folder.join(name)).unwrap();
}

#[test]
fn two_folders_of_one_claim_are_refused_by_name() {
    for (first, second, claim) in [("c41-first", "c41-second", "c41"), ("mine", "Mine", "mine")] {
        let folder = scratch();
        small_as(folder.path(), first, claim);
        std::fs::create_dir(folder.path().join(second)).unwrap();
        std::fs::copy(
            folder.path().join(first).join("experiment.toml"),
            folder.path().join(second).join("experiment.toml"),
        )
        .unwrap();
        let output = binary(folder.path(), &["reproduce", "--experiments", "."]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!([first, second, "rename one"].iter().all(|words| text.contains(words)), "{text}");
        assert!(!folder.path().join("runs").exists(), "refused before anything is run");
    }
}

#[test]
fn zero_and_minus_zero_are_one_setting() {
    let folder = scratch();
    let digest = |decay: &str| {
        let experiment = small_experiment(folder.path(), ("weight_decay = 0.01", &format!("weight_decay = {decay}")));
        Experiment::load(&experiment, Extent::Full, catalog().parts()).unwrap().points[0].spec.digest()
    };
    assert_eq!(digest("0.0"), digest("-0.0"));
    assert_ne!(digest("0.0"), digest("0.01"));
}

#[test]
fn a_seed_that_comes_twice_is_refused() {
    let folder = scratch();
    for (seeds, words) in [("[3, 1, 3]", "seeds holds 3 twice"), ("[]", "seeds has to hold at least one")] {
        let experiment = small_experiment(folder.path(), ("seeds = [1]", &format!("seeds = {seeds}")));
        let error = Experiment::load(&experiment, Extent::Full, catalog().parts()).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("points.masked"), "{error}");
    }
}

/// A value that occurs twice on an axis, or a point that has the name of one in a grid.
#[test]
fn points_of_one_name_are_refused() {
    for (values, point) in [("[0.1, 0.1]", "masked"), ("[0.1, 0.3]", "\"map,noise_std=0.3\"")] {
        let folder = scratch();
        let experiment = small_experiment(folder.path(), ("points.masked", &format!("points.{point}")));
        let path = experiment.join("experiment.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let table: toml::Table = toml::from_str(&text).unwrap();
        let overrides = table["points"].as_table().unwrap().values().next().unwrap();
        let grid = format!(
            "\n[grids.map]\nseeds = [1]\noverrides = {overrides}\n\n[[grids.map.axes]]\nkey = \"data.sparse_coding.noise_std\"\nvalues = {values}\n"
        );
        std::fs::write(&path, text + &grid).unwrap();
        let error = Experiment::load(&experiment, Extent::Full, catalog().parts()).unwrap_err().to_string();
        assert!(error.contains("two points called \"map,noise_std=0."), "{error}");
    }
}

/// Values that are tables make names that no file system accepts.
#[test]
fn points_of_a_grid_over_tables_have_short_names_of_their_own_and_are_run() {
    let folder = scratch();
    let grid = r#"
[grids.tables]
seeds = [1]
overrides = GRID

[[grids.tables.axes]]
key = "views.transform"
values = [
  [{ complementary_mask = { keep_probability = 0.5, masked_fraction = 1.0, rescaling = "unbiased" } }],
  [{ independent_masks = { keep_probability = 0.5, masked_fraction = 1.0, rescaling = "unbiased" } }],
]

[[grids.tables.axes]]
key = "model.encoder.symmetric_relu.bias"
values = [
  { scheduled = { start_step = 20, initial_ratio = 0.3, growth = 0.1, cap_ratio = 0.6 } },
  { scheduled = { start_step = 20, initial_ratio = 0.3, growth = 0.1, cap_ratio = 0.7 } },
]

[[grids.tables.axes]]
key = "optimization.learning_rate"
values = [{ exponential_decay = { first = 0.5, decay_from = 30, decay_to = 60, last = 0.1 } }, { constant = { rate = 0.5 } }]
"#;
    let experiment = small_experiment(folder.path(), ("seeds = [1]", "seeds = [1]"));
    let path = experiment.join("experiment.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let file: toml::Table = toml::from_str(&text).unwrap();
    let overrides = file["points"]["masked"].to_string();
    std::fs::write(&path, text + &grid.replace("GRID", &overrides)).unwrap();
    let loaded = Experiment::load(&experiment, Extent::Full, catalog().parts()).unwrap();
    let names: BTreeSet<String> = loaded.point_names().into_iter().collect();
    assert_eq!(names.len(), 9, "{names:?}");
    assert!(names.iter().all(|name| name.len() <= 160), "{names:?}");
    let output = binary(folder.path(), &["sweep", "small", "--jobs", "2"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // One of them is the existing point.
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("8 runs made, 0 to go"), "{text}");
    // A name that long is rejected if it is given explicitly.
    let long = "x".repeat(200);
    let renamed = small_experiment(folder.path(), ("points.masked", &format!("points.{long}")));
    let error = Experiment::load(&renamed, Extent::Full, catalog().parts()).unwrap_err().to_string();
    assert!(error.contains("at most 160 bytes, not 200"), "{error}");
}

fn copy_files(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap().flatten().filter(|entry| entry.path().is_file()) {
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// As "Change one assumption" in the README suggests: nothing about a claim depends on its name.
#[test]
fn a_copied_experiment_keeps_its_measures_and_figures() {
    let folder = scratch();
    let below = |path: &Path| folder.path().join(path.strip_prefix(top().join("experiments")).unwrap());
    for experiment in experiments() {
        let beside = below(experiment.folder.parent().unwrap());
        let mine = beside.join("mine");
        std::fs::create_dir_all(&mine).unwrap();
        copy_files(experiment.folder.parent().unwrap(), &beside);
        copy_files(&experiment.folder, &mine);
        let text = std::fs::read_to_string(experiment.folder.join("experiment.toml")).unwrap();
        let text = text.replace(&format!("claim = \"{}\"", experiment.claim), "claim = \"mine\"");
        std::fs::write(mine.join("experiment.toml"), text).unwrap();
        let copy = Experiment::load(&mine, Extent::Full, catalog().parts()).unwrap();
        assert_eq!(copy.figures, experiment.figures, "{}", experiment.claim);
        assert_eq!(copy.measures, experiment.measures, "{}", experiment.claim);
        assert_eq!(copy.point_names(), experiment.point_names(), "{}", experiment.claim);
        let measures = measure::chosen(&copy, &measures::standard()).unwrap();
        assert_eq!(measures.len(), experiment.measures.len(), "{}", experiment.claim);
        Figures::standard().check(&copy).unwrap();
    }
}

/// Two copies of one experiment, each with the figures that it names under its own name.
#[test]
fn a_copy_draws_its_own_figures() {
    let folder = scratch();
    for claim in ["mine", "yours"] {
        small_as(folder.path(), claim, claim);
        let path = folder.path().join(claim).join("experiment.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let table: toml::Table = toml::from_str(&text).unwrap();
        let grid = format!(
            "\n[grids.map]\nseeds = [1]\noverrides = {}\n\n[[grids.map.axes]]\nkey = \"data.sparse_coding.noise_std\"\nvalues = [0.1, 0.3]\n\n\
             [[grids.map.axes]]\nkey = \"optimization.optimizer.sgd.weight_decay\"\nvalues = [0.0, 0.01]\n",
            table["points"]["masked"]
        );
        let figures = "figures = [\"probes\", \"phases\", \"phases_over_steps\"]\nseeds = [1]";
        std::fs::write(&path, text.replace("seeds = [1]", figures) + &grid).unwrap();
        let expected =
            "[[expect]]\nmetric = 'coverage_mean'\npoint = 'masked'\nover = 'mean'\njudged = false\nsource = 's'\n";
        std::fs::write(folder.path().join(claim).join("expected.toml"), expected).unwrap();
    }
    let output = binary(folder.path(), &["reproduce", "--experiments", "."]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let files = std::fs::read_dir(folder.path().join("report/figures")).unwrap().flatten();
    let drawn: BTreeSet<String> =
        files.filter_map(|file| file.file_name().into_string().ok()?.strip_suffix(".svg").map(String::from)).collect();
    let of = |claim: &str| ["map", "map-over-steps", "probes"].map(|name| format!("{claim}-{name}"));
    assert_eq!(drawn, of("mine").into_iter().chain(of("yours")).collect());
}

#[test]
fn figures_that_are_not_there_are_refused_with_those_that_are() {
    let folder = scratch();
    let experiment =
        small_experiment(folder.path(), ("seeds = [1]", "figures = [\"training\", \"phase\"]\nseeds = [1]"));
    std::fs::write(experiment.join("expected.toml"), "expect = []\n").unwrap();
    let output = binary(folder.path(), &["reproduce", "small", "--experiments", "."]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(
        text.contains("there is no \"phase\"; choose among images, moments") && text.contains("experiment.toml"),
        "{text}"
    );
}

#[test]
fn measures_that_are_not_there_or_have_nothing_to_measure_are_refused() {
    let folder = scratch();
    for (measures, words) in [
        (
            "[\"growth\"]",
            "there are no measures of this name, but drift, feature_groups, linear_stage, prototype_bounds, simultaneous_tests, stages, threshold_correlation, weight_decay_law",
        ),
        ("[{ linear_stage = { similarity_bound = 0 } }]", "measures.linear_stage.similarity_bound = 0 is out of range"),
        ("[\"linear_stage\"]", "measures.linear_stage: missing field `similarity_bound`"),
        (
            "[{ simultaneous_tests = { family_level = 0.01 } }]",
            "measures.simultaneous_tests: point masked: it has no section `moments`",
        ),
    ] {
        let measures = format!("measures = {measures}\nseeds = [1]");
        let experiment = small_experiment(folder.path(), ("seeds = [1]", &measures));
        std::fs::write(experiment.join("expected.toml"), "expect = []\n").unwrap();
        let output = binary(folder.path(), &["reproduce", "small", "--experiments", "."]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(words) && text.contains("experiment.toml"), "{text}");
        assert!(!folder.path().join("runs").exists(), "refused before anything runs");
    }
}
