use crate::support::top;
use cl_experiments::experiment::{Experiment, Extent};
use cl_experiments::judge::{Expected, LEAST_SEEDS};
use std::collections::BTreeSet;

fn experiments() -> Vec<Experiment> {
    let folders = Experiment::folders(&top().join("experiments")).unwrap();
    folders.iter().map(|(_, folder)| Experiment::load(folder, Extent::Full).unwrap()).collect()
}

#[test]
fn the_ten_claims_are_there_and_valid_in_both_extents() {
    let by_default = experiments().into_iter().filter(|e| !e.on_request);
    let names: Vec<String> = by_default.map(|e| e.claim).collect();
    assert_eq!(names, (1..=10).map(|i| format!("c{i}")).collect::<Vec<_>>());
    for (claim, folder) in Experiment::folders(&top().join("experiments")).unwrap() {
        let experiment = Experiment::load(&folder, Extent::Default).unwrap();
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
                    !expectation.judged || seeds.len() >= LEAST_SEEDS,
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
        let spec = &mut value["training"];
        spec["data"]["augmentation"].take();
        spec["objective"].take();
        spec["measurement"]["baselines"].take();
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
